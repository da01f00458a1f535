"""Which filesystems tell this machine only of its own changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
_REMOTE: Final = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "afs",
    "gfs2",
    "ocfs2",
    "lustre",
    "beegfs",
}
_REMOTE_FUSE: Final = {
    "sshfs",
    "rclone",
    "s3fs",
    "gcsfuse",
    "blobfuse",
    "blobfuse2",
    "goofys",
    "mount-s3",
    "glusterfs",
}


def remote_filesystem(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The type of the filesystem at `path` when others can change it unseen by this kernel, else None.

    None as well where no table of mounts is kept at `mounts`, as on every kernel but Linux.
    """
    try:
        table = mounts.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return None
    found = _type_at(os.path.realpath(path), table)
    name = found.removeprefix("fuse.")
    return found if name in _REMOTE or name in _REMOTE_FUSE else None


def _type_at(path: str, table: str) -> str:
    """The type of the deepest mount above `path`; of equals the one mounted last, which hides the others."""
    deepest, found = "", ""
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        point = _unescaped(left.split(" ")[4])
        if len(point) >= len(deepest) and (path == point or path.startswith(point.rstrip("/") + "/")):
            deepest, found = point, right.split(" ")[0]
    return found


def _unescaped(point: str) -> str:
    for written, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(written, meant)
    return point
