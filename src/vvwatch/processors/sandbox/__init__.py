"""The sandbox of processes that handle untrusted input: no files, no network, no other processes.

`enter_sandbox` is irreversible: it applies Landlock if the kernel has it, and a system call filter. Neither needs a
privilege. Open descriptors stay usable, so open and import everything needed before entering.
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
    " in a container, the seccomp profile must allow landlock_create_ruleset, _add_rule and _restrict_self"
)
"""What a machine needs for the complete sandbox."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The confinement of a process: the Landlock version (0 for none), and whether system calls are filtered."""

    landlock: int
    seccomp: bool

    @property
    def lacks(self) -> str:
        """Return the missing parts and what they leave open; empty if nothing is missing."""
        return "; ".join(
            words
            for there, words in ((self.landlock, _NO_LANDLOCK), (self.seccomp, _NO_SECCOMP))
            if not there
        )


def probe_sandbox() -> Sandbox:
    """Return the confinement available to this process; changes nothing."""
    if sys.platform != "linux":
        return Sandbox(0, seccomp=False)
    return Sandbox(landlock.landlock_version(), seccomp.is_available())


def enter_sandbox(folder: Path | None = None) -> Sandbox:
    """Confine this process to computing and to its open descriptors; return the confinement. Irreversible.

    The process must have one thread: others would stay outside. Drops root's capabilities if allowed. In `folder` it
    may create new files. Nothing can be imported afterwards. If the kernel lacks one part, the other still holds:
    without Landlock and with a `folder`, new files may be created wherever this user may write; without a filter,
    files cannot be opened but the network and other processes can be reached. Raises OSError if a part is present but
    fails.
    """
    _forbid_imports()
    hide_memory()
    if sys.platform != "linux":
        return Sandbox(0, seccomp=False)
    load_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_capabilities()
    return Sandbox(landlock.restrict_files(folder), seccomp.install_filter(creates_files=folder is not None))


def confine_template() -> None:
    """Confine a process that only forks, as far as its children still need to prepare themselves. Irreversible.

    It can read files and create new ones, but start no program, change and remove no file, and reach neither the
    network (where Landlock can deny it) nor other processes' memory. Raises OSError if Landlock is there but fails.
    """
    hide_memory()
    if sys.platform == "linux":
        seccomp.prepare_filters()
        load_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        landlock.restrict_changes()


def hide_memory() -> None:
    """Hide the memory and the environment of this process from other processes of its user and from core dumps.

    Programs that it starts are not hidden unless they call this too.
    """
    if sys.platform == "linux":
        # A limit of zero does not keep a dump from a program that collects dumps; this does.
        load_libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    lower_limit(resource.RLIMIT_CORE, 0)


def lower_limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Set a limit of this process, or keep the current one if it is stricter."""
    ceiling = resource.getrlimit(kind)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def _drop_capabilities() -> None:
    """Drop root's capabilities, such as raising its own limits.

    If another filter forbids it, the sandbox still holds: few capabilities help without system calls.
    """
    header = ctypes.create_string_buffer(_CAPABILITIES_OF_THIS_THREAD)
    load_libc().capset(header, bytes(_CAPABILITIES_BYTES))


def _forbid_imports() -> None:
    """Report a module that was not imported in time as missing; otherwise it looks like an unreadable file."""
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter]
