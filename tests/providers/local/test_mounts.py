from __future__ import annotations

from pathlib import Path

import pytest

from vvwatch.providers.local.mounts import remote_filesystem

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
