"""The real daemon at rest and at the door.

Usage: python bench/daemon.py [--idle-seconds N] [--files N]

`idle`: 20 watched folders, nothing happens: share of one core and resident memory. `latency`: files closed in a
watched folder, until they stand in the ledger, beyond the settle time.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

FOLDERS = 20
SETTLE_SECONDS = 1.0


def configure(base: Path) -> Path:
    lines = [
        'listen = "127.0.0.1:0"',
        f'state_dir = "{base}/state"',
        "[log]",
        'level = "warning"',
        "[local]",
        f'roots = ["{base}/media"]',
    ]
    for number in range(FOLDERS):
        folder = base / "media" / f"folder-{number}"
        folder.mkdir(parents=True)
        lines += [
            f"[connectors.c{number}]",
            'type = "local"',
            f'path = "{folder}"',
            f"[indexes.i{number}]",
            f"[automations.a{number}]",
            f'index = "i{number}"',
            f'connector = "c{number}"',
            'debounce = "5m"',
            f'settle = "{SETTLE_SECONDS:g}s"',
        ]
    path = base / "vvwatch.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def started(config: Path) -> psutil.Popen:
    command = [sys.executable, "-m", "vvwatch", "run", "--config", str(config)]
    process = psutil.Popen(command, stdout=subprocess.PIPE)
    assert b"ready" in process.stdout.readline()
    return process


def idle(process: psutil.Popen, seconds: float) -> None:
    time.sleep(min(5.0, seconds))
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    print(f"idle, {FOLDERS} folders: share of a core  {used / seconds:>8.2%}")
    print(f"idle, {FOLDERS} folders: resident memory  {process.memory_info().rss / 2**20:>6.0f} MiB")


def recorded(path: Path) -> set[str]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return {key for (key,) in connection.execute("select key from objects")}
    finally:
        connection.close()


def latency(base: Path, files: int) -> None:
    """Files come one by one; the poll of the ledger itself adds up to 5 ms."""
    waits = []
    for number in range(files):
        name = f"clip-{number}.mp4"
        with (base / "media" / f"folder-{number % FOLDERS}" / name).open("wb") as file:
            file.write(os.urandom(1000))
        closed = time.monotonic()
        while name not in recorded(base / "state" / "vvwatch.db"):
            time.sleep(0.005)
        waits.append(time.monotonic() - closed - SETTLE_SECONDS)
        time.sleep(random.uniform(0, 0.05))
    waits.sort()
    print(f"closed to ledger, beyond settle: median  {statistics.median(waits) * 1000:>5.0f} ms")
    print(f"closed to ledger, beyond settle: p95     {waits[int(len(waits) * 0.95)] * 1000:>5.0f} ms")


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        process = started(configure(base))
        try:
            idle(process, arguments.idle_seconds)
            latency(base, arguments.files)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--idle-seconds", type=float, default=40)
    parser.add_argument("--files", type=int, default=60)
    main(parser.parse_args())
