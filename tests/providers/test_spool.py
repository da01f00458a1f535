from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from tests.crash.small_disk import fill, make_room, small_disk
from tests.providers.looking import names
from vvwatch.errors import ObjectTooLarge, SpoolFull
from vvwatch.providers import spool as module
from vvwatch.providers.spool import Spool, SpoolFile

pytestmark = pytest.mark.anyio

MOST = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def spool(folder: Path) -> Spool:
    return Spool(folder, MOST)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 8 MB, all of which may be taken."""
    monkeypatch.setattr(module, "kept_free_bytes", lambda whole_bytes: 0)
    monkeypatch.setattr(module, "spool_room_bytes", min)
    with small_disk(8) as disk:
        yield disk


def open_files() -> int:
    """How many descriptors of spool files this process has: of files without a name."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor of this listing itself
            found += str(descriptor.readlink()).endswith(".part (deleted)")
    return found


def free_bytes(monkeypatch: pytest.MonkeyPatch, free: int, total: int = 1 << 40) -> None:
    """Make the disk have so much room."""

    def statvfs(path: object) -> os.statvfs_result:
        return os.statvfs_result((1, 1, total, free, free, 0, 0, 0, 0, 255))

    monkeypatch.setattr(os, "statvfs", statvfs)


async def fits(spool: Spool, size_bytes: int) -> bool:
    try:
        async with spool.file(size_bytes, (0, size_bytes)):
            return True
    except SpoolFull:
        return False


async def test_a_file_reads_back_what_was_written_anywhere(spool: Spool) -> None:
    async with spool.file(10, (0, 10)) as file:
        await spool.write(file, b"tail", 6)
        await spool.write(file, b"head", 0)
        assert os.read(file.descriptor, 100) == b"head\0\0tail"
        with pytest.raises(OSError):
            os.write(file.descriptor, b"x")


async def test_an_empty_object_has_a_file(spool: Spool) -> None:
    async with spool.file(0, (0, 0)) as file:
        assert os.read(file.descriptor, 1) == b""


async def test_a_file_has_no_name_and_ends_with_its_block(spool: Spool, folder: Path) -> None:
    async with spool.file(4, (0, 4)) as file:
        assert names(folder) == []
        assert open_files() == 2
    with pytest.raises(OSError):
        os.fstat(file.descriptor)
    assert open_files() == 0


def test_a_killed_process_leaves_nothing(folder: Path) -> None:
    script = (
        "import anyio, sys; from pathlib import Path; from vvwatch.providers.spool import Spool\n"
        "async def hold():\n"
        "    async with Spool(Path(sys.argv[1]), 1 << 20).file(1 << 20, (0, 1 << 20)):\n"
        "        print('open', flush=True); await anyio.sleep_forever()\n"
        "anyio.run(hold)"
    )
    with subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        holder.send_signal(signal.SIGKILL)
    assert names(folder) == []


async def test_a_small_disk_takes_objects_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 MiB, as a tmpfs of a container: an eighth stays free, not all of it."""
    free_bytes(monkeypatch, free=256 << 20, total=256 << 20)
    spool = Spool(folder, 1 << 40)
    assert await fits(spool, 1 << 20)
    with pytest.raises(ObjectTooLarge, match="takes 234,881,024 at most") as refusal:
        async with spool.file(230 << 20, (0, 1)):
            pass
    assert refusal.value.hint == f"give {folder} a larger disk; then retry"


async def test_a_spool_of_another_user_is_a_shortage_that_says_whose(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> SpoolFile:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(module, "SpoolFile", denied)
    with pytest.raises(SpoolFull, match="may not be written: Permission denied") as refusal:
        async with Spool(folder, MOST).file(1, (0, 1)):
            pass
    assert refusal.value.transient
    assert str(os.geteuid()) in refusal.value.hint


async def test_the_room_is_bounded_and_comes_back(spool: Spool) -> None:
    async with spool.file(MOST, (0, MOST - 9)):
        assert await fits(spool, 9)
        with pytest.raises(SpoolFull, match=r"1,048,567 of 1,048,576") as refusal:
            async with spool.file(10, (0, 10)):
                pass
        assert refusal.value.transient
        assert "spool_bytes" in refusal.value.hint
    assert await fits(spool, MOST)


async def test_only_the_stretches_that_are_filled_take_room(spool: Spool) -> None:
    async with spool.file(MOST, (0, 100), (MOST - 50, 50)) as file:
        status = os.fstat(file.descriptor)
        assert status.st_size == MOST
        assert status.st_blocks * 512 <= 2 * 4096
        assert await fits(spool, MOST - 150)
        assert not await fits(spool, MOST - 149)


async def test_many_at_once_never_take_more_than_there_is(spool: Spool) -> None:
    holding, refused = 0, 0
    everybody = anyio.Event()

    async def hold() -> None:
        nonlocal holding, refused
        try:
            async with spool.file(MOST // 3, (0, MOST // 3)):
                holding += 1
                await settled()
        except SpoolFull:
            refused += 1
            await settled()

    async def settled() -> None:
        if holding + refused == 10:
            everybody.set()
        await everybody.wait()

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(hold)
    assert (holding, refused) == (3, 7)
    assert await fits(spool, MOST)


@pytest.mark.parametrize("filled", [MOST + 1, 10], ids=["whole", "excerpt"])
async def test_what_could_never_have_room_is_too_large(spool: Spool, filled: int) -> None:
    with pytest.raises(ObjectTooLarge, match=r"1,048,577 bytes.* 1,048,576 at most") as refusal:
        async with spool.file(MOST + 1, (0, filled)):
            pass
    assert not refusal.value.transient
    assert "spool_bytes" in refusal.value.hint


async def test_what_is_larger_than_the_disk_is_too_large(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(folder, 1 << 50)
    disk = 1 << 33
    free_bytes(monkeypatch, free=disk, total=disk)
    with pytest.raises(ObjectTooLarge):
        async with spool.file(disk - (256 << 20) + 1, (0, 1)):
            pass
    async with spool.file(disk - (256 << 20), (0, 1)):
        pass


async def test_a_disk_that_fills_up_is_waited_for(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_bytes(monkeypatch, free=(256 << 20) + 99)
    assert not await fits(spool, 100)
    assert names(folder) == []
    assert await fits(spool, 99)
    free_bytes(monkeypatch, free=(256 << 20) + 100)
    assert await fits(spool, 100)


async def test_the_room_is_taken_on_the_disk_before_anything_comes(tiny: Path) -> None:
    spool = Spool(tiny, 8 << 20)
    async with spool.file(6 << 20, (0, 6 << 20)):
        assert os.statvfs(tiny).f_bavail * 4096 <= 2 << 20
        with pytest.raises(SpoolFull, match="are free"):
            async with Spool(tiny, 8 << 20).file(3 << 20, (0, 3 << 20)):
                pass
    assert await fits(spool, 7 << 20)
    assert open_files() == 0


async def test_a_reservation_that_fails_half_way_gives_all_back(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_bytes(monkeypatch, free=1 << 30)  # so it seems, until the room is taken
    spool = Spool(tiny, 64 << 20)
    with pytest.raises(SpoolFull, match="No space left"):
        async with spool.file(64 << 20, (0, 4 << 20), (32 << 20, 32 << 20)):
            pass
    assert spool._taken_bytes == 0
    assert open_files() == 0
    assert await fits(spool, 7 << 20)


async def test_a_write_to_a_full_disk_is_spool_full_until_there_is_room(tiny: Path) -> None:
    spool = Spool(tiny, 8 << 20)
    async with spool.file(2 << 20) as file:  # nothing is reserved, as where the filesystem cannot
        fill(tiny)
        with pytest.raises(SpoolFull, match="No space left"):
            await spool.write(file, b"x" * (2 << 20), 0)
        make_room(tiny)
        await spool.write(file, b"y" * (2 << 20), 0)
        assert os.pread(file.descriptor, 4 << 20, 0) == b"y" * (2 << 20)


async def test_a_filesystem_that_cannot_reserve_is_good_enough(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    async with spool.file(4, (0, 4)) as file:
        await spool.write(file, b"data", 0)
        assert os.read(file.descriptor, 4) == b"data"


async def test_a_failing_disk_is_not_taken_for_a_full_one(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(OSError, match="Input/output"):
        async with spool.file(4, (0, 4)):
            pass
    assert spool._taken_bytes == 0
    assert open_files() == 0


@pytest.mark.parametrize("failing", ["truncate", "open"])
async def test_a_file_that_cannot_be_made_leaves_no_name(
    spool: Spool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    original = getattr(os, failing)

    def fail(path: object, flags: int, *rest: object) -> object:
        if failing == "truncate" or flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(path, flags, *rest)

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(SpoolFull):
        async with spool.file(4, (0, 4)):
            pass
    monkeypatch.undo()
    assert names(folder) == []
    assert open_files() == 0


async def test_a_block_that_raises_or_is_cancelled_gives_its_room_back(spool: Spool) -> None:
    with pytest.raises(RuntimeError):
        async with spool.file(MOST, (0, MOST)):
            raise RuntimeError
    with anyio.move_on_after(math.inf) as scope:
        async with spool.file(MOST, (0, MOST)):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert open_files() == 0
    assert await fits(spool, MOST)


async def test_who_is_cancelled_while_the_file_is_made_gives_its_room_back(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    making, go_on = threading.Event(), threading.Event()

    def reserve(file: SpoolFile, start: int, length: int) -> None:
        making.set()
        go_on.wait(10)

    monkeypatch.setattr(SpoolFile, "reserve", reserve)

    async def hold() -> None:
        async with spool.file(MOST, (0, MOST)):
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold)
        await anyio.to_thread.run_sync(making.wait)
        tasks.cancel_scope.cancel()
        go_on.set()
    assert open_files() == 0
    assert await fits(spool, MOST)
