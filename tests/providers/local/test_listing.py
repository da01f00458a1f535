# ruff: noqa: ASYNC240 - the folder is changed behind the storage's back, and polled
from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers.looking import keys, look
from vvwatch.core.filters import ObjectFilter
from vvwatch.errors import (
    StorageUnavailable,
)
from vvwatch.ports import Irregularity
from vvwatch.providers.local import walk
from vvwatch.providers.local.storage import LocalStorage

pytestmark = pytest.mark.anyio


async def test_the_version_survives_what_changes_no_byte(root: Path, storage: LocalStorage) -> None:
    (root / "a.mp4").write_bytes(b"x")
    before = await storage.stat("a.mp4")
    (root / "a.mp4").chmod(0o600)
    (root / "a.mp4").rename(root / "b.mp4")
    (root / "c.mp4").hardlink_to(root / "b.mp4")
    after = await storage.stat("b.mp4")
    assert after.version == before.version
    assert after.changed_at >= before.changed_at


async def test_rsync_dash_t_and_other_old_times_are_new_versions(root: Path, storage: LocalStorage) -> None:
    (root / "a.mp4").write_bytes(b"old!")
    before = await storage.stat("a.mp4")
    (root / ".a.mp4.Xy12").write_bytes(b"new!")
    os.utime(root / ".a.mp4.Xy12", (1_000_000, 1_000_000))
    (root / ".a.mp4.Xy12").rename(root / "a.mp4")
    after = await storage.stat("a.mp4")
    assert after.version != before.version
    assert after.modified_at == 1_000_000
    assert after.changed_at >= before.changed_at


async def test_a_write_in_place_is_a_new_version(root: Path, storage: LocalStorage) -> None:
    (root / "a.mp4").write_bytes(b"old!")
    os.utime(root / "a.mp4", ns=(1, 1))
    before = await storage.stat("a.mp4")
    (root / "a.mp4").write_bytes(b"new!")
    assert (await storage.stat("a.mp4")).version != before.version


async def test_folders_that_systems_keep_for_themselves_are_not_entered(
    root: Path, storage: LocalStorage
) -> None:
    for folder in (
        "@eaDir/a.mp4",
        "in/#recycle",
        "lost+found",
        "$RECYCLE.BIN/S-1",
        "System Volume Information",
    ):
        (root / folder).mkdir(parents=True)
        (root / folder / "x.mp4").write_bytes(b"x")
        (root / folder.split("/")[0]).chmod(0o755)
    (root / "in" / "a.mp4").write_bytes(b"x")
    assert await look(storage) == ({"in/a.mp4": await storage.stat("in/a.mp4")}, [])
    assert await keys(storage, "in/#recycle/") == {"in/#recycle/x.mp4"}
    assert await keys(storage, "in/#rec") == {"in/#recycle/x.mp4"}


async def test_a_folder_that_is_skipped_is_not_entered(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("proxies/deep", "shoot/proxies"):
        (root / folder).mkdir(parents=True)
        (root / folder / "x.mp4").write_bytes(b"x")
    entered: list[str] = []
    honest = walk.open_folder

    def noting(descriptor: int, folder: str) -> int:
        entered.append(folder)
        return honest(descriptor, folder)

    monkeypatch.setattr(walk, "open_folder", noting)
    rules = ObjectFilter("", "*", True, ["proxies/**"])
    pages = [page async for page in storage.list("", recursive=True, skips=rules.skips)]
    assert [obj.key for page in pages for obj in page.objects] == ["shoot/proxies/x.mp4"]
    assert sorted(entered) == ["", "shoot", "shoot/proxies"]


async def test_hidden_names_are_passed_over_with_all_below_them(root: Path, storage: LocalStorage) -> None:
    (root / ".git" / "deep").mkdir(parents=True)
    for name in (".hidden.mp4", ".git/a.mp4", ".git/deep/b.mp4", "seen.mp4"):
        (root / name).touch()
    os.mkfifo(root / ".pipe")
    assert await look(storage) == ({"seen.mp4": await storage.stat("seen.mp4")}, [])
    assert await look(storage, ".git/") == ({}, [])


async def test_symlink_loop_and_alias_are_reported_and_not_followed(
    root: Path, storage: LocalStorage
) -> None:
    (root / "dir").mkdir()
    (root / "dir" / "a.mp4").touch()
    (root / "dir" / "loop").symlink_to(root)
    (root / "alias.mp4").symlink_to(root / "dir" / "a.mp4")
    (root / "dangling").symlink_to("nowhere")
    objects, irregular = await look(storage)
    assert set(objects) == {"dir/a.mp4"}
    assert {found.key for found in irregular} == {"dir/loop", "alias.mp4", "dangling"}
    assert {found.reason for found in irregular} == {"not_a_regular_file"}
    assert "link" in irregular[0].detail


async def test_a_prefix_through_a_link_finds_nothing_and_says_so(root: Path, storage: LocalStorage) -> None:
    (root / "link").symlink_to("/etc")
    assert await look(storage, "link/") == (
        {},
        [Irregularity("link", "not_a_regular_file", "not a folder; symbolic links are not followed")],
    )


async def test_pipes_and_sockets_are_reported(root: Path, storage: LocalStorage) -> None:
    os.mkfifo(root / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(root / "socket.mp4"))
    _, irregular = await look(storage)
    assert {(found.key, found.detail) for found in irregular} == {
        ("pipe.mp4", "a named pipe"),
        ("socket.mp4", "a socket"),
    }


async def test_bad_name_is_reported_and_harms_no_neighbour(root: Path, storage: LocalStorage) -> None:
    bad = os.fsencode(root) + b"/\xff\xe9.mp4"
    os.close(os.open(bad, os.O_CREAT, 0o644))
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).mkdir()
    (root / "good.mp4").touch()
    objects, irregular = await look(storage)
    assert set(objects) == {"good.mp4"}
    assert {(found.key, found.reason) for found in irregular} == {
        ("\\xff\\xe9.mp4", "undecodable_name"),
        ("caf\\xe9/", "undecodable_name"),
    }


async def test_a_failing_folder_fails_the_listing_when_all_others_are_listed(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcde":
        (root / name).mkdir()
        (root / name / f"{name}.mp4").touch()
    opened = walk.open_folder

    def failing(descriptor: int, folder: str) -> int:
        if folder == "c":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(descriptor, folder)

    monkeypatch.setattr(walk, "open_folder", failing)
    found: list[str] = []

    async def collect() -> None:
        async for page in storage.list("", recursive=True):
            found.extend(obj.key for obj in page.objects)

    with pytest.raises(StorageUnavailable, match="Input/output error"):
        await collect()
    assert sorted(found) == ["a/a.mp4", "b/b.mp4", "d/d.mp4", "e/e.mp4"]


async def test_list_mutating_never_fails_and_never_misses_what_stays(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.local.walk._PAGES_IN_GROUP", 1)
    for number in range(1_500):
        (root / f"{number % 30}").mkdir(exist_ok=True)
        (root / f"{number % 30}" / f"{number}.mp4").touch()
    found: set[str] = set()
    async for page in storage.list("", recursive=True):
        found.update(obj.key for obj in page.objects)
        shutil.rmtree(root / "7", ignore_errors=True)
        (root / "8").rename(root / "8b") if (root / "8").exists() else None
    staying = {f"{n % 30}/{n}.mp4" for n in range(1_500) if n % 30 not in (7, 8)}
    assert staying <= found


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def test_eadir_eacces_is_told_once_per_folder_and_the_walk_goes_on(shared_folder: Path) -> None:
    for name, mode in (("closed", 0), ("unsearchable", 0o444), ("open", 0o755)):
        (shared_folder / name).mkdir()
        for number in range(3):
            (shared_folder / name / f"{number}.mp4").touch()
        (shared_folder / name).chmod(mode)
    (shared_folder / "plain.mp4").touch()
    (shared_folder / "locked.mp4").touch(0)
    shared_folder.chmod(0o555)
    child = [sys.executable, str(Path(__file__).with_name("denied.py")), str(shared_folder)]
    done = subprocess.run(child, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["keys"] == ["locked.mp4", "open/0.mp4", "open/1.mp4", "open/2.mp4", "plain.mp4"]
    assert seen["irregular"] == [["closed", "permission_denied"], ["unsearchable", "permission_denied"]]
    for name, hint in seen["errors"].values():
        assert name == "AccessDenied"
        assert "chmod" in hint
