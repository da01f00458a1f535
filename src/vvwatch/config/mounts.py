"""The kernel's table of mounts, read when it is needed: mounts come and go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from vvwatch.core.filesystems import Mount, mount_above, mounts_of

MOUNTS: Final = Path("/proc/self/mountinfo")


def list_mounts(table: Path = MOUNTS) -> list[Mount]:
    """All mounts; none where no table is kept, as on every kernel but Linux."""
    try:
        return mounts_of(table.read_text(errors="surrogateescape"))
    except OSError:
        return []


def mount_at(path: Path, table: Path = MOUNTS) -> Mount | None:
    """The mount on which `path` stands, or will stand; None where no table is kept."""
    return mount_above(os.path.realpath(path), list_mounts(table))
