from __future__ import annotations

import pytest

from vvwatch.core.filesystems import Keeping, Mount, mount_above, mount_of_device, mounts_of


def of(kind: str, options: str = "rw") -> Mount:
    return Mount("0:40", "/mnt", kind, options)


SAFE, DOUBTFUL, UNSAFE = Keeping.SAFE, Keeping.DOUBTFUL, Keeping.UNSAFE


@pytest.mark.parametrize(
    ("kind", "remote", "lasting", "keeping"),
    [
        ("ext4", False, True, SAFE),
        ("xfs", False, True, SAFE),
        ("btrfs", False, True, SAFE),
        ("zfs", False, True, SAFE),
        ("overlay", False, True, SAFE),
        ("tmpfs", False, True, SAFE),
        ("ntfs3", False, True, SAFE),
        ("vfat", False, False, SAFE),
        ("exfat", False, False, SAFE),
        ("fuseblk", False, False, SAFE),
        ("nfs", True, True, UNSAFE),
        ("nfs4", True, True, UNSAFE),
        ("cifs", True, False, UNSAFE),
        ("ceph", True, True, UNSAFE),
        ("lustre", True, True, UNSAFE),
        ("davfs", True, False, UNSAFE),
        ("autofs", True, True, UNSAFE),
        ("9p", True, False, DOUBTFUL),
        ("virtiofs", True, False, DOUBTFUL),
        ("vboxsf", True, False, DOUBTFUL),
        ("fuse.vmhgfs-fuse", True, False, DOUBTFUL),
        ("fuse.sshfs", True, False, UNSAFE),
        ("fuse.rclone", True, False, UNSAFE),
        ("fuse.s3fs", True, False, UNSAFE),
        ("fuse.seaweedfs", True, False, UNSAFE),
        ("fuse.juicefs", True, True, UNSAFE),
        ("fuse.mfs", True, True, UNSAFE),
        ("fuse.geesefs", True, False, UNSAFE),
        ("fuse.mount-s3", True, False, UNSAFE),
        ("fuse.glusterfs", True, True, UNSAFE),
        ("fuse.made-tomorrow", True, False, UNSAFE),
        ("fuse", True, False, UNSAFE),
        ("fuse.mergerfs", False, False, DOUBTFUL),
        ("fuse.shfs", False, False, DOUBTFUL),
        ("fuse.gocryptfs", False, False, SAFE),
        ("fuse.ntfs-3g", False, False, SAFE),
    ],
)
def test_what_a_kind_of_file_system_promises(
    kind: str, remote: bool, lasting: bool, keeping: Keeping
) -> None:
    mount = of(kind)
    assert (mount.is_remote, mount.has_lasting_inodes, mount.keeping) == (remote, lasting, keeping)


def test_smb_keeps_inode_numbers_where_the_server_gives_them() -> None:
    assert of("cifs", "rw,vers=3.1.1,serverino,mapposix").has_lasting_inodes
    assert not of("cifs", "rw,vers=1.0,noserverino").has_lasting_inodes


TABLE = r"""
21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 21 0:40 / /mnt/a\040b\134c\043\011d rw - cifs //nas/x rw,serverino
31 21 0:41 / /mnt/nas rw - autofs systemd-1 rw
32 31 0:42 / /mnt/nas rw master:3 propagate_from:1 - nfs4 nas:/x rw
33 21 8:1 /srv/in /mnt/bound rw - ext4 /dev/sda1 rw
this is no line
34 21 0:43 / /mnt/short
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/mnt/a b\\c#\td/in", "cifs"),
        ("/mnt/nas/in", "nfs4"),
        ("/mnt/nas2", "ext4"),
        ("/mnt/bound/in", "ext4"),
        ("/mnt/short", "ext4"),
    ],
)
def test_the_mount_above_a_path(path: str, kind: str) -> None:
    found = mount_above(path, mounts_of(TABLE))
    assert found is not None
    assert found.kind == kind


def test_the_mount_of_a_device() -> None:
    found = mount_of_device(0, 40, mounts_of(TABLE))
    assert found is not None
    assert found.options == "rw,serverino"
    assert mount_of_device(9, 9, mounts_of(TABLE)) is None
    assert mount_above("/", []) is None
