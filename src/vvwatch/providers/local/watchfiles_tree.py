"""The folders below a root as the library watchfiles watches them: for machines without inotify.

The library leaves out more than it tells, so what it says is taken as a sign that something changed, and what
stands there now decides what is hinted:

- A folder that appears is listed at once and once more a second later, for what arrives in it before the library
  follows is never told of.
- A great many changes at once may be the rest of a queue that overflowed in silence: everything is listed.
- It ends at one undecodable name, and on Linux at one unreadable folder: that is raised, for the caller to list
  everything and start anew, from time to time for as long as the folder stands.
- It follows links: a path is told under the folder in which it really stands, and not at all outside the root.
- It tells of no close: a file is hinted at each change, and whether it is whole is settled elsewhere.

It may have lost changes that none of this makes good, until everything is listed from time to time. It was run on
Linux only. On macOS it is to be backed by FSEvents, which needs no budget and which refuses no folder.
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
from contextlib import suppress
from pathlib import Path
from typing import Final

import watchfiles

from vvwatch.core.housekeeping import is_housekeeping
from vvwatch.ports import SourceHealth
from vvwatch.providers.local.limits import affordable_watches
from vvwatch.providers.local.notifier import Changes
from vvwatch.providers.local.root import Root

_DEBOUNCE_MS: Final = 100
_STEP_MS: Final = 50
_TURN_MS: Final = 100
_AGAIN_SECONDS: Final = 1.0
_END_SECONDS: Final = 5.0
_BURST: Final = 2000
"""What an inotify queue that ran over still tells of is 4,096 new files, and comes in two batches at most."""

# It logs each batch; with a log file below the root, each line of the log would be a change to log.
logging.getLogger("watchfiles").setLevel(logging.WARNING)


class WatchfilesTree:
    """A `Notifier` of everything below `root`; a thread of its own listens to the library."""

    def __init__(self, root: Path) -> None:
        self._root = Root(root)
        self._path = os.path.realpath(root).rstrip("/")  # FSEvents speaks of real paths only
        self._touched: deque[set[str]] = deque()
        self._again: dict[str, float] = {}
        self._failure: OSError | None = None
        self._started = threading.Event()
        self._stop = threading.Event()
        self._counted = False
        self.grow()
        self._ear, self._mouth = _open_pair()
        self._thread = threading.Thread(target=self._listen, name=f"watchfiles {root}", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure:
            self.close()
            self._root.require_same()
            raise self._failure

    def fileno(self) -> int:
        """As `Notifier.fileno`."""
        return self._ear.fileno()

    def revisit(self) -> None:
        """As `Notifier.revisit`: the tree may have outgrown the budget, of which the library would not tell."""
        self._counted = False

    def grow(self) -> bool:
        """As `Notifier.grow`: the library watches new folders itself, where there is a budget for them.

        Raises OSError (ENOSPC) when there are more folders than the kernel may watch.
        """
        if not self._counted and _make_more_folders(self._path, affordable_watches()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._counted = True
        return True

    def shortfall(self) -> SourceHealth | None:
        """None: where the library would watch only some folders, making or growing this raises."""
        return None

    def read(self) -> Changes:
        """As `Notifier.read`. Raises OSError when the library has ended."""
        self._root.require_same()
        with suppress(BlockingIOError):
            while self._ear.recv(4096):
                pass
        if self._failure:
            raise self._failure
        changes = Changes()
        self._digest(changes)
        self._repeat(changes)
        return changes

    def close(self) -> None:
        """As `Notifier.close`; takes about as long as one step of the library."""
        self._stop.set()
        self._thread.join(_END_SECONDS)
        self._ear.close()
        self._mouth.close()

    def _listen(self) -> None:
        try:
            for batch in watchfiles.watch(
                self._path or "/",
                watch_filter=None,
                debounce=_DEBOUNCE_MS,
                step=_STEP_MS,
                stop_event=self._stop,
                rust_timeout=_TURN_MS,
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=False,
            ):
                self._started.set()
                self._note(batch)
        except (OSError, RuntimeError) as error:
            self._failure = _with_number(error)
        finally:
            self._failure = self._failure or OSError(errno.EIO, "the watching library has ended")
            self._started.set()
            self._wake()

    def _note(self, batch: set[watchfiles.main.FileChange]) -> None:
        """Keep what is not left out; a burst counts as a change of the root, whatever it was."""
        paths = {path for _, path in batch if not _is_left_out(path[len(self._path) :])}
        if len(batch) >= _BURST:
            paths = {self._path}
        if paths:
            self._touched.append(paths)
        if paths or self._again:
            self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # full: it is awake; closed: nobody listens any more
            self._mouth.send(b"\0")

    def _digest(self, changes: Changes) -> None:
        keys: dict[str, None] = {}
        folders: dict[str, str | None] = {}
        while self._touched:
            for path in self._touched.popleft():
                keys.update(dict.fromkeys(self._keys_of(path, folders)))
        for key in keys:
            self._look(key, changes)

    def _keys_of(self, path: str, folders: dict[str, str | None]) -> tuple[str, ...]:
        """The key of `path`, none outside the root or in hiding; `folders` remembers where folders stand."""
        if path.rstrip("/") == self._path:
            return ("",)
        parent, _, name = path.rpartition("/")
        if parent not in folders:
            folders[parent] = self._prefix_of(parent)
        prefix = folders[parent]
        return () if prefix is None else (prefix + name,)

    def _prefix_of(self, folder: str) -> str | None:
        real = os.path.realpath(folder).rstrip("/") + "/"
        below = real.removeprefix(self._path)
        if not real.startswith(f"{self._path}/") or _is_left_out(below):
            return None
        return below[1:]

    def _look(self, key: str, changes: Changes) -> None:
        """Hint at what stands at `key` now, whatever the change was called; nothing at what has gone."""
        try:
            mode = os.lstat(f"{self._path}/{key}").st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            mode = 0
        if stat.S_ISDIR(mode):
            prefix = f"{key}/" if key else ""
            changes.rescan.append(prefix)
            self._again[prefix] = time.monotonic() + _AGAIN_SECONDS
        else:
            changes.keys.append(key)

    def _repeat(self, changes: Changes) -> None:
        now = time.monotonic()
        for prefix in [prefix for prefix, due_at in self._again.items() if due_at <= now]:
            del self._again[prefix]
            changes.rescan.append(prefix)


def _is_left_out(below: str) -> bool:
    """Whether a path below the root is hidden, or in a folder that a system keeps for itself."""
    return "/." in below or any(map(is_housekeeping, below.split("/")))


def _open_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a wire that never blocks; what is sent into the second makes the first readable."""
    ear, mouth = socket.socketpair()
    ear.setblocking(False)
    mouth.setblocking(False)
    return ear, mouth


def _make_more_folders(path: str, most: int | None) -> bool:
    """Whether more than `most` folders stand at and below `path`; hidden ones count, the library watches them."""
    return most is not None and any(count > most for count, _ in enumerate(os.walk(path or "/"), start=1))


def _with_number(error: OSError | RuntimeError) -> OSError:
    """The library says what happened in words only."""
    text = str(error)
    number = re.search(r"os error (\d+)", text)
    if number:
        return OSError(int(number[1]), text)
    if isinstance(error, PermissionError):
        return OSError(errno.EACCES, text)
    return OSError(errno.ENOSPC if "watch limit" in text else errno.EIO, text)
