"""Which file systems tell this machine only of its own changes."""

from __future__ import annotations

from pathlib import Path

from vvwatch.config.mounts import MOUNTS, mount_at


def remote_filesystem(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The type of the file system at `path` when others can change it unseen by this kernel, else None.

    None as well where no table of mounts is kept at `mounts`, as on every kernel but Linux.
    """
    found = mount_at(path, mounts)
    return found.kind if found is not None and found.is_remote else None
