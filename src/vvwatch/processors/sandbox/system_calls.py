"""The system calls that a confined process needs, with their arguments and numbers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

Rule = tuple[tuple[int, int, int], ...]
"""A condition on an argument: its index, a mask, and the value under that mask. One of several must hold."""

FIRST_OF_ALL_ARCHITECTURES: Final = 424
"""From this number on (Linux 5.1), a call has the same number on all architectures."""

_WORD: Final = 0xFFFFFFFF
_PR_SET_NAME: Final = 15
_NOT_EXECUTABLE: Final[Rule] = ((2, 4, 0),)  # PROT_EXEC
_F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC = 1, 2, 3, 1030

# CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID: glibc and musl set these
# to start a thread. Musl adds the obsolete CLONE_DETACHED.
_THREAD: Final = 0x3D0F00
_CLONE_DETACHED: Final = 0x400000

_CREATES: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_O_LARGEFILE_AND_NOFOLLOW: Final = 0o500000  # swapped between the two architectures


def _own_pid_rule(pid: int) -> Rule:
    return ((0, _WORD, pid),)


ALLOWED: Final[Mapping[str, Rule | Callable[[int], Rule]]] = {
    # Open files: the media, pipes, files that the process created.
    "read": (),
    "pread64": (),
    "lseek": (),
    "write": (),
    "writev": (),  # the last words of a C library before abort()
    "close": (),
    "dup": (),
    "fstat": (),
    "newfstatat": (),  # glibc's fstat; it opens nothing, but reveals whether a path exists
    "fcntl": tuple((1, _WORD, command) for command in (_F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC)),
    # Memory that is never executable, so the media cannot inject code.
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
    # Signals: handlers, and abort(), which signals its own process.
    "rt_sigaction": (),
    "rt_sigprocmask": (),
    "rt_sigreturn": (),
    "sigaltstack": (),
    "tgkill": _own_pid_rule,
    "restart_syscall": (),
    # Time, if the kernel answers it only by calls, and the seeds of hashes.
    "clock_gettime": (),
    "clock_nanosleep": (),
    "gettimeofday": (),
    "getrandom": (),
    # Its own limits: CPU time depends on the length of the media, within the hard limit.
    "prlimit64": ((0, _WORD, 0),),
}
"""The calls that every task may make; a call without a rule may have any arguments."""

CREATES_FILES: Final[Mapping[str, Rule]] = {
    "openat": ((2, _WORD & ~(os.O_CLOEXEC | _O_LARGEFILE_AND_NOFOLLOW), _CREATES),),
}
"""The additional calls of a task that writes pictures and sound: it creates new files."""

ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The filter's number of an architecture, by the name that `uname -m` prints."""

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


@cache
def load_libc() -> Any:
    """Return the C library of this process, for calls that Python does not wrap."""
    return ctypes.CDLL(None, use_errno=True)


def last_error(call: str) -> OSError:
    """Return the OSError of `call`, which has just failed."""
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
