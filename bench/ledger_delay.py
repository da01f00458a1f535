"""From a file that is closed to its row in the ledger: a real daemon that watches a local folder, on SQLite.

    python bench/ledger_delay.py [--files 200] [--flood 300000] [--settle 1] [--in FOLDER]

Prints one figure a line. `delay` is the time from the close of a file to its row, less the settle time; the flood is
written by eight processes. Exits with 1 when a bar is missed: p95 of the delay at most 100 ms, every file of the flood
in the ledger at most 20 seconds behind its writers.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

_MOST_DELAY_SECONDS = 0.1
_MOST_BEHIND_SECONDS = 20.0
_WRITERS = 8
_CONFIG = """
state_dir = "{base}/state"
listen = "127.0.0.1:0"
[log]
level = "error"
[local]
roots = ["{folder}"]
[connectors.in]
type = "local"
path = "{folder}"
[indexes.main]
[automations.main]
index = "main"
connector = "in"
debounce = "1d"
settle = "{settle}s"
"""
_WRITE = """
import os, sys
for number in range(int(sys.argv[3])):
    file = os.open(f"{sys.argv[1]}/{sys.argv[2]}-{number}.mp4", os.O_WRONLY | os.O_CREAT)
    os.write(file, b"x")
    os.close(file)
"""


@contextmanager
def daemon(base: Path, folder: Path, settle: float) -> Iterator[psutil.Popen]:
    config = base / "vvwatch.toml"
    config.write_text(_CONFIG.format(base=base, folder=folder, settle=f"{settle:g}"))
    command = [sys.executable, "-m", "vvwatch", "run", "--config", str(config)]
    process = psutil.Popen(command, stdout=subprocess.PIPE)
    try:
        assert b"ready" in process.stdout.readline()
        time.sleep(2)  # the first scan
        yield process
    finally:
        process.terminate()
        process.wait(60)


class Ledger:
    """What the daemon knows, read beside it."""

    def __init__(self, base: Path) -> None:
        self._connection = sqlite3.connect(f"file:{base}/state/vvwatch.db?mode=ro", uri=True)

    def count(self) -> int:
        return int(self._connection.execute("select count(*) from objects").fetchone()[0])

    def has(self, key: str) -> bool:
        return bool(self._connection.execute("select 1 from objects where key = ?", (key,)).fetchone())

    def close(self) -> None:
        self._connection.close()


def measure_delay(ledger: Ledger, folder: Path, files: int, settle: float) -> bool:
    """One file after another; each is closed at once after its last write."""
    delays = []
    for number in range(files):
        key = f"late-{number}.mp4"
        with (folder / key).open("wb") as file:
            file.write(b"x")
        closed = time.monotonic()
        time.sleep(settle)
        while not ledger.has(key) and time.monotonic() < closed + settle + 10:
            time.sleep(0.001)
        delays.append(time.monotonic() - closed - settle)
        time.sleep(0.0137)
    p95 = statistics.quantiles(delays, n=20)[-1]
    print(f"delay_milliseconds_p50 {1000 * statistics.median(delays):.1f}")
    print(f"delay_milliseconds_p95 {1000 * p95:.1f}")
    print(f"delay_milliseconds_most {1000 * max(delays):.1f}", flush=True)
    return p95 <= _MOST_DELAY_SECONDS


def measure_flood(ledger: Ledger, process: psutil.Popen, folder: Path, files: int) -> bool:
    before, cpu, began = ledger.count(), process.cpu_times(), time.monotonic()
    each = files // _WRITERS
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITE, folder, f"w{number}", str(each)])
        for number in range(_WRITERS)
    ]
    for writer in writers:
        writer.wait()
    written = time.monotonic()
    while (missing := before + each * _WRITERS - ledger.count()) and time.monotonic() < written + 180:
        time.sleep(0.2)
    behind, used = time.monotonic() - written, process.cpu_times()
    seconds = used.user + used.system - cpu.user - cpu.system
    print(f"flood_files_written_per_second {each * _WRITERS / (written - began):.0f}")
    print(f"flood_seconds_behind_the_writers {behind:.1f}")
    print(f"flood_files_lost {missing}")
    print(f"flood_cpu_microseconds_per_file {seconds / files * 1e6:.0f}", flush=True)
    return missing == 0 and behind <= _MOST_BEHIND_SECONDS


def main(arguments: argparse.Namespace) -> bool:
    passed = []
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as name,
        tempfile.TemporaryDirectory() as state,
    ):
        folder, base = Path(name), Path(state)
        with daemon(base, folder, arguments.settle) as process, closing(Ledger(base)) as ledger:
            if arguments.files:
                passed.append(measure_delay(ledger, folder, arguments.files, arguments.settle))
            if arguments.flood:
                passed.append(measure_flood(ledger, process, folder, arguments.flood))
    print(f"load {os.getloadavg()[0]:.1f}")
    return all(passed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--flood", type=int, default=300_000)
    parser.add_argument("--settle", type=float, default=1)
    parser.add_argument("--in", dest="folder", default="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    sys.exit(0 if main(parser.parse_args()) else 1)
