"""Landlock by system calls: this process and its threads can open no path except new files in one folder."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import Final

from vvwatch.processors.sandbox.system_calls import last_error, load_libc

# The same numbers on all architectures, as of all system calls since Linux 5.1.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION: Final = ctypes.c_uint32(1)
_PATH_BENEATH: Final = 1
_NO_FLAGS: Final = ctypes.c_uint32(0)

_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_FOLDER: Final = 1 << 3
_MAKE_REGULAR_FILE: Final = 1 << 8
_FILE_ACCESS: Final = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""The kinds of file access that can be denied, by the ABI that introduced them."""

_TCP_BIND_AND_CONNECT: Final = 3
_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 3


def landlock_version() -> int:
    """Return the Landlock version that this process can use; 0 if there is none, or a filter forbids it."""
    return max(0, int(load_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)))


def restrict_files(folder: Path | None) -> int:
    """Forbid this thread, and those that it starts, to open any path; return the Landlock version.

    New files may be created in `folder`. If the kernel can, TCP, and other processes' signals and abstract sockets
    are denied too. Open descriptors stay usable. Needs `no_new_privs`. Does nothing and returns 0 without Landlock;
    raises OSError if Landlock is present but fails.
    """
    return _restrict(folder, 0)


def restrict_changes() -> int:
    """Forbid all kinds of file access but reading and creating new files; return the Landlock version, as there."""
    return _restrict(None, _READ_FILE | _READ_FOLDER | _WRITE_FILE | _MAKE_REGULAR_FILE)


def _restrict(folder: Path | None, spared: int) -> int:
    version = landlock_version()
    if version == 0:
        return 0
    attributes = _ruleset_attributes(version, spared)
    ruleset = load_libc().syscall(
        _CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), _NO_FLAGS
    )
    if ruleset < 0:
        raise last_error("landlock_create_ruleset")
    try:
        if folder is not None:
            _allow_new_files(ruleset, folder)
        if load_libc().syscall(_RESTRICT_SELF, ruleset, _NO_FLAGS):
            raise last_error("landlock_restrict_self")
    finally:
        os.close(ruleset)
    return version


def _ruleset_attributes(version: int, spared: int) -> bytes:
    """Return `struct landlock_ruleset_attr` of this version, which denies all file access but the `spared`."""
    files = sum(bits for since, bits in _FILE_ACCESS.items() if version >= since) & ~spared
    fields = [files]
    if version >= 4:
        fields.append(_TCP_BIND_AND_CONNECT)
    if version >= 6:
        fields.append(_ABSTRACT_SOCKETS_AND_SIGNALS)
    return struct.pack(f"={len(fields)}Q", *fields)


def _allow_new_files(ruleset: int, folder: Path) -> None:
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", _WRITE_FILE | _MAKE_REGULAR_FILE, opened)
        if load_libc().syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.c_char_p(rule), _NO_FLAGS):
            raise last_error("landlock_add_rule")
    finally:
        os.close(opened)
