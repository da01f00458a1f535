"""Folder sweep, burst, latency and idle cost of the local folder, against what the machine can do.

    python bench/folder.py [--files 100000] [--burst 300000] [--in FOLDER]

Prints one figure a line. Exits with 1 when a bar is missed: the sweep at least half as fast as a bare
scandir-and-stat walk of the same files, nothing lost in the burst, idle below 1 % of a core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
_WRITE = """
import os, sys
for number in range(int(sys.argv[3])):
    os.close(os.open(f"{sys.argv[1]}/{sys.argv[2]}-{number}.mp4", os.O_WRONLY | os.O_CREAT))
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


async def burst(root: Path, files: int) -> bool:
    storage = LocalStorage(root, allowed_roots=[root])
    seen: set[str] = set()
    rescans = 0

    async def notice(hint: Hint) -> None:
        nonlocal rescans
        seen.update(hint.keys)
        for prefix in hint.rescan:
            rescans += 1
            try:
                seen.update(await swept(storage, prefix))
            except StorageError as error:
                print(error, file=sys.stderr)

    async with anyio.create_task_group() as tasks:
        source = FolderSource(root, clock=SystemClock(), sweep_seconds=3600)
        tasks.start_soon(source.run, notice)
        await until(lambda: rescans == 1, 10)
        began, cpu = time.perf_counter(), time.process_time()
        each = files // _WRITERS
        writers = [
            subprocess.Popen([sys.executable, "-c", _WRITE, root, f"w{number}", str(each)])  # noqa: ASYNC220
            for number in range(_WRITERS)
        ]
        await until(lambda: all(writer.poll() is not None for writer in writers), 300)
        written = time.perf_counter() - began
        found = await until(lambda: len(seen) >= each * _WRITERS, 60)
        took, used = time.perf_counter() - began, time.process_time() - cpu
        tasks.cancel_scope.cancel()
    print(f"burst_files_written {each * _WRITERS}")
    print(f"burst_files_lost {each * _WRITERS - len(seen)}")
    print(f"burst_files_written_per_second {each * _WRITERS / written:.0f}")
    print(f"burst_seconds_behind_the_writers {took - written:.2f}")
    print(f"burst_cpu_microseconds_per_file {used / files * 1e6:.1f}")
    print(f"burst_listings {rescans}")
    return found


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
            await anyio.sleep(0.03)
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
    for measure, *sizes in ((sweep, arguments.files), (burst, arguments.burst), (latency,), (idle,)):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            passed.append(await measure(Path(folder), *sizes))
    return all(passed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--burst", type=int, default=300_000)
    parser.add_argument("--in", dest="folder", default="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    sys.exit(0 if anyio.run(main, parser.parse_args()) else 1)
