"""Facts about the file system at a path or behind a descriptor."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

from vvwatch.core.filesystems import mount_of_device
from vvwatch.mounts import MOUNTS, list_mounts, mount_at

_MADE_UP_INODES: Final = {
    0x4D44,  # vfat, msdos
    0x2011BAB0,  # exfat
    0x01021997,  # 9p
    0x786F4256,  # vboxsf
}
_BY_ITS_MOUNT: Final = {
    0x65735546,  # FUSE, virtiofs
    0xFF534D42,  # cifs
    0xFE534D42,  # smb2, smb3
    0x517B,  # smbfs
}
_libc: Final = ctypes.CDLL(None, use_errno=True)


def magic_of(descriptor: int) -> int:
    """Return the file system's magic number (statfs(2)); 0 if unavailable, as outside Linux."""
    if sys.platform != "linux":
        return 0
    status = ctypes.create_string_buffer(256)
    if _libc.fstatfs(descriptor, status) != 0:
        return 0
    word = ctypes.sizeof(ctypes.c_long)
    return int.from_bytes(status.raw[:word], sys.byteorder)


def has_lasting_inodes(descriptor: int, mounts: Path = MOUNTS) -> bool:
    """Return whether files keep their inode numbers over a remount; False for an unknown FUSE file system."""
    magic = magic_of(descriptor)
    if magic not in _BY_ITS_MOUNT:
        return magic not in _MADE_UP_INODES
    device = os.fstat(descriptor).st_dev
    found = mount_of_device(os.major(device), os.minor(device), list_mounts(mounts))
    return found is not None and found.has_lasting_inodes


def remote_filesystem(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the file system type at `path` if others can change it unseen by this kernel, else None.

    None also without a mount table at `mounts`, as on every kernel but Linux.
    """
    found = mount_at(path, mounts)
    return found.kind if found is not None and found.is_remote else None


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
