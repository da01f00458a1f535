"""The filter of system calls, run by an interpreter of its own: for both architectures, on any machine."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
from collections.abc import Sequence

import pytest

from vvwatch.processors.sandbox.seccomp import Instruction, build_filter
from vvwatch.processors.sandbox.system_calls import ALLOWED, ARCHITECTURES, CREATES_FILES, NUMBERS

ALLOW, KILL, REFUSED, UNKNOWN = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PID = 4321
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NEEDED = (
    "read pread64 lseek write close fstat newfstatat fcntl dup mmap munmap mremap mprotect madvise brk futex clone"
    " set_robust_list rseq sched_getaffinity getpid exit exit_group rt_sigaction rt_sigprocmask prlimit64"
)
NEEDED = frozenset(_NEEDED.split())
"""What the tasks call with a sample of each format, as strace shows it with glibc 2.36."""

KEPT = {
    "writev": "the words of glibc when it finds its heap broken",
    "tgkill": "abort()",
    "gettid": "abort()",
    "rt_sigreturn": "the return of a signal handler",
    "sigaltstack": "signal handlers",
    "restart_syscall": "how the kernel goes on after a stop",
    "clock_gettime": "clocks that a virtual machine answers by a call only",
    "gettimeofday": "the same",
    "clock_nanosleep": "waiting for other threads",
    "sched_yield": "the same",
    "getrandom": "seeds of hashes",
    "prctl": "names of threads",
}
"""What no sample needs here and another C library, machine or end may, with the reason."""


def run(code: Sequence[Instruction], architecture: int, number: int, *arguments: int) -> int:
    """Return what the kernel would do with a call; raises IndexError for a program that ends without an answer."""
    words = {0: number, 4: architecture}
    for index, value in enumerate(arguments):
        words[16 + 8 * index], words[20 + 8 * index] = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    accumulator = place = 0
    while True:
        step = code[place]
        place += 1
        match step.code:
            case 0x20:
                accumulator = words.get(step.operand, 0)
            case 0x54:
                accumulator &= step.operand
            case 0x15:
                place += step.if_true if accumulator == step.operand else step.if_false
            case 0x35:
                place += step.if_true if accumulator >= step.operand else step.if_false
            case 0x06:
                return step.operand
            case other:
                raise AssertionError(other)


@pytest.fixture(params=ARCHITECTURES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def answer(machine: str, name: str | int, *arguments: int, creates_files: bool = False) -> int:
    number = NUMBERS[machine][name] if isinstance(name, str) else name
    code = build_filter(machine, PID, creates_files=creates_files)
    return run(code, ARCHITECTURES[machine], number, *arguments)


def numbers_of(machine: str, *names: str) -> dict[str, int]:
    """The numbers of system calls as libseccomp knows them, which is no code of ours."""
    library = ctypes.util.find_library("seccomp")
    if library is None and os.environ.get("CI"):
        pytest.fail("libseccomp is needed to judge the numbers of system calls: install libseccomp2")
    if library is None:
        pytest.skip("NOT TESTED: the numbers of system calls, because libseccomp is missing (libseccomp2)")
    resolve = ctypes.CDLL(library).seccomp_syscall_resolve_name_arch
    return {name: resolve(ctypes.c_uint32(ARCHITECTURES[machine]), name.encode()) for name in names}


def test_the_numbers_are_those_of_the_architecture(machine: str) -> None:
    assert numbers_of(machine, *NUMBERS[machine]) == NUMBERS[machine]


def test_each_call_has_a_number_and_each_number_a_use(machine: str) -> None:
    assert NUMBERS[machine].keys() == ALLOWED.keys() | CREATES_FILES.keys()


def test_nothing_is_allowed_without_a_use() -> None:
    assert set(ALLOWED) == NEEDED | KEPT.keys()


def test_all_other_calls_are_refused(machine: str) -> None:
    allowed = {NUMBERS[machine][name] for name in ALLOWED}
    given = {number: answer(machine, number) for number in range(600)}

    assert {number for number, said in given.items() if said == ALLOW} <= allowed
    assert {said for number, said in given.items() if number not in allowed and number < 424} == {REFUSED}
    assert {said for number, said in given.items() if number >= 424} == {UNKNOWN}


def test_what_reaches_beyond_the_process_is_refused(machine: str) -> None:
    reaches = (
        "open openat openat2 execve execveat fork vfork socket connect socketpair bind sendmsg kill tkill ptrace"
        " process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal rt_sigqueueinfo unlink unlinkat"
        " rename renameat2 mkdir mkdirat link linkat symlinkat chmod fchmod fchmodat truncate ftruncate mount umount2"
        " chroot pivot_root setns unshare bpf perf_event_open userfaultfd io_uring_setup keyctl add_key shmget semget"
        " msgget mq_open inotify_init1 fanotify_init memfd_create ioctl setuid setgid setresuid setpriority"
        " sched_setscheduler sched_setaffinity personality seccomp statx readlinkat getdents64 access faccessat clone3"
        " sendfile splice flock utimensat setxattr name_to_handle_at open_by_handle_at move_mount fsopen kcmp"
    )
    there = {name: number for name, number in numbers_of(machine, *reaches.split()).items() if number >= 0}

    assert len(there) > 60
    assert {name for name, number in there.items() if answer(machine, number) == ALLOW} == set()


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("mmap", (0, 4096, 3), (0, 4096, 7)),
        ("mprotect", (0, 4096, 1), (0, 4096, 5)),
        ("clone", (0x3D0F00,), (0x11,)),
        ("clone", (0x7D0F00,), (0x3D0F00 | 0x10000000,)),
        ("prctl", (15,), (4,)),
        ("tgkill", (PID, PID, 6), (1, 1, 0)),
        ("prlimit64", (0, 0), (PID + 1, 0)),
        ("fcntl", (3, 1030), (3, 8)),  # 8: F_SETOWN, by which others get signals
        ("fcntl", (3, 3), (3, 4)),
        ("fcntl", (3, 2), (3, 6)),
    ],
)
def test_arguments_are_held_to_what_is_needed(
    machine: str, name: str, allowed: tuple[int, ...], refused: tuple[int, ...]
) -> None:
    assert answer(machine, name, *allowed) == ALLOW
    assert answer(machine, name, *refused) == REFUSED


def test_a_flag_in_the_upper_half_that_the_kernel_does_not_read_changes_nothing(machine: str) -> None:
    assert answer(machine, "prlimit64", 1 << 32) == ALLOW
    assert answer(machine, "mmap", 0, 4096, 1 << 32 | 7) == REFUSED


@pytest.mark.parametrize(
    "flags",
    [0, os.O_RDWR, os.O_WRONLY, os.O_WRONLY | os.O_CREAT, NEW_FILE | os.O_TRUNC, NEW_FILE | os.O_RDWR],
)
def test_only_new_files_are_opened_and_only_where_files_are_written(machine: str, flags: int) -> None:
    assert answer(machine, "openat", 0, 0, NEW_FILE, creates_files=True) == ALLOW
    assert answer(machine, "openat", 0, 0, NEW_FILE) == REFUSED
    assert answer(machine, "openat", 0, 0, flags, creates_files=True) == REFUSED


def test_calls_in_the_convention_of_another_architecture_end_the_process(machine: str) -> None:
    code = build_filter(machine, PID, creates_files=True)

    for architecture in (0x40000003, 0x40000028, *(set(ARCHITECTURES.values()) - {ARCHITECTURES[machine]})):
        assert run(code, architecture, NUMBERS[machine]["read"]) == KILL


def test_the_narrow_calls_of_x86_64_are_refused() -> None:
    """Known as x32: the same registers and half the addresses, with a bit of its own in the number."""
    code = build_filter("x86_64", PID, creates_files=True)

    for number in range(600):
        assert run(code, ARCHITECTURES["x86_64"], number | 0x40000000) == UNKNOWN


def test_an_unknown_architecture_has_no_filter() -> None:
    with pytest.raises(KeyError):
        build_filter("riscv64", PID, creates_files=False)
