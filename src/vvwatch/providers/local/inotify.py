"""The kernel's own notice of changes in directories, as Linux gives it (inotify(7)).

On Linux this is what a folder source listens to; elsewhere it is the library watchfiles (`watchfiles_tree`), which
was measured here too and not preferred. It tells neither of a full queue nor of a budget spent after the start,
ends at one undecodable name, refuses or silently halves a tree that holds one unreadable folder such as
`lost+found`, follows links out of the tree, cannot leave hidden folders out, and polls: 20 folders cost 1 to 2 %
of a core doing nothing when hints are to come within 100 ms. The kernel tells all of it, and waiting for it is
free.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final, NamedTuple

ATTRIB: Final = 0x4
CLOSE_WRITE: Final = 0x8
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
MOVE_SELF: Final = 0x800
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ISDIR: Final = 0x4000_0000

_ONLYDIR: Final = 0x100_0000
_DONT_FOLLOW: Final = 0x200_0000
_EXCL_UNLINK: Final = 0x400_0000
_CHANGES: Final = ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | _ONLYDIR | _EXCL_UNLINK
_HEADER: Final = struct.Struct("iIII")
_READ_BYTES: Final = 1 << 18
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """One change: bits of `mask`, in the directory of `watch`; undecodable bytes of `name` are surrogates."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One queue of the kernel. Raises OSError (EMFILE) when the user has as many as are allowed."""

    def __init__(self) -> None:
        self._descriptor = _check_result(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """The descriptor; readable when events wait."""
        return self._descriptor

    def add(self, directory: str, *, root: bool) -> int:
        """Watch a directory; returns its watch, the same one for the same directory.

        Only the root may be reached through a link, and only its own moving matters. Raises OSError: ENOSPC
        when the user's budget is spent, EACCES, ENOENT, ENOTDIR.
        """
        mask = _CHANGES | (MOVE_SELF if root else _DONT_FOLLOW)
        return _check_result(_libc.inotify_add_watch(self._descriptor, os.fsencode(directory), mask))

    def remove(self, watch: int) -> None:
        """Stop a watch; one that has ended already is fine."""
        _libc.inotify_rm_watch(self._descriptor, watch)

    def read(self) -> list[Event]:
        """What has happened since the last read, in order; empty when nothing has."""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return []
        return _parse_events(data)

    def close(self) -> None:
        """End all watches."""
        os.close(self._descriptor)


def _parse_events(data: bytes) -> list[Event]:
    events = []
    offset = 0
    while offset < len(data):
        watch, mask, _, length = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size
        name = data[offset : offset + length].rstrip(b"\0")
        offset += length
        events.append(Event(watch, mask, os.fsdecode(name)))
    return events


def _check_result(value: int) -> int:
    if value < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return value
