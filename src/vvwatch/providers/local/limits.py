"""The kernel's limits on file watches, and what to do when they are too low."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vvwatch.ports import Finding, SourceHealth

_DESCRIPTORS: Final = Path("/proc/self/fdinfo")
_LIMITS: Final = Path("/proc/sys/fs/inotify")
_USUAL_LIMITS: Final = {"max_queued_events": 16_384, "max_user_instances": 128, "max_user_watches": 65_536}


def affordable_watches() -> int | None:
    """Return how many folders inotify may watch for this user; None without a known limit."""
    return _read_setting("max_user_watches")


def report_spent(unwatched: int, folders: int) -> SourceHealth:
    """Return that the watch limit excludes `unwatched` of `folders`."""
    return SourceHealth(
        "degraded",
        f"{unwatched} of {folders} folders cannot be watched: the budget of inotify watches is spent",
        _raise_command("max_user_watches", max(2 * _read_limit("max_user_watches"), 4 * folders)),
    )


def report_refused(error: OSError) -> SourceHealth:
    """Return that `error` prevents all notifications."""
    if error.errno == errno.EMFILE and sys.platform == "linux":
        return SourceHealth(
            "degraded",
            "the kernel grants no further inotify instance (or open file); the folder is listed from time to time",
            _raise_command("max_user_instances", 2 * _read_limit("max_user_instances"))
            + "; if that does not help, raise LimitNOFILE",
        )
    return SourceHealth(
        "degraded",
        f"the folder cannot be watched ({error.strerror}); it is listed from time to time",
        "correct what is named; the kernel's log may say more",
    )


@dataclass
class Folders:
    """Folders: how many readable ones there are, and the paths of the others."""

    count: int = 0
    unreadable: list[str] = field(default_factory=list)


def survey_folders(root: str, enough: Callable[[], bool] = lambda: False) -> Folders:
    """Return the folders that need a watch for `root`, itself included; stop at `enough`. Blocks.

    watchfiles also watches hidden folders and what links lead to; a folder reached twice has one watch.
    """
    folders, seen, waiting = Folders(), set[tuple[int, int]](), [root]
    while waiting and not enough():
        path = waiting.pop()
        try:
            status = os.stat(path)  # noqa: PTH116 - may be undecodable
            if (status.st_dev, status.st_ino) in seen:
                continue
            with os.scandir(path) as entries:
                waiting += [entry.path for entry in entries if _is_folder(entry)]
        except PermissionError:
            folders.unreadable.append(path)
        except OSError:
            continue  # gone
        else:
            seen.add((status.st_dev, status.st_ino))
    folders.count = len(seen)
    return folders


def count_watches(inode: int, descriptors: Path = _DESCRIPTORS) -> int | None:
    """Return how many watches an inotify instance of this process holds; None where the kernel does not say.

    The instance is the one whose first watch is that of the folder with this inode number.
    """
    first, most, readable = f"inotify wd:1 ino:{inode:x} ", 0, False
    with suppress(OSError):
        for path in descriptors.iterdir():
            with suppress(OSError):
                text, readable = path.read_text(), True
                if first in text:
                    most = max(most, text.count("inotify wd:"))
    return most if readable else None


def examine_limits(folders: int, roots: int) -> list[Finding]:
    """Return findings on whether the kernel can watch `folders` folders below `roots` roots.

    All programs of this user share its limits. Without known limits there are no findings.
    """
    return [
        *_compare_limit("inotify watches", "max_user_watches", folders, "folder"),
        *_compare_limit("inotify instances", "max_user_instances", roots, "watched root"),
        *_examine_queue(),
    ]


def _compare_limit(subject: str, name: str, needed: int, noun: str) -> list[Finding]:
    granted = _read_setting(name)
    if granted is None:
        return []
    detail = f"{needed} {noun}{'' if needed == 1 else 's'} to watch, {granted} granted to all of this user"
    if 2 * needed <= granted:
        return [Finding(subject, "ok", detail)]
    return [
        Finding(
            subject,
            "problem" if needed > granted else "warning",
            detail,
            _raise_command(name, max(2 * granted, 4 * needed)),
        )
    ]


def _examine_queue() -> list[Finding]:
    granted, usual = _read_setting("max_queued_events"), _USUAL_LIMITS["max_queued_events"]
    if granted is None:
        return []
    detail = f"{granted} changes at once; what is more makes everything be listed again"
    if granted >= usual:
        return [Finding("inotify queue", "ok", detail)]
    return [Finding("inotify queue", "warning", detail, _raise_command("max_queued_events", usual))]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _raise_command(name: str, value: int) -> str:
    """Return the command that raises a limit."""
    return f"sudo sysctl fs.inotify.{name}={value}"


def _read_limit(name: str) -> int:
    """Return the kernel's limit; its usual value where a sandbox hides it."""
    return _read_setting(name) or _USUAL_LIMITS[name]


def _read_setting(name: str) -> int | None:
    try:
        return int((_LIMITS / name).read_text())
    except (OSError, ValueError):
        return None
