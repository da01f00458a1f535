"""What stands at a folder's path: the file system that is mounted there, by what stays the same over a remount."""

from __future__ import annotations

import os
from pathlib import Path

from vvwatch.config.mounts import MOUNTS, mount_at


def place_of(path: Path, mounts: Path = MOUNTS) -> str | None:
    """A text that differs when another file system stands at `path`, or none does; None where no folder is."""
    real = Path(os.path.realpath(path))
    try:
        device = real.stat().st_dev
        found = mount_at(real, mounts)
        disk = [f"{os.statvfs(real).f_fsid:x}"] if found and found.source.startswith("/dev/") else []
    except OSError:
        return None
    if not real.is_dir():
        return None
    if found is None:
        return f"device {device}"
    return " ".join([found.kind, found.source, found.root, found.point, *disk])
