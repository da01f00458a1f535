# ruff: noqa: ASYNC240 - the folder is changed behind the storage's back, and polled
from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.providers.looking import exhaust, keys
from vvwatch.errors import (
    InvalidInput,
    OutsideLocation,
    StorageUnavailable,
)
from vvwatch.providers.local.storage import LocalStorage

pytestmark = pytest.mark.anyio


def test_a_root_below_no_allowed_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutsideLocation, match="below no allowed root"):
        LocalStorage(tmp_path / "b", allowed_roots=[tmp_path / "a"])
    with pytest.raises(OutsideLocation):
        LocalStorage(tmp_path / "abc", allowed_roots=[tmp_path / "ab"])
    with pytest.raises(OutsideLocation):
        LocalStorage(tmp_path, allowed_roots=[])
    with pytest.raises(OutsideLocation):
        LocalStorage(tmp_path / "a" / "..", allowed_roots=[tmp_path / "a"])


def test_a_relative_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="absolute"):
        LocalStorage(Path("media"), allowed_roots=[tmp_path])


def test_a_linked_root_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "link").symlink_to("/")
    with pytest.raises(OutsideLocation):
        LocalStorage(tmp_path / "allowed" / "link", allowed_roots=[tmp_path / "allowed"])


async def test_a_root_that_is_turned_into_a_link_outside_is_refused(root: Path, tmp_path: Path) -> None:
    storage = LocalStorage(root, allowed_roots=[root])
    (tmp_path / "outside").mkdir()
    root.rename(tmp_path / "old")
    root.symlink_to(tmp_path / "outside")
    with pytest.raises(OutsideLocation):
        await keys(storage)
    with pytest.raises(OutsideLocation):
        await storage.stat("a.mp4")


async def test_an_allowed_root_may_be_reached_through_a_link(root: Path, tmp_path: Path) -> None:
    (root / "a.mp4").touch()
    (tmp_path / "link").symlink_to(root)
    linked = LocalStorage(tmp_path / "link", allowed_roots=[tmp_path / "link"])
    assert await keys(linked) == {"a.mp4"}
    assert linked.uri("a.mp4") == LocalStorage(root, allowed_roots=[root]).uri("a.mp4")


async def test_the_address_is_escaped(root: Path, storage: LocalStorage) -> None:
    assert storage.uri("a b/c#?%.mp4") == f"file://{root}/a%20b/c%23%3F%25.mp4"
    assert LocalStorage(Path("/"), allowed_roots=[Path("/")]).uri("a") == "file:///a"


async def test_a_missing_root_is_unavailable_never_empty(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "absent", allowed_roots=[tmp_path])
    for call in (
        lambda: keys(storage),
        lambda: storage.stat("a.mp4"),
        lambda: storage.check(read=True, write_below=None),
        lambda: storage.write("a.json", tmp_path / "source", content_type="x/y"),
    ):
        (tmp_path / "source").touch()
        with pytest.raises(StorageUnavailable):
            await call()
    (tmp_path / "absent").mkdir()
    assert await keys(storage) == set()


@pytest.mark.parametrize("replaced", [False, True])
async def test_unmount_mid_run_makes_the_listing_fail(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    monkeypatch.setattr("vvwatch.providers.local.walk._PAGES_IN_GROUP", 1)
    for number in range(1_200):
        (root / f"{number}.mp4").touch()
    listing = storage.list("", recursive=True)
    await anext(listing)
    root.rename(root.parent / "away")
    if replaced:
        root.mkdir()
    with pytest.raises(StorageUnavailable):
        await exhaust(listing)
    if replaced:
        root.rmdir()
    (root.parent / "away").rename(root)
    assert len(await keys(storage)) == 1_200


async def test_an_empty_folder_where_a_filled_filesystem_was_is_unavailable(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        assert Path(other).stat().st_dev != tmp_path.stat().st_dev
        (tmp_path / "mountpoint").mkdir()
        Path(other, "a.mp4").touch()
        link = tmp_path / "link"
        link.symlink_to(other)
        storage = LocalStorage(link, allowed_roots=[tmp_path, Path(other)])
        assert await keys(storage) == {"a.mp4"}
        link.unlink()
        link.symlink_to(tmp_path / "mountpoint")
        for call in (lambda: keys(storage), lambda: storage.stat("a.mp4")):
            with pytest.raises(StorageUnavailable, match="another filesystem"):
                await call()
        (tmp_path / "mountpoint" / "b.mp4").touch()
        assert await keys(storage) == {"b.mp4"}


async def test_a_root_that_is_a_file_is_told_as_one(root: Path) -> None:
    storage = LocalStorage(root, allowed_roots=[root])
    root.rename(root.with_name("away"))
    root.touch()
    with pytest.raises(StorageUnavailable, match="is a file, not a folder"):
        await storage.check(read=True, write_below=None)
