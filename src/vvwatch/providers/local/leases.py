"""Ask the kernel whether a writer holds a file open."""

from __future__ import annotations

import errno
import fcntl
import signal
import sys
from typing import Final

from vvwatch.providers.local.filesystems import magic_of

_LOCAL_FILESYSTEMS: Final = {
    0xEF53,  # ext2, ext3, ext4
    0x58465342,  # xfs
    0x9123683E,  # btrfs
    0xF2F52010,  # f2fs
    0x01021994,  # tmpfs
    0x794C7630,  # overlayfs
    0x2FC12FC1,  # zfs
    0xCA451A4E,  # bcachefs
}


def has_writer(descriptor: int) -> bool:
    """Return whether some process has the file behind this read-only `descriptor` open for writing.

    The kernel grants a read lease only if none has. False where the kernel cannot tell: other users' files without
    CAP_LEASE, file systems where a refusal means something else (NFS and SMB refuse whenever the server has delegated
    nothing, which would keep a file "in use" for ever), and other kernels than Linux.
    """
    if sys.platform != "linux":
        return False
    if magic_of(descriptor) not in _LOCAL_FILESYSTEMS:
        return False
    # The kernel reports a broken lease by a signal, SIGIO unless we choose; SIGIO kills, SIGURG is ignored by default.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
