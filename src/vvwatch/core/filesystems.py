"""What a file system guarantees: visible changes, lasting inode numbers, safety for a database; and what stays free.

The kind in the kernel's mount table decides (proc_pid_mountinfo(5)). A FUSE file system of an unknown kind guarantees
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple


def _split_kinds(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_NETWORK: Final = _split_kinds(
    "nfs nfs3 nfs4 cifs smb2 smb3 smbfs ncpfs davfs davfs2 afs openafs auristorfs coda",
    "ceph glusterfs lustre beegfs fhgfs gpfs gfs gfs2 ocfs2 pvfs2 orangefs quobyte panfs wekafs cvfs acfs",
    "mfs moosefs lizardfs autofs",
)
"""`autofs` stands for a mount still to come, nearly always a server's folder."""
_OF_A_HOST: Final = _split_kinds("9p virtiofs vboxsf vmhgfs prl_fs fakeowner osxfs drvfs wslfs")
"""Folders of the host that runs this machine as a guest."""
_HOST_FUSE: Final = _split_kinds("vmhgfs-fuse grpcfuse osxfs")
_LOCAL_FUSE: Final = _split_kinds(
    "bindfs gocryptfs encfs cryfs securefs dislocker fuse-overlayfs overlayfs",
    "ntfs ntfs-3g lowntfs-3g exfat exfat-fuse ext2 fuse-ext2 apfs apfs-fuse hfsfuse zfs zfs-fuse",
    "squashfuse fuseiso archivemount lxcfs",
)
_POOLS: Final = _split_kinds("mergerfs mhddfs unionfs unionfs-fuse shfs")
"""Several disks as one folder: the kernel sees changes through it, and some cannot hold a database."""
_MADE_UP_INODES: Final = _split_kinds("vfat msdos umsdos exfat davfs davfs2") | _OF_A_HOST
_SMB: Final = _split_kinds("cifs smb2 smb3 smbfs")
_LASTING_FUSE: Final = _split_kinds("glusterfs ceph ceph-fuse juicefs mfs moosefs lizardfs saunafs")
"""FUSE file systems whose servers keep a number for each file."""
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


class Keeping(StrEnum):
    """Whether a file system can hold a database with one writing process at a time."""

    SAFE = "safe"
    DOUBTFUL = "doubtful"
    UNSAFE = "unsafe"


class Mount(NamedTuple):
    """A line of the table of mounts: `device` is `major:minor`, `options` those of the file system.

    `source` is what was mounted, `root` the folder of it that stands at `point`.
    """

    device: str
    point: str
    kind: str
    options: str
    source: str = ""
    root: str = "/"

    @property
    def is_remote(self) -> bool:
        """Return whether others can change it without this kernel's notice."""
        if self.kind in _NETWORK or self.kind in _OF_A_HOST:
            return True
        name = _fuse_name(self.kind)
        return name is not None and name not in _LOCAL_FUSE and name not in _POOLS

    @property
    def has_lasting_inodes(self) -> bool:
        """Return whether files keep their inode numbers over a remount."""
        name = _fuse_name(self.kind)
        if name is not None:
            return name in _LASTING_FUSE
        if self.kind in _SMB:
            return "serverino" in self.options.split(",")
        return self.kind not in _MADE_UP_INODES and not self.kind.startswith("fuseblk")

    @property
    def keeping(self) -> Keeping:
        """Return whether it can hold a database: locks and shared memory do not work across a network."""
        name = _fuse_name(self.kind)
        if self.kind in _OF_A_HOST or name in _HOST_FUSE or name in _POOLS:
            return Keeping.DOUBTFUL
        return Keeping.UNSAFE if self.is_remote else Keeping.SAFE


def mounts_of(table: str) -> list[Mount]:
    """Return the mounts in a mount table, in its order; skip unreadable lines."""
    return [mount for line in table.splitlines() if (mount := _parse_mount(line)) is not None]


def mount_above(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """Return the deepest mount above the absolute `path`; the last of equals, which hides the others."""
    found: Mount | None = None
    for mount in mounts:
        point = mount.point
        if found is not None and len(point) < len(found.point):
            continue
        if path == point or path.startswith(point.rstrip("/") + "/"):
            found = mount
    return found


def mount_of_device(major: int, minor: int, mounts: Iterable[Mount]) -> Mount | None:
    """Return the last mount of the device with these numbers."""
    device = f"{major}:{minor}"
    return next((mount for mount in reversed(list(mounts)) if mount.device == device), None)


def _parse_mount(line: str) -> Mount | None:
    left, separator, right = line.partition(" - ")
    fields, rest = left.split(" "), right.split(" ")
    if not separator or len(fields) < 6:
        return None
    kind, source, options = [*rest, "", ""][:3]
    return Mount(fields[2], _unescape(fields[4]), kind, options, source, fields[3])


def _unescape(point: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), point)


def _fuse_name(kind: str) -> str | None:
    """Return the FUSE type name, empty for none; None for what is not FUSE."""
    family, _, name = kind.partition(".")
    return name if family == "fuse" else None


_KEPT_FREE_BYTES: Final = 256 << 20
_KEPT_FREE_SHARE: Final = 1 / 8
COMFORTABLE_SPOOL_BYTES: Final = 8 << 30
"""A smaller spool rejects many camera files: worth a warning."""


def kept_free_bytes(whole_bytes: int) -> int:
    """Return the bytes to leave free on a disk of `whole_bytes`: an eighth, at most 256 MiB."""
    return min(_KEPT_FREE_BYTES, int(whole_bytes * _KEPT_FREE_SHARE))


def spool_room_bytes(whole_bytes: int, max_bytes: int) -> int:
    """Return the largest object that fits a spool of `max_bytes` on a disk of `whole_bytes`."""
    return min(max_bytes, whole_bytes - kept_free_bytes(whole_bytes))
