"""System calls of processes that handle what strangers made: which they need, with which arguments, their numbers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

Rule = tuple[tuple[int, int, int], ...]
"""What an argument has to be: its index, a mask, and its value under that mask. One of several has to hold."""

FIRST_OF_ALL_ARCHITECTURES: Final = 424
"""From this number on, which is Linux 5.1, a call has the same number on all architectures."""

_WORD: Final = 0xFFFFFFFF
_PR_SET_NAME: Final = 15
_NOT_EXECUTABLE: Final[Rule] = ((2, 4, 0),)  # PROT_EXEC
_F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC = 1, 2, 3, 1030

# CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID: what glibc and musl ask for
# when they start a thread. Musl adds CLONE_DETACHED, which means nothing any more.
_THREAD: Final = 0x3D0F00
_CLONE_DETACHED: Final = 0x400000

_CREATES: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_O_LARGEFILE_AND_NOFOLLOW: Final = 0o500000  # on one architecture the other way round than on the other


def _own_pid_rule(pid: int) -> Rule:
    return ((0, _WORD, pid),)


ALLOWED: Final[Mapping[str, Rule | Callable[[int], Rule]]] = {
    # What is open: the media, pipes, files that it created.
    "read": (),
    "pread64": (),
    "lseek": (),
    "write": (),
    "writev": (),  # the last words of a C library before abort()
    "close": (),
    "dup": (),
    "fstat": (),
    "newfstatat": (),  # as glibc does fstat; it opens nothing, but tells of any path whether it exists
    "fcntl": tuple((1, _WORD, command) for command in (_F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC)),
    # Memory that is never executable, so no code comes in with the media.
    "mmap": _NOT_EXECUTABLE,
    "mprotect": _NOT_EXECUTABLE,
    "munmap": (),
    "mremap": (),
    "madvise": (),
    "brk": (),
    # Threads of filters.
    "futex": (),
    "clone": ((0, _WORD & ~_CLONE_DETACHED, _THREAD),),
    "set_robust_list": (),
    "rseq": (),
    "prctl": ((0, _WORD, _PR_SET_NAME),),
    "sched_getaffinity": (),
    "sched_yield": (),
    "gettid": (),
    "getpid": (),
    "exit": (),
    "exit_group": (),
    # Signals: handlers, and abort(), which sends one to itself.
    "rt_sigaction": (),
    "rt_sigprocmask": (),
    "rt_sigreturn": (),
    "sigaltstack": (),
    "tgkill": _own_pid_rule,
    "restart_syscall": (),
    # Time, where the kernel answers it with calls only, and the seeds of hashes.
    "clock_gettime": (),
    "clock_nanosleep": (),
    "gettimeofday": (),
    "getrandom": (),
    # Its own limits: CPU time follows the length of the media, within the hard limit.
    "prlimit64": ((0, _WORD, 0),),
}
"""What every task may call; a call without a rule may have any arguments."""

CREATES_FILES: Final[Mapping[str, Rule]] = {
    "openat": ((2, _WORD & ~(os.O_CLOEXEC | _O_LARGEFILE_AND_NOFOLLOW), _CREATES),),
}
"""What a task may call besides that writes pictures and sound: it creates files that were not there."""

ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The number of an architecture in a filter, by the name that `uname -m` prints."""

_NUMBERS_ON_BOTH: Final = """
    read 0 63, pread64 17 67, lseek 8 62, write 1 64, writev 20 66, close 3 57, dup 32 23, fstat 5 80,
    newfstatat 262 79, fcntl 72 25, mmap 9 222, mprotect 10 226, munmap 11 215, mremap 25 216,
    madvise 28 233, brk 12 214, futex 202 98, clone 56 220, set_robust_list 273 99, rseq 334 293,
    prctl 157 167, sched_getaffinity 204 123, sched_yield 24 124, gettid 186 178, getpid 39 172,
    exit 60 93, exit_group 231 94, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139,
    sigaltstack 131 132, tgkill 234 131, restart_syscall 219 128, clock_gettime 228 113,
    clock_nanosleep 230 115, gettimeofday 96 169, getrandom 318 278, prlimit64 302 261, openat 257 56
"""
_ROWS: Final = [row.split() for row in _NUMBERS_ON_BOTH.split(",")]
NUMBERS: Final[Mapping[str, Mapping[str, int]]] = {
    machine: {row[0]: int(row[column]) for row in _ROWS} for column, machine in enumerate(ARCHITECTURES, 1)
}
"""The numbers of these calls, by architecture."""


def load_libc() -> Any:
    """Return the C library of this process, by whose functions calls are made for which Python has none."""
    return ctypes.CDLL(None, use_errno=True)


def last_error(call: str) -> OSError:
    """Return the error with which `call` has just failed."""
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
