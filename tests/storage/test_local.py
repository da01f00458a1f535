# ruff: noqa: ASYNC110, ASYNC220, ASYNC240 - the folder is changed behind the storage's back, and polled
from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from vvwatch.core.objects import StorageObject
from vvwatch.errors import (
    AccessDenied,
    InvalidInput,
    MediaUnreadable,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageUnavailable,
)
from vvwatch.ports import Irregularity, Page
from vvwatch.storage.local import LocalStorage

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root, allowed_roots=[root.parent])


async def look(
    storage: LocalStorage, prefix: str = ""
) -> tuple[dict[str, StorageObject], list[Irregularity]]:
    pages = [page async for page in storage.list(prefix, recursive=True)]
    return {obj.key: obj for page in pages for obj in page.objects}, [
        found for page in pages for found in page.irregular
    ]


async def exhaust(listing: AsyncIterator[Page]) -> None:
    async for _ in listing:
        pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def keys(storage: LocalStorage, prefix: str = "") -> set[str]:
    return set((await look(storage, prefix))[0])


# Where the root may lead


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


# Versions


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


# Listings


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
        ("caf\\xe9", "undecodable_name"),
    }


async def test_list_mutating_never_fails_and_never_misses_what_stays(
    root: Path, storage: LocalStorage
) -> None:
    for number in range(3_000):
        (root / f"{number % 30}").mkdir(exist_ok=True)
        (root / f"{number % 30}" / f"{number}.mp4").touch()
    found: set[str] = set()
    async for page in storage.list("", recursive=True):
        found.update(obj.key for obj in page.objects)
        shutil.rmtree(root / "7", ignore_errors=True)
        (root / "8").rename(root / "8b") if (root / "8").exists() else None
    staying = {f"{n % 30}/{n}.mp4" for n in range(3_000) if n % 30 not in (7, 8)}
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


# Roots that go


async def test_a_missing_root_is_unavailable_never_empty(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "absent", allowed_roots=[tmp_path])
    for call in (
        lambda: keys(storage),
        lambda: storage.stat("a.mp4"),
        lambda: storage.check(write=False),
        lambda: storage.write("a.json", tmp_path / "source", content_type="x/y"),
    ):
        (tmp_path / "source").touch()
        with pytest.raises(StorageUnavailable):
            await call()
    (tmp_path / "absent").mkdir()
    assert await keys(storage) == set()


@pytest.mark.parametrize("replaced", [False, True])
async def test_unmount_mid_run_makes_the_listing_fail(
    root: Path, storage: LocalStorage, replaced: bool
) -> None:
    for number in range(1_500):
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
    assert len(await keys(storage)) == 1_500


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


# Descriptors


async def test_a_file_written_to_while_it_is_read_has_changed(root: Path, storage: LocalStorage) -> None:
    (root / "a.mp4").write_bytes(b"first")
    obj = await storage.stat("a.mp4")
    with pytest.raises(ObjectChanged):
        async with storage.descriptor(obj.key, obj.version, root):
            (root / "a.mp4").write_bytes(b"longer")


async def test_what_looks_damaged_while_it_is_written_to_has_changed(
    root: Path, storage: LocalStorage
) -> None:
    (root / "a.mp4").write_bytes(b"first")
    obj = await storage.stat("a.mp4")

    async def probe(writer: Callable[[], object]) -> None:
        async with storage.descriptor(obj.key, obj.version, root):
            writer()
            raise MediaUnreadable("truncated")

    with pytest.raises(MediaUnreadable):
        await probe(lambda: None)
    with pytest.raises(ObjectChanged):
        await probe(lambda: (root / "a.mp4").write_bytes(b"longer"))


async def test_delete_before_fetch_is_not_found_and_during_it_harmless(
    root: Path, storage: LocalStorage
) -> None:
    (root / "a.mp4").write_bytes(b"bytes")
    obj = await storage.stat("a.mp4")
    async with storage.descriptor(obj.key, obj.version, root) as fd:
        (root / "a.mp4").unlink()
        assert os.pread(fd, 10, 0) == b"bytes"
    with pytest.raises(ObjectNotFound):
        async with storage.descriptor(obj.key, obj.version, root):
            pass


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/etc/passwd")],
    ids=["pipe", "folder", "link"],
)
async def test_what_is_no_file_is_no_object_and_blocks_nobody(
    root: Path, storage: LocalStorage, make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(root / "a.mp4")
    with pytest.raises(ObjectNotFound):
        await storage.stat("a.mp4")
    with pytest.raises(ObjectNotFound):
        async with storage.descriptor("a.mp4", "1", root):
            pass
    assert await storage.in_use(["a.mp4"]) == set()
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(ObjectExists):
        await storage.write("a.mp4", tmp_path / "source", content_type="x/y")


async def test_a_folder_turned_into_a_link_leads_nowhere(
    root: Path, storage: LocalStorage, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.mp4").write_bytes(b"secret")
    (root / "dir").symlink_to(tmp_path / "outside")
    with pytest.raises(ObjectNotFound):
        await storage.stat("dir/a.mp4")
    with pytest.raises(ObjectNotFound):
        async with storage.descriptor("dir/a.mp4", "1", root):
            pass
    for key in ("dir/new.json", "dir/sub/new.json"):
        with pytest.raises(OutsideLocation):
            await storage.write(key, tmp_path / "outside" / "a.mp4", content_type="x/y")
    assert names(tmp_path / "outside") == ["a.mp4"]


# Writers


async def test_an_open_writer_is_seen_until_it_closes(root: Path, storage: LocalStorage) -> None:
    (root / "reader.mp4").touch()
    script = "import sys; f = open(sys.argv[1], 'w'); print('open', flush=True); sys.stdin.read()"
    with (root / "reader.mp4").open("rb"):
        writer = subprocess.Popen(
            [sys.executable, "-c", script, root / "a.mp4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        await anyio.to_thread.run_sync(writer.stdout.readline)
        assert await storage.in_use(["a.mp4", "reader.mp4", "gone.mp4"]) == {"a.mp4"}
        writer.communicate()
    assert await storage.in_use(["a.mp4", "reader.mp4"]) == set()


async def test_asking_for_writers_never_kills_nor_blocks_for_long(root: Path, storage: LocalStorage) -> None:
    (root / "a.mp4").touch()
    script = "import sys\nfor _ in range(20000): open(sys.argv[1], 'a').close()"
    writer = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script, root / "a.mp4"])
    while writer.poll() is None:
        await storage.in_use(["a.mp4"] * 50)
    assert writer.returncode == 0


async def test_filesystems_that_answer_otherwise_are_not_asked(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.storage.leases._filesystem", lambda _: 0x6969)
    with (root / "a.mp4").open("wb"):
        assert await storage.in_use(["a.mp4"]) == set()


# Writing


async def test_a_write_is_invisible_until_it_is_whole(
    root: Path, storage: LocalStorage, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "source")
    async with anyio.create_task_group() as tasks:

        async def write() -> None:
            await storage.write("out/a.json", tmp_path / "source", content_type="x/y")

        tasks.start_soon(write)
        feed = await anyio.to_thread.run_sync((tmp_path / "source").open, "wb", 0)
        feed.write(b"half")
        with anyio.fail_after(20):
            while not list(root.glob("out/.*.part")):
                await anyio.sleep(0.01)
        assert await look(storage) == ({}, [])
        with pytest.raises(ObjectNotFound):
            await storage.stat("out/a.json")
        feed.write(b"half")
        feed.close()
    assert (root / "out" / "a.json").read_bytes() == b"halfhalf"
    assert names(root / "out") == ["a.json"]


async def test_a_killed_write_leaves_nothing_to_be_seen(
    root: Path, storage: LocalStorage, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "source")
    script = (
        "import anyio, sys; from pathlib import Path; from vvwatch.storage.local import LocalStorage\n"
        "root, source = map(Path, sys.argv[1:]); storage = LocalStorage(root, allowed_roots=[root])\n"
        "anyio.run(lambda: storage.write('a.json', source, content_type='x/y'))"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, root, tmp_path / "source"])
    feed = await anyio.to_thread.run_sync((tmp_path / "source").open, "wb", 0)
    feed.write(b"half")
    with anyio.fail_after(20):
        while not list(root.glob(".*.part")):
            await anyio.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    feed.close()
    assert await look(storage) == ({}, [])
    (tmp_path / "again").write_bytes(b"whole")
    await storage.write("a.json", tmp_path / "again", content_type="x/y")
    assert (root / "a.json").read_bytes() == b"whole"


async def test_without_hard_links_a_write_still_replaces_nothing(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "one").write_bytes(b"one")
    (tmp_path / "two").write_bytes(b"two")
    await storage.write("a.json", tmp_path / "one", content_type="x/y")
    await storage.write("a.json", tmp_path / "one", content_type="x/y")
    with pytest.raises(ObjectExists):
        await storage.write("a.json", tmp_path / "two", content_type="x/y")
    assert await keys(storage) == {"a.json"}


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, StorageUnavailable), (errno.EIO, StorageUnavailable), (errno.EROFS, AccessDenied)],
)
async def test_a_write_that_fails_says_why_and_leaves_nothing(
    root: Path,
    storage: LocalStorage,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    number: int,
    expected: type[StorageError],
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "source").write_bytes(b"x")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(expected) as refusal:
        await storage.write("a.json", tmp_path / "source", content_type="x/y")
    assert refusal.value.hint
    assert names(root) == []


async def test_names_are_written_up_to_the_filesystems_own_limit(
    storage: LocalStorage, tmp_path: Path
) -> None:
    (tmp_path / "source").write_bytes(b"x")
    for name in ("n" * 255, "\U0001f3ac" * 63):
        await storage.write(name, tmp_path / "source", content_type="x/y")
    with pytest.raises(StorageError, match="too long") as refusal:
        await storage.write("n" * 256, tmp_path / "source", content_type="x/y")
    assert not refusal.value.transient
