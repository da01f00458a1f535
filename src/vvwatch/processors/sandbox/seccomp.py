"""A seccomp filter that allows only the few system calls that a process still needs.

A denied call fails with an error instead of ending the process: libraries make many calls that they can do without,
and an item must not be lost because a C library makes one call more than the tested one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from vvwatch.processors.sandbox.system_calls import (
    ALLOWED,
    ARCHITECTURES,
    CREATES_FILES,
    FIRST_OF_ALL_ARCHITECTURES,
    NUMBERS,
    Rule,
    last_error,
    load_libc,
)

_PR_GET_SECCOMP: Final = 21
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2

# Classic BPF, and the offsets in `struct seccomp_data`.
_LOAD_WORD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_JUMP_IF_AT_LEAST: Final = 0x35
_AND: Final = 0x54
_RETURN: Final = 0x06
_INSTRUCTION: Final = struct.Struct("=HBBI")
_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_ARGUMENTS_AT: Final = 16

_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_FAIL: Final = 0x00050000
_REFUSED: Final = _FAIL | errno.EPERM
_UNKNOWN: Final = _FAIL | errno.ENOSYS
_ANY_PID: Final = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of classic BPF: `struct sock_filter`."""

    code: int
    if_true: int
    if_false: int
    operand: int


def build_filter(machine: str, pid: int, *, creates_files: bool) -> list[Instruction]:
    """Return the filter for the process `pid` on `machine` (as of `uname -m`); raise KeyError if unknown.

    Allows computing, memory that is never executable, threads, signals to itself, and reading and writing open files;
    `creates_files` adds creating new files. All else fails: calls newer than Linux 5.0 with ENOSYS, so that a C
    library falls back to the older one, and the rest with EPERM. Calls in the convention of another architecture end
    the process.
    """
    numbers = NUMBERS[machine]
    calls = {**ALLOWED, **(CREATES_FILES if creates_files else {})}
    parts = [
        _load_word(_ARCHITECTURE_AT),
        Instruction(_JUMP_IF_EQUAL, 1, 0, ARCHITECTURES[machine]),
        _return_action(_KILL_PROCESS),
        _load_word(_NUMBER_AT),
    ]
    for name, rule in calls.items():
        parts += _allow_call(numbers[name], rule(pid) if callable(rule) else rule)
    return [
        *parts,
        Instruction(_JUMP_IF_AT_LEAST, 0, 1, FIRST_OF_ALL_ARCHITECTURES),
        _return_action(_UNKNOWN),
        _return_action(_REFUSED),
    ]


def is_available() -> bool:
    """Return whether a filter works here: Linux on a known architecture, with seccomp in its kernel."""
    known = sys.platform == "linux" and sys.maxsize > 1 << 32 and os.uname().machine in ARCHITECTURES
    return known and load_libc().prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0


def install_filter(*, creates_files: bool) -> bool:
    """Filter the system calls of this thread and those that it starts, permanently.

    Returns False and does nothing on a system without a filter. Needs `no_new_privs`; raises OSError if the kernel
    refuses the filter.
    """
    if not is_available():
        return False
    code = _pack_filter(os.uname().machine, creates_files).replace(
        _pack_pid(_ANY_PID), _pack_pid(os.getpid())
    )
    filters = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // _INSTRUCTION.size, ctypes.addressof(filters))
    if load_libc().prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(header), 0, 0):
        raise last_error("PR_SET_SECCOMP")
    return True


@cache
def _pack_filter(machine: str, creates_files: bool) -> bytes:  # `cache` wants it by position
    """Return the filter in the kernel's form, with a number that no process has in the place of the process's own."""
    return b"".join(
        _INSTRUCTION.pack(each.code, each.if_true, each.if_false, each.operand)
        for each in build_filter(machine, _ANY_PID, creates_files=creates_files)
    )


def _pack_pid(pid: int) -> bytes:
    """Return the instruction that compares with `pid`, as `_allow_call` makes it."""
    return _INSTRUCTION.pack(_JUMP_IF_EQUAL, 0, 1, pid)


def prepare_filters() -> None:
    """Build the filters now, for the processes that this one forks."""
    if is_available():
        for creates_files in (False, True):
            _pack_filter(os.uname().machine, creates_files)


def _allow_call(number: int, rule: Rule) -> Iterator[Instruction]:
    """Yield instructions that allow the call `number` if the rule holds; the kernel compares the low words."""
    if not rule:
        yield Instruction(_JUMP_IF_EQUAL, 0, 1, number)
        yield _return_action(_ALLOW)
        return
    yield Instruction(_JUMP_IF_EQUAL, 0, 4 * len(rule) + 1, number)
    for index, mask, value in rule:
        yield _load_word(_ARGUMENTS_AT + 8 * index)
        yield Instruction(_AND, 0, 0, mask)
        yield Instruction(_JUMP_IF_EQUAL, 0, 1, value)
        yield _return_action(_ALLOW)
    yield _return_action(_REFUSED)


def _load_word(offset: int) -> Instruction:
    return Instruction(_LOAD_WORD, 0, 0, offset)


def _return_action(action: int) -> Instruction:
    return Instruction(_RETURN, 0, 0, action)
