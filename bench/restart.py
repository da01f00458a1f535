"""A daemon that died with a large ledger: from its next start to ready.

Usage: python bench/restart.py [--rows N] [--rounds N]

The real daemon as a process, which is killed each time. Beside it the same daemon with an empty ledger. Exits with 1
when the median of the rounds misses the bar.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

MOST_SECONDS = 2.0


def configure(base: Path) -> Path:
    (base / "media").mkdir()
    path = base / "vvwatch.toml"
    path.write_text(f"""
listen = "127.0.0.1:0"
state_dir = "{base}/state"
[log]
level = "warning"
[local]
roots = ["{base}/media"]
[connectors.media]
type = "local"
path = "{base}/media"
[indexes.main]
[automations.main]
index = "main"
connector = "media"
debounce = "1d"
""")
    return path


def restarted(config: Path) -> float:
    """Seconds from the start of the process to its word that it is ready; then it is killed."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "vvwatch", "run", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"ready" in process.stdout.readline()
        took = time.perf_counter() - began
        process.kill()
    return took


def keys(count: int) -> Iterator[tuple[str, str]]:
    """Keys and versions as a local folder lists them, in order."""
    for number in range(count):
        version = f"{4_000_000 + number:x}-{50_000_000 + number:x}-{1_790_000_000_000_000_000 + number:x}"
        yield f"incoming/2026/11/{number // 1000:06}/camera-a-clip-{number:013}.mp4", version


def fill(path: Path, count: int) -> None:
    """Rows of the automation that the daemon made; the write-ahead log stays as a crash leaves it."""
    connection = sqlite3.connect(path)
    try:
        [(scope,)] = connection.execute("select scope_id from import_automations")
        rows = ((scope, key, version) for key, version in keys(count))
        with connection:
            connection.executemany(
                "insert into objects (scope_id, key, version, window_seq) values (?, ?, ?, 0)", rows
            )
    finally:
        connection.close()


def main(arguments: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        config = configure(Path(folder))
        restarted(config)
        empty = statistics.median(restarted(config) for _ in range(arguments.rounds))
        fill(Path(folder) / "state" / "vvwatch.db", arguments.rows)
        rounds = [restarted(config) for _ in range(arguments.rounds)]
    full = statistics.median(rounds)
    print(f"restart to ready, empty ledger             {empty:>6.2f} s")
    print(f"restart to ready, {arguments.rows:,} rows of ledger  {full:>6.2f} s (worst {max(rounds):.2f} s)")
    print(f"  at most {MOST_SECONDS:g} s: {'met' if full <= MOST_SECONDS else 'MISSED'}")
    return full <= MOST_SECONDS


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    sys.exit(0 if main(parser.parse_args()) else 1)
