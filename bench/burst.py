"""A burst of objects through real daemons: three nodes on PostgreSQL, one node on it, and one on SQLite.

Usage: python bench/burst.py [--objects N] [--seconds N] [--modes pg3 pg1 lite]

A folder with as many small pictures is put in place at once. Printed for each mode: seconds from that moment until no
window is open and every object is in an import job; what was imported so many seconds after the drop; how often each
row of the ledger and of the manifests was written until then; which share of the transactions ran again; and the CPU
seconds that nodes and server took.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests import samples  # noqa: E402  # found by the line above
from tests.fault_proxy import free_port  # noqa: E402
from tests.postgres_server import PostgresServer  # noqa: E402

ADMIN_KEY = "sk_live_" + "0123456789abcdef" * 3
SECRET_KEY = "YnVyc3QtYmVuY2gtYnVyc3QtYmVuY2gtYnVyc3QtMTI="
OPENING_SECONDS = 60.0
CONFIG = """
database_url = "{url}"
[node]
name = "${{NODE_NAME}}"
[log]
level = "error"
[local]
roots = ["{folder}"]
[connectors.shared]
type = "local"
path = "{folder}"
shared = true
[indexes.main]
[automations.main]
index = "main"
connector = "shared"
debounce = "3s"
settle = "1s"
scan_interval = "2s"
"""
GATHERED = """
select (select count(*) from windows where state = 'open') = 0
   and (select coalesce(sum(total_files), 0) from import_jobs) >= {objects}
"""
WRITES = """
select sum(n_tup_ins + n_tup_upd) as written, sum(n_tup_ins) as stored from pg_stat_user_tables
 where relname in ('objects', 'import_files')
"""


@dataclass
class Node:
    """A daemon of its own."""

    process: psutil.Popen
    port: int

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/metrics", headers={"X-API-Key": ADMIN_KEY}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vvwatch_{name}"))

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system + times.children_user + times.children_system


class Burst:
    """One run of `count` nodes on `server`, or of one on a file of its own."""

    def __init__(self, base: Path, server: PostgresServer | None, count: int) -> None:
        self._base = base
        self._server = server
        self.incoming = base / "incoming"
        self.incoming.mkdir(parents=True)
        url = server.url() if server else "sqlite:///vvwatch.db"
        config = base / "vvwatch.toml"
        config.write_text(CONFIG.format(url=url, folder=self.incoming))
        self.nodes = [self._started(config, f"node-{number}") for number in range(count)]

    def _started(self, config: Path, name: str) -> Node:
        port = free_port()
        own = {
            "NODE_NAME": name,
            "VVWATCH_STATE_DIR": str(self._base / name),
            "VVWATCH_LISTEN": f"127.0.0.1:{port}",
            "VVWATCH_ADMIN_KEY": ADMIN_KEY,
            "VVWATCH_SECRET_KEY": SECRET_KEY,
        }
        process = psutil.Popen(
            [sys.executable, "-m", "vvwatch", "run", "--config", str(config)],
            stdout=subprocess.PIPE,
            env={**os.environ, **own},
        )
        return Node(process, port)

    def await_ready(self) -> None:
        for node in self.nodes:
            assert b"ready" in node.process.stdout.readline()

    def ask(self, query: str) -> Any:
        """The first column of a query's only row."""
        if self._server is not None:
            return self._server.execute(query)[0][0]
        with closing(sqlite3.connect(self._base / "node-0" / "vvwatch.db")) as connection:
            return connection.execute(query).fetchone()[0]

    def end(self) -> None:
        for node in self.nodes:
            node.process.kill()
            node.process.wait(60)


@contextmanager
def running(base: Path, server: PostgresServer | None, count: int) -> Iterator[Burst]:
    burst = Burst(base, server, count)
    try:
        burst.await_ready()
        yield burst
    finally:
        burst.end()


def drop(base: Path, incoming: Path, objects: int) -> float:
    """Put pictures that all differ where they are looked for, all at once; returns when that was."""
    with tempfile.TemporaryDirectory(dir=base) as hidden:
        picture = samples.image(Path(hidden) / "one.png", (16, 16)).read_bytes()
        folder = Path(hidden) / "drop"
        for number in range(objects):
            day = folder / f"day-{number % 20:02}"
            day.mkdir(parents=True, exist_ok=True)
            (day / f"{number:06}.png").write_bytes(picture + str(number).encode())
        folder.rename(incoming / "drop")
    return time.monotonic()


def measured(mode: str, base: Path, objects: int, seconds: float) -> str:
    """One line about a burst in this mode."""
    if mode == "lite":
        with running(base, None, 1) as burst:
            return f"{mode}: {_course(burst, base, objects, seconds)}"
    with PostgresServer(durable=True) as server:
        postgres = psutil.Process(server.pid)
        with running(base, server, int(mode.removeprefix("pg"))) as burst:
            before = _cpu_seconds(postgres)
            told = _course(burst, base, objects, seconds)
            row = server.execute(WRITES)[0]
            again = sum(node.metric("database_reruns_total") for node in burst.nodes)
            every = sum(node.metric("database_transactions_total") for node in burst.nodes)
            return (
                f"{mode}: {told}; {row['written'] / max(row['stored'], 1):.2f} writes a row, "
                f"{again / max(every, 1):.2%} of {every:.0f} transactions ran again, "
                f"server {_cpu_seconds(postgres) - before:.1f} CPU s"
            )


def _cpu_seconds(process: psutil.Process) -> float:
    """Of the server and of all its sessions, those that ended too."""
    times = [each.cpu_times() for each in (process, *process.children())]
    ended = process.cpu_times()
    return sum(each.user + each.system for each in times) + ended.children_user + ended.children_system


def _course(burst: Burst, base: Path, objects: int, seconds: float) -> str:
    dropped = drop(base, burst.incoming, objects)
    while not burst.ask(GATHERED.format(objects=objects)):
        if time.monotonic() > dropped + seconds + OPENING_SECONDS:
            return f"not in jobs after {seconds + OPENING_SECONDS:g} s"
        time.sleep(0.2)
    gathered = time.monotonic() - dropped
    time.sleep(max(dropped + seconds - time.monotonic(), 0.0))
    imported = burst.ask("select count(*) from media")
    cpu = sum(node.cpu_seconds() for node in burst.nodes)
    return (
        f"{objects:,} objects in jobs after {gathered:.1f} s, {imported:,} imported after {seconds:g} s, "
        f"nodes {cpu:.1f} CPU s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=16_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--modes", nargs="+", choices=["pg3", "pg1", "lite"], default=["pg3", "pg1", "lite"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for each in options.modes:
            print(measured(each, Path(folder) / each, options.objects, options.seconds), flush=True)
