"""This process's limit of open files."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass
from typing import Final


@dataclass
class _Granted:
    """The soft limit from before `raise_limit`; None while it is still in force."""

    soft: int | None = None


_granted: Final = _Granted()


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit; return the new limit."""
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
    """Restore the soft limit from before `raise_limit` in a child process: other programs may need a low one.

    Raises OSError if the process has ended or runs as another user.
    """
    if _granted.soft is not None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(_granted.soft, hard), hard))
