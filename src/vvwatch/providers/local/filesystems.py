"""Facts about the file system behind a descriptor."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

from vvwatch.core.filesystems import mount_of_device
from vvwatch.mounts import MOUNTS, list_mounts

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
