"""Sweep, burst, losses, latency and idle cost of the local folder, against what the machine can do.

    python bench/folder.py [--files 100000] [--burst 300000] [--in FOLDER]

Prints one figure a line. Exits with 1 when a bar is missed: the sweep at least half as fast as a bare
scandir-and-stat walk of the same files, nothing lost in the burst, in fresh and in moved folders and where the
folder is replaced, p95 of a hint below 100 ms, idle below 1 % of a core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio

from vvwatch.clock import SystemClock
from vvwatch.errors import StorageError
from vvwatch.ports import Hint
from vvwatch.providers.local.source import FolderSource
from vvwatch.providers.local.storage import LocalStorage

_FOLDERS = 100
_ROUNDS = 10
_WRITERS = 8
_SOURCES = 20
_NESTED = 2_000
_TREES = 10
_SWAPS = 5
_WRITE = """
import os, sys
for number in range(int(sys.argv[3])):
    os.close(os.open(f"{sys.argv[1]}/{sys.argv[2]}-{number}.mp4", os.O_WRONLY | os.O_CREAT))
"""
_WRITE_NESTED = """
import os, sys
for number in range(int(sys.argv[3])):
    folder = f"{sys.argv[1]}/{sys.argv[2]}/{number % 10}/{number}"
    os.makedirs(folder)
    os.close(os.open(f"{folder}/{number}.mp4", os.O_WRONLY | os.O_CREAT))
"""


def bare_walk(folder: str) -> int:
    """The least a sweep must do: every name and every stat."""
    count = 0
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    count += 1
    return count


async def swept(storage: LocalStorage, prefix: str = "") -> set[str]:
    return {obj.key async for page in storage.list(prefix, recursive=True) for obj in page.objects}


async def counted(storage: LocalStorage) -> int:
    count = 0
    async for page in storage.list("", recursive=True):
        count += len(page.objects)
    return count


async def sweep(root: Path, files: int) -> bool:
    for number in range(_FOLDERS):
        (root / f"{number}").mkdir()
    for number in range(files):
        os.close(os.open(f"{root}/{number % _FOLDERS}/{number}.mp4", os.O_WRONLY | os.O_CREAT))
    storage = LocalStorage(root, allowed_roots=[root])
    bare, ours = [], []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        assert bare_walk(str(root)) == files
        between = time.perf_counter()
        assert await counted(storage) == files
        bare.append(files / (between - began))
        ours.append(files / (time.perf_counter() - between))
    ratio = max(ours) / max(bare)  # the best of each: what else the machine does only ever slows down
    print(f"sweep_bare_files_per_second {max(bare):.0f}")
    print(f"sweep_files_per_second {max(ours):.0f}")
    print(f"sweep_ratio {ratio:.2f}")
    return ratio >= 0.5


class Found:
    """What hints named, and what the listings that they asked for found."""

    def __init__(self, root: Path) -> None:
        self.keys: set[str] = set()
        self.rescans = 0
        self._storage = LocalStorage(root, allowed_roots=[root])

    async def notice(self, hint: Hint) -> None:
        self.keys.update(hint.keys)
        for prefix in hint.rescan:
            self.rescans += 1
            try:
                self.keys.update(await swept(self._storage, prefix))
            except StorageError as error:
                print(error, file=sys.stderr)


@asynccontextmanager
async def watching(root: Path) -> AsyncIterator[Found]:
    found = Found(root)
    async with anyio.create_task_group() as tasks:
        source = FolderSource(root, clock=SystemClock(), sweep_seconds=3600)
        tasks.start_soon(source.run, found.notice)
        await until(lambda: found.rescans == 1, 10)
        yield found
        tasks.cancel_scope.cancel()


async def write(root: Path, writers: int, files: int, script: str = _WRITE) -> None:
    """Have each writer make that many files, all at once."""
    async with anyio.create_task_group() as tasks:
        for number in range(writers):
            command = [sys.executable, "-c", script, str(root), f"w{number}", str(files)]
            tasks.start_soon(anyio.run_process, command)


async def burst(root: Path, files: int) -> bool:
    async with watching(root) as found:
        began, cpu = time.perf_counter(), time.process_time()
        each = files // _WRITERS
        await write(root, _WRITERS, each)
        written = time.perf_counter() - began
        all_found = await until(lambda: len(found.keys) >= each * _WRITERS, 120)
        took, used = time.perf_counter() - began, time.process_time() - cpu
    print(f"burst_files_written {each * _WRITERS}")
    print(f"burst_files_lost {each * _WRITERS - len(found.keys)}")
    print(f"burst_files_written_per_second {each * _WRITERS / written:.0f}")
    print(f"burst_seconds_behind_the_writers {took - written:.2f}")
    print(f"burst_cpu_microseconds_per_file {used / files * 1e6:.1f}")
    print(f"burst_listings {found.rescans}")
    return all_found


async def nested(root: Path) -> bool:
    """Each file in a folder of its own that was made just before."""
    async with watching(root) as found:
        await write(root, 4, _NESTED // 4, _WRITE_NESTED)
        all_found = await until(lambda: len(found.keys) >= _NESTED, 60)
    print(f"nested_files_lost {_NESTED - len(found.keys)} of {_NESTED}")
    return all_found


async def moved(root: Path) -> bool:
    """Trees that are moved into the folder, and written into at once."""
    outside, inside = root / "outside", root / "inside"
    inside.mkdir()
    async with watching(inside) as found:
        for tree in range(_TREES):
            for number in range(40):
                folder = outside / f"{number % 8}" / "deep"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{number}.mp4").touch()
            outside.rename(inside / f"{tree}")
            (inside / f"{tree}" / "3" / "deep" / "late.mp4").touch()
        all_found = await until(lambda: len(found.keys) >= 41 * _TREES, 60)
    print(f"moved_files_lost {41 * _TREES - len(found.keys)} of {41 * _TREES}")
    return all_found


async def replaced(root: Path) -> bool:
    """A folder that is moved away, and another one that takes its place at once."""
    folder = root / "folder"
    folder.mkdir()
    expected = set[str]()
    async with watching(folder) as found:
        for number in range(_SWAPS):
            (root / "next").mkdir()
            (root / "next" / f"before-{number}.mp4").touch()
            folder.rename(root / f"away-{number}")
            (root / "next").rename(folder)
            (folder / f"after-{number}.mp4").touch()
            expected.update((f"before-{number}.mp4", f"after-{number}.mp4"))
            await until(partial(found.keys.issuperset, expected), 60)
    print(f"replaced_folder_files_lost {len(expected - found.keys)} of {len(expected)}")
    return found.keys >= expected


async def latency(root: Path) -> bool:
    """From just before a file is closed to its hint, in a quiet folder."""
    arrived: dict[str, float] = {}
    started = anyio.Event()

    async def notice(hint: Hint) -> None:
        started.set()
        for key in hint.keys:
            arrived[key] = time.perf_counter()

    delays = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(FolderSource(root, clock=SystemClock(), sweep_seconds=3600).run, notice)
        await started.wait()
        for number in range(200):
            file = (root / f"late-{number}.mp4").open("wb")
            await anyio.sleep(0.15 + 0.001 * (number % 50))  # what making it brought has arrived
            file.write(b"x")
            arrived.clear()
            closed = time.perf_counter()
            file.close()
            await until(lambda: bool(arrived), 5, 0.0005)
            delays.append(1000 * (next(iter(arrived.values())) - closed))
        tasks.cancel_scope.cancel()
    p95 = statistics.quantiles(delays, n=20)[-1]
    print(f"hint_milliseconds_p50 {statistics.median(delays):.1f}")
    print(f"hint_milliseconds_p95 {p95:.1f}")
    return p95 < 100


async def idle(root: Path) -> bool:
    async def notice(hint: Hint) -> None:
        pass

    async with anyio.create_task_group() as tasks:
        for number in range(_SOURCES):
            (root / f"{number}").mkdir()
            source = FolderSource(root / f"{number}", clock=SystemClock(), sweep_seconds=3600)
            tasks.start_soon(source.run, notice)
        await anyio.sleep(1)
        cpu, wall = time.process_time(), time.perf_counter()
        await anyio.sleep(15)
        percent = 100 * (time.process_time() - cpu) / (time.perf_counter() - wall)
        tasks.cancel_scope.cancel()
    print(f"idle_percent_of_a_core_{_SOURCES}_folders {percent:.2f}")
    return percent < 1


async def until(condition: Callable[[], bool], seconds: float, step: float = 0.02) -> bool:
    with anyio.move_on_after(seconds):
        while not condition():  # noqa: ASYNC110 - the kernel sets no event
            await anyio.sleep(step)
        return True
    return False


async def main(arguments: argparse.Namespace) -> bool:
    passed = []
    for measure, *sizes in (
        *((sweep, arguments.files), (burst, arguments.burst)),
        *((nested,), (moved,), (replaced,), (latency,), (idle,)),
    ):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            passed.append(await measure(Path(folder), *sizes))
    return all(passed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--burst", type=int, default=300_000)
    parser.add_argument("--in", dest="folder", default="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    sys.exit(0 if anyio.run(main, parser.parse_args()) else 1)
