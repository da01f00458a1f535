"""What this machine does not grant a child: the item is not blamed, and nothing of the attempt is left."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import psutil
import pytest

from tests.processors.conftest import Shelf, Technical
from vvwatch.errors import MachineShortage
from vvwatch.processors.command.guard import Guard
from vvwatch.processors.processes import private_folder

pytestmark = pytest.mark.anyio

_SOMEBODY = 54_321
"""A user who has no processes but those of the test."""

_WITHOUT_PROCESSES = f"""
import os, resource, sys, anyio
from pathlib import Path
from tempfile import TemporaryDirectory
from vvwatch.errors import MachineShortage
from vvwatch.processors.technical.processor import Limits, TechnicalProcessor

async def main() -> None:
    work = Path(sys.argv[1])
    technical = TechnicalProcessor(limits=Limits(), work_dir=work)
    descriptor = os.open(sys.argv[2], os.O_RDONLY)
    await technical.probe(descriptor)  # all that is loaded lies where the other user may not read
    if os.geteuid() == 0:
        os.chown(work, {_SOMEBODY}, {_SOMEBODY})
        os.setuid({_SOMEBODY})
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        try:
            await technical.probe(descriptor)
        except MachineShortage as shortage:
            print(shortage.message)
    print(len(os.listdir("/proc/self/fd")) - before, os.listdir(work))

anyio.run(main)
"""


def descriptors() -> list[int]:
    """Those that are open, and that of looking."""
    return [int(path.name) for path in Path("/proc/self/fd").iterdir()]


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """So many more may be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(descriptors())
    taken = [os.dup(0) for _ in range(highest + 1 - len(descriptors()))]
    used = len(descriptors()) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in taken:
            os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="it counts in /proc")
async def test_without_descriptors_nothing_is_blamed_and_nothing_is_left(
    technical: Technical, shelf: Shelf
) -> None:
    """At each of the descriptors that starting a child takes."""
    path = shelf.usual("png")
    await technical.probe(path)
    before, seen = len(descriptors()), set[str]()
    for count in range(1, 9):
        try:
            with descriptors_left(count):
                seen.add((await technical.probe(path)).media_type)
        except MachineShortage as shortage:
            seen.add(shortage.message.partition(" (")[0])
        assert len(descriptors()) == before

    assert "this process has no file descriptor left" in seen
    assert (await technical.probe(path)).media_type == "image"


@pytest.mark.skipif(sys.platform != "linux", reason="it counts in /proc")
async def test_without_processes_nothing_is_blamed_and_nothing_is_left(shelf: Shelf) -> None:
    with TemporaryDirectory() as work:
        command = [sys.executable, "-c", _WITHOUT_PROCESSES, work, str(shelf.usual("png"))]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    *messages, left = done.stdout.splitlines()
    assert len(messages) == 5
    assert all("grants no further process or thread" in message for message in messages)
    assert left == "0 []"


async def test_a_child_that_gets_no_thread_to_be_waited_for_is_ended(
    technical: Technical, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio would leave it running, with three pipes."""
    if sys.version_info >= (3, 12):
        pytest.skip("it needs no thread any more")

    def refuse(*_: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    await technical.probe(shelf.usual("png"))
    before, others = len(descriptors()), set(psutil.Process().children())
    monkeypatch.setattr(asyncio.ThreadedChildWatcher, "add_child_handler", refuse)
    for _ in range(3):
        with pytest.raises(MachineShortage, match="no further process or thread"):
            await technical.probe(shelf.usual("png"))
    await asyncio.sleep(0)
    assert set(psutil.Process().children()) - others == set()
    monkeypatch.undo()

    assert (await technical.probe(shelf.usual("png"))).media_type == "image"
    assert len(descriptors()) == before


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE, errno.EIO]
)
async def test_without_a_working_folder_the_item_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(**_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("vvwatch.processors.processes.tempfile.mkdtemp", refuse)

    with pytest.raises(MachineShortage, match=os.strerror(number)):
        async with private_folder(tmp_path):
            raise AssertionError


async def test_the_guard_of_programs_waits_for_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> NoReturn:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("vvwatch.processors.processes.anyio.open_process", refuse)

    with pytest.raises(MachineShortage, match="no further process"):
        await Guard(b"mark").start()
