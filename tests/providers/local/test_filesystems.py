from __future__ import annotations

from pathlib import Path

import pytest

from vvwatch.providers.local.filesystems import place_of, remote_filesystem

TABLE = r"""
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:40 / /mnt/nas rw,relatime shared:2 - nfs4 nas:/media rw
31 21 0:41 / /mnt/two\040words rw,relatime - cifs //nas/media rw
32 30 8:2 / /mnt/nas/disk rw,relatime - xfs /dev/sdb1 rw
33 21 0:42 / /mnt/bucket rw,relatime - fuse.rclone remote: rw
37 21 0:45 / /mnt/weed rw,relatime - fuse.seaweedfs localhost:8888:/ rw
38 21 0:46 / /mnt/auto rw,relatime - autofs systemd-1 rw
39 21 0:47 / /mnt/unheard rw,relatime - fuse.of-tomorrow x rw
34 21 0:43 / /mnt/pool rw,relatime - fuse.mergerfs pool rw
35 21 0:44 / /mnt/again rw,relatime - nfs nas:/old rw
36 21 8:3 / /mnt/again rw,relatime - ext4 /dev/sdc1 rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/media", None),
        ("/mnt/nas", "nfs4"),
        ("/mnt/nas/in/deep", "nfs4"),
        ("/mnt/nas2", None),
        ("/mnt/nas/disk/in", None),
        ("/mnt/two words/in", "cifs"),
        ("/mnt/bucket", "fuse.rclone"),
        ("/mnt/pool", None),
        ("/mnt/weed/in", "fuse.seaweedfs"),
        ("/mnt/auto/nas", "autofs"),
        ("/mnt/unheard", "fuse.of-tomorrow"),
        ("/mnt/again", None),
    ],
)
def test_a_folder_is_as_remote_as_the_deepest_and_latest_mount_above_it(
    tmp_path: Path, path: str, expected: str | None
) -> None:
    (tmp_path / "mountinfo").write_text(TABLE.lstrip())
    assert remote_filesystem(Path(path), tmp_path / "mountinfo") == expected


def test_this_machine_can_be_asked(tmp_path: Path) -> None:
    assert remote_filesystem(tmp_path) is None


def test_where_no_table_is_kept_nothing_is_remote(tmp_path: Path) -> None:
    assert remote_filesystem(tmp_path, tmp_path / "absent") is None


def table(tmp_path: Path, device: str, mounted: str) -> Path:
    """A table of mounts in which `mounted` stands at the folder of the test."""
    file = tmp_path.parent / f"{tmp_path.name}.mounts"
    file.write_text(f"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 21 {device} / {tmp_path} rw - {mounted} rw\n")
    return file


def test_a_place_is_the_same_over_a_remount_and_another_where_another_is_mounted(tmp_path: Path) -> None:
    before = place_of(tmp_path, table(tmp_path, "0:40", "fuse.sshfs nas:/media"))
    assert before is not None
    assert place_of(tmp_path, table(tmp_path, "0:41", "fuse.sshfs nas:/media")) == before
    assert place_of(tmp_path, table(tmp_path, "0:40", "fuse.sshfs nas:/other")) != before
    assert place_of(tmp_path, table(tmp_path, "0:40", "nfs4 nas:/media")) != before
    (tmp_path / "in").mkdir()
    assert place_of(tmp_path / "in", tmp_path.parent / f"{tmp_path.name}.mounts") is not None


def test_where_nothing_is_mounted_the_disk_below_is_another_place(tmp_path: Path) -> None:
    mounted = place_of(tmp_path, table(tmp_path, "0:40", "nfs4 nas:/media"))
    (empty := tmp_path.parent / f"{tmp_path.name}.mounts").write_text("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    assert place_of(tmp_path, empty) not in (None, mounted)


def test_where_no_table_is_kept_the_device_tells(tmp_path: Path) -> None:
    assert place_of(tmp_path, tmp_path / "none") == f"device {tmp_path.stat().st_dev}"


def test_no_folder_is_no_place(tmp_path: Path) -> None:
    assert place_of(tmp_path / "gone") is None
    (tmp_path / "file").touch()
    assert place_of(tmp_path / "file") is None
