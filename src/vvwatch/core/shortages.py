"""Shortages of a machine as the operating system reports them: never the fault of the file being processed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vvwatch.errors import MachineShortage, SpoolFull

CODES: Final = (MachineShortage.code, SpoolFull.code)
"""The error codes of work that waits because this machine lacks something."""


@dataclass(frozen=True, slots=True)
class Lack:
    """What is missing, as the start of a message, and what an operator can do."""

    what: str
    hint: str


_DESCRIPTORS: Final = Lack(
    "this process has no file descriptor left",
    "raise LimitNOFILE in the service's unit (ulimit -n), or lower concurrency in [processing]",
)
_SYSTEM_DESCRIPTORS: Final = Lack("this machine has no file descriptor left", "raise fs.file-max with sysctl")
_PROCESSES: Final = Lack(
    "this machine grants no further process or thread",
    "raise TasksMax in the service's unit and the user's limit of processes (ulimit -u)",
)
_MEMORY: Final = Lack(
    "this machine has no memory left",
    "add memory or raise MemoryMax in the service's unit, or lower concurrency or memory_bytes in [processing]",
)
_ROOM: Final = Lack("this machine has no room left on a disk", "free space and inodes where state_dir is")
_QUOTA: Final = Lack("the disk quota of the daemon's user is used up", "raise the quota, or free space")
_READ_ONLY: Final = Lack(
    "the file system of state_dir is mounted read-only", "look at the kernel's log, then remount it"
)
_NO_START: Final = Lack(
    "this machine does not start the daemon's own processes",
    "repair the installation; the daemon's user must be able to execute it (no mount option noexec)",
)
_OWN_FOLDER: Final = Lack(
    "the daemon cannot make a working folder", "make the daemon's user the owner of the spool below state_dir"
)
_BUSY: Final = Lack(
    "this machine is too busy", "lower concurrency in [processing], or give the machine more processors"
)
_KILLED: Final = Lack("the kernel ended a process because memory ran out", _MEMORY.hint)
_ROOMS: Final = {errno.ENOSPC: _ROOM, errno.EDQUOT: _QUOTA, errno.EROFS: _READ_ONLY}
_ANYWHERE: Final = {errno.EMFILE: _DESCRIPTORS, errno.ENFILE: _SYSTEM_DESCRIPTORS, errno.ENOMEM: _MEMORY}
"""The meaning of error numbers from any source; those of disk space may concern another machine's disk."""

_LACKS: Final = (
    *_ROOMS.values(),
    *_ANYWHERE.values(),
    *(_PROCESSES, _NO_START, _OWN_FOLDER, _BUSY, _KILLED),
)
_NO_THREAD: Final = "can't start new thread"
_SPOOL_HINT: Final = "free space below state_dir, or raise spool_bytes in [processing]"


def shortage_in(error: BaseException) -> MachineShortage | None:
    """Return the shortage that caused `error`; None if none did.

    Covers descriptors, memory and threads only: a full disk may be the store's.
    """
    for each in _iter_causes(error):
        if isinstance(each, MachineShortage):
            return each
        lack = _lack_of(each)
        if lack is not None:
            return _to_shortage(lack, each)
    return None


def start_failed(error: OSError, program: str) -> MachineShortage:
    """Return why the operating system did not start one of our processes."""
    lack = {**_ANYWHERE, **_ROOMS, errno.EAGAIN: _PROCESSES}.get(error.errno or 0)
    if lack is not None:
        return _to_shortage(lack, error)
    return MachineShortage(f"{_NO_START.what}: {program!r}: {error.strerror}", _NO_START.hint)


def startup_failed(what: str) -> MachineShortage:
    """Return that one of our processes ended before it opened a file."""
    return MachineShortage(f"{_NO_START.what}: {what}", _NO_START.hint)


def folder_missing(error: OSError) -> MachineShortage:
    """Return why one of our working folders cannot be created."""
    return own_shortage(error) or _to_shortage(_OWN_FOLDER, error)


def own_shortage(error: OSError) -> MachineShortage | None:
    """Return the shortage behind an error of our own files and folders; None if there is none."""
    lack = {**_ANYWHERE, **_ROOMS}.get(error.errno or 0)
    return None if lack is None else _to_shortage(lack, error)


def too_busy(what: str) -> MachineShortage:
    """Return that `what` got too little processor time."""
    return MachineShortage(f"{_BUSY.what}: {what}", _BUSY.hint)


def report_killed() -> MachineShortage:
    """Return that the kernel ended a process for lack of memory, possibly that process's own fault."""
    shortage = MachineShortage(_KILLED.what, _KILLED.hint)
    shortage.is_suspect = True
    return shortage


def find_remedy(code: str, message: str) -> str:
    """Return what an operator can do about the shortage with this code and message."""
    if code == SpoolFull.code:
        return _SPOOL_HINT
    return next((lack.hint for lack in _LACKS if message.startswith(lack.what)), "vvwatch doctor")


def _lack_of(error: BaseException) -> Lack | None:
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
        return _PROCESSES
    return _ANYWHERE.get(error.errno or 0) if isinstance(error, OSError) else None


def _to_shortage(lack: Lack, error: BaseException) -> MachineShortage:
    said = getattr(error, "strerror", None) or str(error)
    return MachineShortage(f"{lack.what} ({said})" if said else lack.what, lack.hint)


def _iter_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, its causes, and the parts of groups."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [cause for cause in (each.__cause__, each.__context__) if cause is not None]
        waiting += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
