"""Real files with holes: what is not filled yet is told from what is whole, however a file system keeps it."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vvwatch.providers.local.storage import LocalStorage
from vvwatch.providers.local.unfilled import WAIT_SECONDS, is_unfilled

pytestmark = pytest.mark.anyio

MIB = 1 << 20
Make = Callable[[Callable[[int], object]], int]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Make]:
    """A descriptor of a file that a function has filled."""
    opened: list[int] = []

    def make(fill: Callable[[int], object]) -> int:
        opened.append(os.open(tmp_path / f"{len(opened)}.mp4", os.O_RDWR | os.O_CREAT, 0o600))
        fill(opened[-1])
        return opened[-1]

    yield make
    for descriptor in opened:
        os.close(descriptor)


def hollow(descriptor: int) -> None:
    os.truncate(descriptor, 64 * MIB)


def begun(descriptor: int) -> None:
    hollow(descriptor)
    os.pwrite(descriptor, b"x" * MIB, 0)


def half(descriptor: int) -> None:
    hollow(descriptor)
    os.pwrite(descriptor, b"x" * (32 * MIB), 0)


def in_pieces(descriptor: int) -> None:
    """As a torrent client fills it."""
    hollow(descriptor)
    for number in range(0, 64, 4):
        os.pwrite(descriptor, b"x" * MIB, number * MIB)


def whole(descriptor: int) -> None:
    os.pwrite(descriptor, b"x" * MIB, 0)


def black(descriptor: int) -> None:
    """Zeros that were written are content."""
    os.pwrite(descriptor, bytes(8 * MIB), 0)


@pytest.mark.parametrize(
    ("fill", "expected"),
    [(hollow, True), (begun, True), (in_pieces, True), (half, False), (whole, False), (black, False)],
)
def test_a_file_that_is_mostly_holes_is_not_filled_yet(
    made: Make, fill: Callable[[int], object], *, expected: bool
) -> None:
    assert is_unfilled(made(fill), time.time()) is expected


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no fallocate")
def test_room_that_is_reserved_and_not_written_is_a_hole(made: Make) -> None:
    """Its blocks are all taken, so that counting them would tell nothing."""
    file = made(lambda descriptor: os.posix_fallocate(descriptor, 0, 16 * MIB))
    assert os.fstat(file).st_blocks * 512 >= 16 * MIB
    assert is_unfilled(file, time.time())


def test_an_hour_after_its_last_change_a_file_is_taken_as_it_is(made: Make) -> None:
    changed_at, file = time.time(), made(begun)
    assert is_unfilled(file, changed_at + WAIT_SECONDS - 60)
    assert not is_unfilled(file, changed_at + WAIT_SECONDS + 60)
    os.utime(file, (changed_at, changed_at + 10 * WAIT_SECONDS))
    assert not is_unfilled(file, changed_at)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_where_the_file_system_does_not_tell_a_file_is_whole(
    made: Make, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: int) -> int:
        raise OSError(number, os.strerror(number))

    file = made(hollow)
    monkeypatch.setattr(os, "lseek", refuse)
    assert not is_unfilled(file, time.time())


async def test_a_folder_says_that_such_a_file_is_in_use(tmp_path: Path) -> None:
    for name, fill in (("a.mp4", begun), ("b.mp4", whole)):
        descriptor = os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT, 0o600)
        fill(descriptor)
        os.close(descriptor)
    storage = LocalStorage(tmp_path, allowed_roots=[tmp_path])

    assert await storage.in_use(["a.mp4", "b.mp4", "gone.mp4"]) == {"a.mp4"}
