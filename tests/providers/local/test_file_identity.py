"""Which version a file has where inode numbers last, and where they do not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.providers.looking import look
from vvwatch.errors import ObjectChanged
from vvwatch.providers.local import filesystems
from vvwatch.providers.local.storage import LocalStorage

pytestmark = pytest.mark.anyio

TABLE = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 21 {device} / {point} rw - {kind} x {options}\n"
FUSE, CIFS, NFS, EXFAT = 0x65735546, 0xFF534D42, 0x6969, 0x2011BAB0


@pytest.fixture
def shaky(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without lasting inode numbers."""
    for room in ("storage", "below"):
        monkeypatch.setattr(f"vvwatch.providers.local.{room}.has_lasting_inodes", lambda _: False)


def remount(root: Path) -> None:
    """Every file has another inode number afterwards, and is the same in all else."""
    for path in [path for path in root.rglob("*") if path.is_file()]:
        beside = path.with_name(f".{path.name}.part")
        shutil.copy2(path, beside)
        beside.rename(path)


async def versions(storage: LocalStorage) -> dict[str, str]:
    return {key: obj.version for key, obj in (await look(storage))[0].items()}


@pytest.mark.usefixtures("shaky")
async def test_moving_inodes_change_no_version(root: Path, storage: LocalStorage) -> None:
    (root / "deep").mkdir()
    for name in ("a.mp4", "deep/b.mp4"):
        (root / name).write_bytes(b"x" * 5)
    before, there = await versions(storage), await storage.stat("deep/b.mp4")
    remount(root)
    assert await versions(storage) == before
    assert (await storage.stat("deep/b.mp4")).version == there.version
    async with storage.descriptor("a.mp4", (await storage.stat("a.mp4")).version) as file:
        assert os.pread(file, 9, 0) == b"xxxxx"


@pytest.mark.usefixtures("shaky")
async def test_another_size_or_time_is_another_version(root: Path, storage: LocalStorage) -> None:
    (root / "a.mp4").write_bytes(b"old")
    os.utime(root / "a.mp4", (1_000, 1_000))
    old = await storage.stat("a.mp4")
    os.utime(root / "a.mp4", (1_000, 1_001))
    later = await storage.stat("a.mp4")
    (root / "a.mp4").write_bytes(b"longer")
    os.utime(root / "a.mp4", (1_000, 1_000))
    assert len({old.version, later.version, (await storage.stat("a.mp4")).version}) == 3
    with pytest.raises(ObjectChanged):
        async with storage.descriptor("a.mp4", old.version):
            pass


async def test_a_version_that_was_noted_with_its_inode_can_still_be_read(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a.mp4").write_bytes(b"x")
    noted = await storage.stat("a.mp4")
    remount(root)
    with pytest.raises(ObjectChanged):
        async with storage.descriptor("a.mp4", noted.version):
            pass
    for room in ("storage", "below"):
        monkeypatch.setattr(f"vvwatch.providers.local.{room}.has_lasting_inodes", lambda _: False)
    async with storage.descriptor("a.mp4", noted.version) as file:
        assert os.pread(file, 9, 0) == b"x"
    async with storage.stream("a.mp4", noted.version) as chunks:
        assert [chunk async for chunk in chunks] == [b"x"]
    await storage.delete("a.mp4", noted.version)
    assert await versions(storage) == {}


async def test_where_inodes_last_a_replacement_of_equal_size_and_time_is_another_version(
    root: Path, storage: LocalStorage
) -> None:
    (root / "a.mp4").write_bytes(b"x")
    before = await storage.stat("a.mp4")
    remount(root)
    assert (await storage.stat("a.mp4")).version != before.version


@pytest.mark.parametrize(
    ("magic", "kind", "options", "lasting"),
    [
        (FUSE, "fuse.sshfs", "rw", False),
        (FUSE, "fuse.mergerfs", "rw", False),
        (FUSE, "fuse.glusterfs", "rw", True),
        (FUSE, "virtiofs", "rw", False),
        (CIFS, "cifs", "rw,serverino", True),
        (CIFS, "cifs", "rw", False),
        (NFS, "nfs4", "rw", True),
        (EXFAT, "exfat", "rw", False),
        (0xEF53, "ext4", "rw", True),
        (0, "ext4", "rw", True),
    ],
)
def test_the_mount_of_a_descriptor_tells_whether_inodes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, magic: int, kind: str, options: str, lasting: bool
) -> None:
    device = tmp_path.stat().st_dev
    table = tmp_path / "mountinfo"
    numbers = f"{os.major(device)}:{os.minor(device)}"
    table.write_text(TABLE.format(device=numbers, point=tmp_path, kind=kind, options=options))
    monkeypatch.setattr(filesystems, "magic_of", lambda _: magic)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert filesystems.has_lasting_inodes(descriptor, table) is lasting
        assert filesystems.has_lasting_inodes(descriptor, tmp_path / "absent") is (
            lasting and magic not in (FUSE, CIFS)
        )
    finally:
        os.close(descriptor)
