"""Kernel watches on all folders below a root, kept in step with the tree.

A folder is watched before it is read, so new entries are either read or notified. Entries from before the watch are
found by the listing that the caller owes every prefix in `Changes.rescan`.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vvwatch.core.housekeeping import is_housekeeping
from vvwatch.core.objects import base_name
from vvwatch.ports import SourceHealth
from vvwatch.providers.local.inotify import (
    ATTRIB,
    IGNORED,
    ISDIR,
    MOVE_SELF,
    MOVED_FROM,
    OVERFLOW,
    Event,
    Inotify,
)
from vvwatch.providers.local.limits import report_spent
from vvwatch.providers.local.notifier import Changes
from vvwatch.providers.local.root import Root

_VISITS: Final = 500


class WatchedTree:
    """A `Notifier` of `root` and all folders below it, except hidden and housekeeping ones.

    Links are not followed. Raises OSError if the kernel grants no queue.
    """

    def __init__(self, root: Path) -> None:
        self._root = Root(root)
        self._inotify = Inotify()
        self._keys: dict[int, str] = {}
        self._watches: dict[str, int] = {}
        self._waiting = deque([""])
        self._unwatched: set[str] = set()

    def fileno(self) -> int:
        """As `Notifier.fileno`."""
        return self._inotify.fileno()

    def close(self) -> None:
        """As `Notifier.close`."""
        self._inotify.close()

    def revisit(self) -> None:
        """As `Notifier.revisit`."""
        self._unwatched.clear()
        self._waiting = deque([""])

    def grow(self) -> bool:
        """As `Notifier.grow`: folders beyond the user's watch limit go to the shortfall."""
        for _ in range(min(_VISITS, len(self._waiting))):
            self._visit(self._waiting.popleft())
        return not self._waiting

    def shortfall(self) -> SourceHealth | None:
        """As `Notifier.shortfall`."""
        folders = len(self._watches) + len(self._unwatched)
        return report_spent(len(self._unwatched), folders) if self._unwatched else None

    def read(self) -> Changes:
        """As `Notifier.read`."""
        self._root.require_same()
        changes = Changes()
        moved: set[str] = set()
        for event in self._inotify.read():
            self._digest(event, changes, moved)
        self._forget_below(moved)
        return changes

    def _digest(self, event: Event, changes: Changes, moved: set[str]) -> None:
        if event.mask & OVERFLOW:
            changes.overflowed = True
        folder = self._keys.get(event.watch)
        if folder is None:
            return
        if event.mask & (IGNORED | MOVE_SELF):
            self._ended(event.watch, folder)
        elif not event.name or event.name.startswith("."):
            return
        elif not _is_text(event.name):
            changes.rescan.append(_prefix_of(folder))
        elif event.mask & ISDIR:
            self._digest_folder(event.mask, _prefix_of(folder) + event.name, changes, moved)
        elif not event.mask & MOVED_FROM:
            changes.keys.append(_prefix_of(folder) + event.name)

    def _digest_folder(self, mask: int, key: str, changes: Changes, moved: set[str]) -> None:
        if is_housekeeping(base_name(key)):
            return
        if mask & MOVED_FROM:
            moved.add(key)
        elif not (mask & ATTRIB and key in self._watches):
            self._waiting.append(key)
            changes.rescan.append(_prefix_of(key))

    def _ended(self, watch: int, folder: str) -> None:
        if not folder:
            raise self._root.lost("it was moved, removed or unmounted")
        del self._keys[watch]
        if self._watches.get(folder) == watch:
            del self._watches[folder]

    def _forget_below(self, moved: set[str]) -> None:
        """Remove the watches of a moved folder: they must not report its old name."""
        if not moved:
            return
        for key, watch in list(self._watches.items()):
            if _is_in(key, moved):
                self._inotify.remove(watch)
                del self._watches[key]
                self._keys.pop(watch, None)

    def _visit(self, folder: str) -> None:
        path = f"{self._root.path}/{folder}"
        try:
            self._assign(self._inotify.add(path, root=not folder), folder)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                self._refused(folder, error)
                return
            self._unwatched.add(folder)
        try:
            self._waiting.extend(_list_folders(path, _prefix_of(folder)))
        except OSError as error:
            self._refused(folder, error)

    def _refused(self, folder: str, error: OSError) -> None:
        """Ignore a folder that is gone or unreadable: listings report it."""
        if not folder:
            raise self._root.unusable(error) from error

    def _assign(self, watch: int, folder: str) -> None:
        before = self._keys.get(watch)
        if before is not None and before != folder:
            self._watches.pop(before, None)
        self._keys[watch] = folder
        self._watches[folder] = watch


def _list_folders(path: str, prefix: str) -> Iterator[str]:
    with os.scandir(path) as entries:
        for entry in entries:
            if (
                entry.is_dir(follow_symlinks=False)
                and not entry.name.startswith(".")
                and not is_housekeeping(entry.name)
                and _is_text(entry.name)
            ):
                yield prefix + entry.name


def _prefix_of(folder: str) -> str:
    return f"{folder}/" if folder else ""


def _is_in(key: str, folders: set[str]) -> bool:
    while key:
        if key in folders:
            return True
        key = key.rpartition("/")[0]
    return False


def _is_text(name: str) -> bool:
    return name.isascii() or os.fsencode(name).decode(errors="ignore") == name
