"""File systems that report only this machine's own changes."""

from __future__ import annotations

from pathlib import Path

from vvwatch.mounts import MOUNTS, mount_at


def remote_filesystem(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the file system type at `path` if others can change it unseen by this kernel, else None.

    None also without a mount table at `mounts`, as on every kernel but Linux.
    """
    found = mount_at(path, mounts)
    return found.kind if found is not None and found.is_remote else None
