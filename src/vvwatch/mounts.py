"""The kernel's mount table, read on demand because mounts change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from vvwatch.core.filesystems import Mount, mount_above, mounts_of

MOUNTS: Final = Path("/proc/self/mountinfo")


def list_mounts(table: Path = MOUNTS) -> list[Mount]:
    """Return all mounts; none without a mount table, as on every kernel but Linux."""
    try:
        return mounts_of(table.read_text(errors="surrogateescape"))
    except OSError:
        return []


def mount_at(path: Path, table: Path = MOUNTS) -> Mount | None:
    """Return the mount of `path`, existing or not; None without a mount table."""
    return mount_above(os.path.realpath(path), list_mounts(table))
