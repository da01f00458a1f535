from __future__ import annotations

from pathlib import Path

from vvwatch.providers.local.identity import place_of


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
