"""The kernel's limits on file watches, and what to do when they are too low."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vvwatch.core.housekeeping import is_housekeeping
from vvwatch.ports import Finding, SourceHealth

_LIMITS: Final = Path("/proc/sys/fs/inotify")
_USUAL_LIMITS: Final = {"max_queued_events": 16_384, "max_user_instances": 128, "max_user_watches": 65_536}


def affordable_watches() -> int | None:
    """Return how many folders inotify may watch for this user; None without a known limit."""
    return _read_setting("max_user_watches")


def report_overflow() -> SourceHealth:
    """Return that more happened at once than the kernel's queue holds."""
    return SourceHealth(
        "degraded",
        "more changes at once than the kernel's queue holds; everything is listed again",
        _raise_command("max_queued_events", 2 * _read_limit("max_queued_events")),
    )


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
    if error.errno == errno.ENOSPC:
        return SourceHealth(
            "degraded",
            "the budget of inotify watches does not suffice for this folder; it is listed from time to time",
            _raise_command("max_user_watches", 2 * _read_limit("max_user_watches")),
        )
    return SourceHealth(
        "degraded",
        f"the folder cannot be watched ({error.strerror}); it is listed from time to time",
        "correct what is named; the kernel's log may say more",
    )


def count_folders(root: Path, enough: Callable[[], bool]) -> int:
    """Return how many folders a source of `root` watches, itself included; stop at `enough`. Blocks."""
    count, waiting = 0, [os.fspath(root)]
    while waiting and not enough():
        try:
            with os.scandir(waiting.pop()) as entries:
                waiting += [each.path for each in entries if _is_watched(each)]
        except OSError:
            continue  # gone, or closed to us: it is not watched either
        count += 1
    return count


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


def _is_watched(entry: os.DirEntry[str]) -> bool:
    if entry.name[0] == "." or is_housekeeping(entry.name):
        return False
    try:
        return entry.is_dir(follow_symlinks=False)
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
