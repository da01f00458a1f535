"""How many files this process may have open at once."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass
from typing import Final


@dataclass
class _Granted:
    """The soft limit that this process was started with; None while it is still in force."""

    soft: int | None = None


_granted: Final = _Granted()


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit, and return the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a system may cap it below the hard limit
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            _granted.soft = soft
    return file_limit()


def file_limit() -> int:
    """Return how many files this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def restore_limit(pid: int) -> None:
    """Give a child process back the soft limit from before `raise_limit`: programs of others may rely on a low one.

    Raises OSError when the process is over or runs as another user.
    """
    if _granted.soft is not None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(_granted.soft, hard), hard))
