"""The changes below a folder, as the library watchfiles reports them.

The library says that something changed; the file system decides what is hinted. What the library cannot say is
made good here or by `FolderSource`:

- It does not see what arrives in a new folder before it watches it: new folders are listed at once, and again when
  the kernel holds as many watches as there are folders.
- It does not see folders beyond the watch limit, and it stops at an unreadable folder: watches are compared with
  folders, and the folders beside an unreadable one are named one by one.
- It is silent about a queue that overflowed: after a burst or a standstill everything is listed.
- It ends at an undecodable name: `read` raises, and the caller starts a new tree and lists everything.
- It follows links: a change counts where the file really is, and not at all outside the root.
- It does not report a close: a file is hinted at each change, and settling decides whether it is complete.

The library also watches hidden folders, and what links lead to: they need watches, but nothing in them is hinted.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import watchfiles

from vvwatch.core.housekeeping import is_housekeeping
from vvwatch.ports import SourceHealth
from vvwatch.providers.local.limits import affordable_watches, count_watches, report_spent, survey_folders
from vvwatch.providers.local.root import Root

_STEP_MS: Final = 30
"""A change is reported after one to two steps. The library wakes at each: 20 folders cost 0.8 % of a core."""

_BURST: Final = 2_000
"""Changes in a second. A queue that overflowed still holds 16,384 events, of four to eight a new file."""

_CALM_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 10.0
_STANDSTILL_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 1.0
_END_SECONDS: Final = 5.0
_COUNTS: Final = 4
_COUNT_PAUSE_SECONDS: Final = 0.2
_COUNT_REST: Final = 50
"""Counting folders takes at most 2 % of the time."""

# It logs each batch; with a log file below the root, each line of the log would be a change to log.
logging.getLogger("watchfiles").setLevel(logging.WARNING)

_Change = tuple[watchfiles.Change, str]


@dataclass
class Changes:
    """Changes: `keys` of touched files, and prefixes whose content may have arrived unseen."""

    keys: list[str] = field(default_factory=list)
    rescan: list[str] = field(default_factory=list)
    incomplete: bool = False
    """Some folders are not watched: this tree must be replaced by a new one."""


class _Batch(NamedTuple):
    at: float
    changes: set[_Change]
    after_standstill: bool


class _Listener:
    """A thread that runs the library. Raises OSError when the library refuses to start."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._batches: deque[_Batch] = deque()
        self._failure: OSError | None = None
        self._started = threading.Event()
        self._stop = threading.Event()
        self._awake_at = 0.0
        self._receiver, self._sender = _open_pair()
        name = f"watchfiles {paths[0]}"
        self._thread = threading.Thread(target=self._run, args=(paths,), name=name, daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure:
            self.close()
            raise self._failure

    def fileno(self) -> int:
        return self._receiver.fileno()

    def take(self) -> list[_Batch]:
        """Return what came since the last call. Raises OSError when the library has ended."""
        with suppress(BlockingIOError):
            while self._receiver.recv(4096):
                pass
        if self._failure:
            raise self._failure
        return [self._batches.popleft() for _ in range(len(self._batches))]

    def close(self) -> None:
        """Stop; takes about as long as one step."""
        self._stop.set()
        self._thread.join(_END_SECONDS)
        self._receiver.close()
        self._sender.close()

    def is_set(self) -> bool:
        """Return whether to stop; the library asks at each step, first when all is watched.

        A process that was stopped, or got no processor for long, may have missed more than the queue holds.
        """
        now = time.monotonic()
        if self._started.is_set() and now - self._awake_at > _STANDSTILL_SECONDS:
            self._deliver(_Batch(now, set(), after_standstill=True))
        self._awake_at = now
        self._started.set()
        return self._stop.is_set()

    def _run(self, paths: Sequence[str]) -> None:
        try:
            for changes in watchfiles.watch(
                *paths,
                watch_filter=None,
                debounce=0,
                step=_STEP_MS,
                stop_event=self,
                rust_timeout=0,  # at a timeout the library drops what arrives just then
                raise_interrupt=False,
                force_polling=False,
                ignore_permission_denied=True,  # and every other error, as of a spent budget: watches are counted
            ):
                self._deliver(_Batch(time.monotonic(), changes, after_standstill=False))
        except (OSError, RuntimeError, ValueError) as error:
            self._failure = _with_number(error)
        finally:
            self._failure = self._failure or OSError(errno.EIO, "the watching library has ended")
            self._started.set()
            self._wake()

    def _deliver(self, batch: _Batch) -> None:
        self._batches.append(batch)
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # full: it is awake; closed: nobody listens any more
            self._sender.send(b"\0")


class Bursts:
    """Asks for one full listing after each burst and, while bursts go on, for one every 10 seconds.

    All times are monotonic seconds.
    """

    def __init__(self) -> None:
        self.due_at: float | None = None
        """When the next full listing is due."""
        self._second_at = self._first_at = 0.0
        self._count = 0
        self._listed_at = -_PAUSE_SECONDS

    def note(self, at: float, count: int, *, after_standstill: bool = False) -> None:
        """Note `count` changes; after a standstill they may be all that is left of many more."""
        if at - self._second_at >= 1.0:
            self._second_at, self._count = at, 0
        self._count += count
        if self._count < _BURST and not after_standstill:
            return
        if self.due_at is None:
            self._first_at = at
        calm_at = min(at + _CALM_SECONDS, self._first_at + _PAUSE_SECONDS)
        self.due_at = max(calm_at, self._listed_at + _PAUSE_SECONDS)

    def take_due(self, now: float) -> bool:
        """Return whether everything is to be listed now."""
        if self.due_at is None or now < self.due_at:
            return False
        self.due_at, self._listed_at = None, now
        return True


class WatchfilesTree:
    """Reports changes below `root`, except for names that start with a dot.

    Blocking; for one thread at a time. Raises StorageUnavailable if the root is missing, AccessDenied if it is
    unreadable, OSError if this machine grants no notifications.
    """

    def __init__(self, root: Path) -> None:
        self._root = Root(root)
        self._path = os.path.realpath(root).rstrip("/")  # FSEvents speaks of real paths only
        self._young: dict[str, float] = {}
        self._count_after = 0.0
        self._bursts = Bursts()
        path = self._path or "/"
        self._listener = _Listener(_paths_beside(path, survey_folders(path).unreadable))
        self.shortfall = self._find_shortfall()
        """Why some readable folders were not watched at the start; None when all were."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when `read` has something to return."""
        return self._listener.fileno()

    def wait_seconds(self) -> float | None:
        """Return after how many seconds `read` returns something without a change; None for never."""
        due = [] if self._bursts.due_at is None else [self._bursts.due_at]
        if self._young:
            due.append(max(min(self._young.values()) + _AGAIN_SECONDS, self._count_after))
        return max(0.0, min(due) - time.monotonic()) if due else None

    def read(self) -> Changes:
        """Return the changes since the last read.

        Raises StorageUnavailable if the root is gone or replaced, OSError when the library has ended.
        """
        self._root.require_same()
        changes = Changes()
        touched: dict[_Change, None] = {}
        for batch in self._listener.take():
            self._bursts.note(batch.at, len(batch.changes), after_standstill=batch.after_standstill)
            touched.update(dict.fromkeys(batch.changes))
        self._digest(touched, changes)
        if self._bursts.take_due(time.monotonic()):
            changes.rescan.append("")
        self._list_young_again(changes)
        return changes

    def is_complete(self) -> bool:
        """Return whether all readable folders are watched."""
        return self.shortfall is None and self._find_shortfall() is None

    def close(self) -> None:
        """Stop; nothing continues in the background."""
        self._listener.close()

    def _find_shortfall(self) -> SourceHealth | None:
        """Compare watches with folders; several times, for folders come and go while they are counted."""
        folders, missing = 0, 0
        for attempt in range(_COUNTS):
            if attempt:
                time.sleep(_COUNT_PAUSE_SECONDS)
            folders = survey_folders(self._path or "/").count
            watches = count_watches(self._root.inode)
            if watches is None:
                watches = affordable_watches()
            missing = 0 if watches is None else folders - watches
            if missing <= 0:
                return None
        return report_spent(missing, folders)

    def _digest(self, touched: dict[_Change, None], changes: Changes) -> None:
        keys: dict[str, bool] = {}
        folders: dict[str, str | None] = {}
        for change, path in touched:
            is_new = change is not watchfiles.Change.modified
            if path.rstrip("/") == self._path:
                if change is watchfiles.Change.deleted:
                    raise self._root.lost("it was moved, removed or unmounted")
                keys[""] = is_new
                continue
            parent, _, name = path.rpartition("/")
            if name.startswith(".") or is_housekeeping(name):
                continue
            if parent not in folders:
                folders[parent] = self._prefix_of(parent)
            if (prefix := folders[parent]) is not None:
                keys[prefix + name] = is_new or keys.get(prefix + name, False)
        for key, is_new in keys.items():
            self._look(key, changes, is_new=is_new)

    def _prefix_of(self, folder: str) -> str | None:
        """Return where the keys in `folder` begin; None outside the root and in folders that are left out."""
        real = os.path.realpath(folder).rstrip("/") + "/"
        below = real.removeprefix(self._path)
        if not real.startswith(f"{self._path}/") or _is_left_out(below):
            return None
        return below[1:]

    def _look(self, key: str, changes: Changes, *, is_new: bool) -> None:
        """Hint at what is at `key` now, whatever the change was; at nothing if it is gone.

        A folder that is not new may have become readable, which counting its watch will show.
        """
        try:
            mode = os.lstat(f"{self._path}/{key}").st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            mode = 0
        if not stat.S_ISDIR(mode):
            changes.keys.append(key)
            return
        prefix = f"{key}/" if key else ""
        self._young[prefix] = time.monotonic()
        if is_new:
            changes.rescan.append(prefix)

    def _list_young_again(self, changes: Changes) -> None:
        """List folders a second time, once they are watched: until then nothing reports what arrives there."""
        began = time.monotonic()
        due = [prefix for prefix, seen_at in self._young.items() if began - seen_at >= _AGAIN_SECONDS]
        if not due or began < self._count_after:
            return
        changes.incomplete = self.shortfall is None and not self.is_complete()
        self._count_after = time.monotonic() + _COUNT_REST * (time.monotonic() - began)
        changes.rescan.extend(due)
        for prefix in due:
            del self._young[prefix]


def _is_left_out(below: str) -> bool:
    """Return whether a path below the root is hidden, or in a folder that a system keeps for itself."""
    return "/." in below or any(map(is_housekeeping, below.split("/")))


def _paths_beside(root: str, unreadable: Sequence[str]) -> list[str]:
    """Return the root and all folders beside the unreadable ones, up to the root.

    The library gives up a path at its first unreadable folder: each of these is a path of its own.
    """
    above = {root}
    for path in unreadable:
        while (path := os.path.dirname(path)) not in above:  # noqa: PTH120 - may be undecodable
            above.add(path)
    paths = [root]
    for folder in sorted(above) if unreadable else ():
        with suppress(OSError), os.scandir(folder) as entries:
            paths += [entry.path for entry in entries if entry.is_dir()]
    return [path for path in paths if _is_text(path) and path not in unreadable]


def _is_text(path: str) -> bool:
    return path.isascii() or os.fsencode(path).decode(errors="ignore") == path


def _open_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a wire that never blocks; what is sent into the second makes the first readable."""
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    return receiver, sender


def _with_number(error: OSError | RuntimeError | ValueError) -> OSError:
    """Return the error with its number: the library names it in words only."""
    text = str(error)
    number = re.search(r"os error (\d+)", text)
    return OSError(int(number[1]) if number else errno.EIO, text)
