"""What the kernel grants to those who watch, and what to do when it does not suffice."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Final

from vvwatch.ports import SourceHealth

_LIMITS: Final = Path("/proc/sys/fs/inotify")
_USUAL_LIMITS: Final = {"max_queued_events": 16_384, "max_user_instances": 128, "max_user_watches": 65_536}


def granted_watches() -> int | None:
    """How many folders inotify may watch for this user; None where the kernel has no such limit or hides it."""
    return _told("max_user_watches")


def overflowed() -> SourceHealth:
    """More happened at once than the kernel's queue holds."""
    return SourceHealth(
        "degraded",
        "more changes at once than the kernel's queue holds; everything is listed again",
        f"sudo sysctl fs.inotify.max_queued_events={2 * _limit('max_queued_events')}",
    )


def spent(unwatched: int, folders: int) -> SourceHealth:
    """The budget of watches leaves `unwatched` of `folders` out."""
    return SourceHealth(
        "degraded",
        f"{unwatched} of {folders} folders cannot be watched: the budget of inotify watches is spent",
        f"sudo sysctl fs.inotify.max_user_watches={max(2 * _limit('max_user_watches'), 4 * folders)}",
    )


def refused(error: OSError) -> SourceHealth:
    """There are no notices at all, because of `error`."""
    if error.errno == errno.EMFILE and sys.platform == "linux":
        return SourceHealth(
            "degraded",
            "the kernel grants no further inotify instance (or open file); the folder is listed from time to time",
            f"sudo sysctl fs.inotify.max_user_instances={2 * _limit('max_user_instances')}; "
            "if that does not help, raise LimitNOFILE",
        )
    if error.errno == errno.ENOSPC:
        return SourceHealth(
            "degraded",
            "the budget of inotify watches does not suffice for this folder; it is listed from time to time",
            f"sudo sysctl fs.inotify.max_user_watches={2 * _limit('max_user_watches')}",
        )
    return SourceHealth(
        "degraded",
        f"the folder cannot be watched ({error.strerror}); it is listed from time to time",
        "correct what is named; the kernel's log may say more",
    )


def _limit(name: str) -> int:
    """The kernel's present limit; its usual value where a sandbox hides it."""
    return _told(name) or _USUAL_LIMITS[name]


def _told(name: str) -> int | None:
    try:
        return int((_LIMITS / name).read_text())
    except (OSError, ValueError):
        return None
