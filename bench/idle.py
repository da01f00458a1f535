"""A daemon with very many automations of a bucket in which nothing happens.

Usage: python bench/idle.py [--automations N] [--seconds N]

The real daemon as a process, an emulator (ministack) as the store; each automation is an index of its own that
watches a prefix of one bucket, debounced by a day and so listed each quarter of an hour. `at rest` is the share of one
core while no listing is due. A listing's own CPU is that of the daemon's first round, in which all are listed once. The
sum of both, at the pace at which listings come, is held against the bar. Exits with 1 when it is missed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

from soak import server

BUCKET = "bench"
MOST_SHARE = 0.05
SCAN_SECONDS = 900
START_SECONDS = 300.0


def configure(base: Path, endpoint_url: str, automations: int) -> Path:
    lines = [
        'listen = "127.0.0.1:0"',
        f'state_dir = "{base}/state"',
        "[log]",
        'level = "warning"',
        "[connectors.store]",
        'type = "s3"',
        f'bucket = "{BUCKET}"',
        f'endpoint_url = "{endpoint_url}"',
        'access_key_id = "bench"',
        'secret_access_key_env = "BENCH_SECRET"',
    ]
    for number in range(automations):
        lines += [
            f"[indexes.i{number}]",
            f"[automations.a{number}]",
            f'index = "i{number}"',
            'connector = "store"',
            f'prefix = "{number:04}/"',
            'debounce = "1d"',
        ]
    path = base / "vvwatch.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def started(config: Path) -> psutil.Popen:
    command = [sys.executable, "-m", "vvwatch", "run", "--config", str(config)]
    environ = {**os.environ, "BENCH_SECRET": "bench"}
    process = psutil.Popen(command, stdout=subprocess.PIPE, env=environ)
    assert b"ready" in process.stdout.readline()
    return process


def cpu_seconds(process: psutil.Popen) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def listed(path: Path) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        [(count,)] = connection.execute(
            "select count(*) from import_automations where last_scan_at is not null and last_error is null"
        )
    finally:
        connection.close()
    return int(count)


def first_round(process: psutil.Popen, base: Path, automations: int) -> float:
    """CPU seconds of one listing, of those that come after the daemon is ready."""
    database = base / "state" / "vvwatch.db"
    cpu, before = cpu_seconds(process), listed(database)
    deadline = time.monotonic() + START_SECONDS
    while (count := listed(database)) < automations:
        assert time.monotonic() < deadline, f"{count} of {automations} are listed"
        time.sleep(0.2)
    return (cpu_seconds(process) - cpu) / max(count - before, 1)


def main(arguments: argparse.Namespace) -> bool:
    with server() as at, tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        urlopen(Request(f"{at.endpoint_url}/{BUCKET}", method="PUT"), timeout=10).close()
        began = time.monotonic()
        process = started(configure(base, at.endpoint_url, arguments.automations))
        try:
            ready = time.monotonic() - began
            each = first_round(process, base, arguments.automations)
            time.sleep(min(5.0, arguments.seconds))
            before = cpu_seconds(process)
            time.sleep(arguments.seconds)
            rest = (cpu_seconds(process) - before) / arguments.seconds
            memory = process.memory_info().rss / 2**20
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    share = rest + each * arguments.automations / SCAN_SECONDS
    print(f"{arguments.automations} automations: from start to ready  {ready:>8.1f} s")
    print(f"{arguments.automations} automations: at rest              {rest:>8.2%} of a core")
    print(f"{arguments.automations} automations: a listing            {each * 1000:>8.1f} ms of CPU")
    print(f"{arguments.automations} automations: with their listings  {share:>8.2%} of a core")
    print(f"{arguments.automations} automations: resident memory      {memory:>8.0f} MiB")
    print(f"  at most {MOST_SHARE:.0%} of a core: {'met' if share <= MOST_SHARE else 'MISSED'}")
    return bool(share <= MOST_SHARE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--automations", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=40)
    sys.exit(0 if main(parser.parse_args()) else 1)
