# ruff: noqa: ASYNC110, ASYNC220 - the folder is changed behind the storage's back, and polled
from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.providers.looking import keys, look, names
from vvwatch.errors import (
    AccessDenied,
    MediaUnreadable,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageUnavailable,
)
from vvwatch.providers.local.storage import LocalStorage

pytestmark = pytest.mark.anyio


async def test_a_file_written_to_while_it_is_read_has_changed(root: Path, storage: LocalStorage) -> None:
    (root / "a.mp4").write_bytes(b"first")
    obj = await storage.stat("a.mp4")
    with pytest.raises(ObjectChanged):
        async with storage.descriptor(obj.key, obj.version):
            (root / "a.mp4").write_bytes(b"longer")


async def test_what_looks_damaged_while_it_is_written_to_has_changed(
    root: Path, storage: LocalStorage
) -> None:
    (root / "a.mp4").write_bytes(b"first")
    obj = await storage.stat("a.mp4")

    async def probe(writer: Callable[[], object]) -> None:
        async with storage.descriptor(obj.key, obj.version):
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
    async with storage.descriptor(obj.key, obj.version) as fd:
        (root / "a.mp4").unlink()
        assert os.pread(fd, 10, 0) == b"bytes"
    with pytest.raises(ObjectNotFound):
        async with storage.descriptor(obj.key, obj.version):
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
        async with storage.descriptor("a.mp4", "1"):
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
        async with storage.descriptor("dir/a.mp4", "1"):
            pass
    for key in ("dir/new.json", "dir/sub/new.json"):
        with pytest.raises(OutsideLocation):
            await storage.write(key, tmp_path / "outside" / "a.mp4", content_type="x/y")
    assert names(tmp_path / "outside") == ["a.mp4"]


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


async def test_a_file_under_a_write_lease_is_in_use_and_spoils_no_batch(
    root: Path, storage: LocalStorage
) -> None:
    (root / "other.mp4").touch()
    with (root / "a.mp4").open("wb") as writer:
        fcntl.fcntl(writer, fcntl.F_SETSIG, signal.SIGURG)  # that the lease is broken; ignored by default
        fcntl.fcntl(writer, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert await storage.in_use(["other.mp4", "a.mp4"]) == {"a.mp4"}


async def test_a_file_that_the_disk_cannot_read_spoils_no_batch(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can say whether it is in use: its own import is told what is wrong with it."""
    honest = os.open

    def opened(path: str, *args: Any, **options: Any) -> int:
        if path == "broken.mp4":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return honest(path, *args, **options)

    (root / "broken.mp4").write_bytes(b"x")
    monkeypatch.setattr(os, "open", opened)
    with (root / "a.mp4").open("wb"):
        assert await storage.in_use(["broken.mp4", "a.mp4"]) == {"a.mp4"}
    shutil.rmtree(root)
    with pytest.raises(StorageUnavailable):
        await storage.in_use(["broken.mp4"])


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
    monkeypatch.setattr("vvwatch.providers.local.leases.magic_of", lambda _: 0x6969)
    with (root / "a.mp4").open("wb"):
        assert await storage.in_use(["a.mp4"]) == set()


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
            while not (root / "out").exists():
                await anyio.sleep(0.01)
        assert names(root / "out") == []
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
        "import anyio, sys; from pathlib import Path; from vvwatch.providers.local.storage import LocalStorage\n"
        "root, source = map(Path, sys.argv[1:]); storage = LocalStorage(root, allowed_roots=[root])\n"
        "anyio.run(lambda: storage.write('a.json', source, content_type='x/y'))"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, root, tmp_path / "source"])
    feed = await anyio.to_thread.run_sync((tmp_path / "source").open, "wb", 0)
    feed.write(b"half" * 100_000)  # more than a pipe holds: it is being copied
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    feed.close()
    assert names(root) == []
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
    assert ("ReadWritePaths=" in refusal.value.hint) is (number == errno.EROFS)
    assert refusal.value.hint
    assert f"'{root}/a.json'" in refusal.value.message, "which of several folders of exports it was"
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
