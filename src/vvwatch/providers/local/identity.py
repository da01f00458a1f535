"""Identify the file system mounted at a folder's path, stable over a remount."""

from __future__ import annotations

import os
from pathlib import Path

from vvwatch.mounts import MOUNTS, mount_at


def place_of(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return a text that changes if another file system, or none, is mounted at `path`; None without a folder."""
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
