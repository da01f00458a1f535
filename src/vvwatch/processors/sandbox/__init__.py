"""The sandbox of processes that handle what strangers made: no files, no network, no other processes.

`enter` begins it, for good: Landlock where the kernel has it, and a filter of system calls. Neither needs a
privilege. What is open already stays usable, so whoever enters opens and imports first what it will need.
"""

from __future__ import annotations

import ctypes
import resource
import struct
import sys
from dataclasses import dataclass
from importlib.machinery import BuiltinImporter, FrozenImporter
from pathlib import Path
from typing import Final

from vvwatch.processors.sandbox import landlock, seccomp
from vvwatch.processors.sandbox.system_calls import load_libc

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITIES_OF_THIS_THREAD: Final = struct.pack("=Ii", 0x20080522, 0)
_CAPABILITIES_BYTES: Final = 24

_NO_LANDLOCK: Final = (
    "no Landlock: a decoder that is taken over while it extracts pictures could create files"
    " wherever the daemon's user may"
)
_NO_SECCOMP: Final = (
    "no filter of system calls: a decoder that is taken over could reach the network and other processes"
)
HINT: Final = (
    "use Linux 5.13 or newer on x86-64 or arm64, with landlock in the boot option lsm= (cat /sys/kernel/security/lsm);"
    " in a container, its seccomp profile has to allow landlock_create_ruleset, _add_rule and _restrict_self"
)
"""What gives a machine all of it."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What holds a process: the version of Landlock (0 for none), and whether its system calls are filtered."""

    landlock: int
    seccomp: bool

    @property
    def lacks(self) -> str:
        """What of it is not to be had here, and what that leaves open; empty when nothing is missing."""
        return "; ".join(
            words
            for there, words in ((self.landlock, _NO_LANDLOCK), (self.seccomp, _NO_SECCOMP))
            if not there
        )


def probe_sandbox() -> Sandbox:
    """Return what would hold this process, were it to enter; nothing is changed."""
    if sys.platform != "linux":
        return Sandbox(0, seccomp=False)
    return Sandbox(landlock.landlock_version(), seccomp.is_available())


def enter_sandbox(folder: Path | None = None) -> Sandbox:
    """Confine this process to computing and to what is open; return what holds it. There is no way back.

    It is to have one thread: others would stay outside. Capabilities of root are given up where that is allowed.
    In `folder` it may create files that were not there. Nothing can be imported any more. Where the kernel lacks a
    part, the other part still holds: without Landlock new files may be created wherever this user may write, if there
    is a `folder`; without a filter, files cannot be opened but the network and other processes can be reached. Raises
    OSError where a part is there and cannot be used.
    """
    _forbid_imports()
    hide_memory()
    if sys.platform != "linux":
        return Sandbox(0, seccomp=False)
    load_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_capabilities()
    return Sandbox(landlock.restrict_files(folder), seccomp.install_filter(creates_files=folder is not None))


def hide_memory() -> None:
    """Keep the memory and the environment of this process from others of its user, and out of core dumps.

    Programs that it starts are as open as any, until they do the same.
    """
    if sys.platform == "linux":
        # A limit of zero does not keep a dump from a program that collects dumps; this does.
        load_libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    lower_limit(resource.RLIMIT_CORE, 0)


def lower_limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Set a limit of this process, or leave the one that is there where it is stricter."""
    ceiling = resource.getrlimit(kind)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def _drop_capabilities() -> None:
    """Give up what root may do besides, such as raising its own limits.

    Where another filter forbids that, the sandbox holds all the same: few capabilities help without system calls.
    """
    header = ctypes.create_string_buffer(_CAPABILITIES_OF_THIS_THREAD)
    load_libc().capset(header, bytes(_CAPABILITIES_BYTES))


def _forbid_imports() -> None:
    """Say of a module that was forgotten that it is missing; otherwise it looks like a file that cannot be read."""
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter]
