"""A sweep of a large bucket in which nothing changed, beside our own bare listing of it in the same run.

Usage: python bench/reconcile.py [--keys N] [--rounds N] [--folders N] [--services s3,gcs,azure]

A server of its own holds the keys (python bench/list_server.py). Each client is a process. `bare` lists as the daemon
does and counts; `sweep` is the watcher's whole scan, against a ledger in SQLite that has all keys, from the job to the
report; `again` is the third one of a process, which knows the pages of the listing. CPU is that of the whole process
without what it takes to import, to connect and to fill the ledger; memory is its peak; lag is how long a timer of the
event loop was kept waiting, the 99th percentile and the longest. Shown is the best round. Exits with 1 when a bar is
missed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from listing import opened, peak_mb, server
from vvwatch.clock import SystemClock
from vvwatch.collector import relax_collector
from vvwatch.core.objects import StorageObject
from vvwatch.core.windows import WindowPolicy
from vvwatch.ports import Job, Kind
from vvwatch.providers.remote import RemoteStorage
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec, PromptSpec
from vvwatch.store.db.database import Tx
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.watching import automations, ledger, scans
from vvwatch.telemetry import Telemetry, configure_logging
from vvwatch.workflow.watching.watcher import Watcher

MOST_CPU_SECONDS = 6.0
MOST_TIMES_BARE = 2.0
MOST_MB = 120.0
MOST_LAG_MS = 20.0
BEAT_SECONDS = 0.002


@dataclass(frozen=True)
class Figures:
    """What one client took."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    lag_ms: float
    longest_ms: float


class Pulse:
    """How late a timer of the loop came, each time, not counted when other programs had the core."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._expect()

    def _expect(self) -> None:
        self._cpu = time.process_time()
        self._due = self._loop.time() + BEAT_SECONDS
        self._handle = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        self.late.append(min(self._loop.time() - self._due, time.process_time() - self._cpu))
        self._expect()

    def stop(self) -> tuple[float, float]:
        """The 99th percentile and the longest, in milliseconds."""
        self._handle.cancel()
        late = sorted(self.late)
        return late[len(late) * 99 // 100] * 1_000, late[-1] * 1_000


def prepared(tx: Tx) -> int:
    """An automation over all of a bucket; the number of its ledger."""
    catalog.seed_default_prompt(tx, PromptSpec("bench", "nothing is run here", {"type": "object"}))
    connector = catalog.create_connector(tx, ConnectorSpec("bench", "local", {"root": "/nowhere"}))
    spec = automations.ImportSpec(
        connector_id=connector.id,
        source_prefix="",
        file_pattern="*",
        recursive=True,
        debounce_interval="1d",
        policy=WindowPolicy(86_400, 86_400, 10_000_000),
        scan_seconds=900,
        settle_seconds=0,
        preset={"prompt_id": catalog.DEFAULT_PROMPT_ID},
    )
    return int(automations.save_import(tx, catalog.create_index(tx, "bench").id, spec).scope_id)


def known(tx: Tx, scope_id: int, found: Sequence[StorageObject]) -> None:
    """Put into the ledger what is not there: in shards, some keys come twice."""
    difference = ledger.compare(tx, scope_id, found)
    if difference.created:
        ledger.record_versions(tx, scope_id, difference.created, ledger.NOT_IMPORTED)


async def fill(storage: RemoteStorage, database: SqliteDatabase) -> None:
    scope_id = await database.write(prepared)
    async for page in storage.list("", recursive=True):
        await database.write(known, scope_id, page.objects)


async def sweep(storage: RemoteStorage, database: SqliteDatabase) -> None:
    [(row, _)] = await database.read(automations.list_active)
    telemetry = Telemetry("bench", configure_logging("json", "error", io.StringIO()))
    watcher = Watcher(database, SystemClock(), telemetry, lambda _: storage, lambda: 0.5)
    await watcher.scan(Job(Kind.SCAN, row.id, row.revision, row.next_at or 0.0))
    [report] = await database.read(scans.list_reports, row.id, 1)
    if not report.proof or report.remark or report.created:
        sys.exit(f"the sweep did not find everything as it was: {report}")


async def bare(storage: RemoteStorage, _: SqliteDatabase) -> None:
    async for _page in storage.list("", recursive=True):
        pass


CLIENTS = {"fill": fill, "sweep": sweep, "again": sweep, "bare": bare}
BEFORE = {"again": 2}
"""Scans that come before the measured one."""


async def measured(service: str, client: str, port: int, file: Path) -> Figures:
    storage = await anyio.to_thread.run_sync(opened, service, port)
    database = SqliteDatabase(file, SystemClock())
    async with database.opened():
        async with aclosing(storage.pages("")) as first:  # connects
            await anext(first)
        relax_collector()  # as the daemon does
        for _ in range(BEFORE.get(client, 0)):
            await CLIENTS[client](storage, database)
        pulse, cpu, wall = Pulse(), time.process_time(), time.perf_counter()
        await CLIENTS[client](storage, database)
        took = time.process_time() - cpu, time.perf_counter() - wall
        late = pulse.stop()
        await storage.aclose()
    return Figures(*took, peak_mb(), *late)


def run(service: str, client: str, port: int, file: Path) -> Figures:
    """Raises CalledProcessError when the client fails."""
    command = [sys.executable, __file__, "--client", service, client, str(port), str(file)]
    return Figures(**json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def compared(options: argparse.Namespace, service: str) -> bool:
    """Whether the bars are met, and prints by how much."""
    rounds: dict[str, list[Figures]] = {"bare": [], "sweep": [], "again": []}
    with tempfile.TemporaryDirectory() as folder, server(options) as port:
        file = Path(folder) / "bench.db"
        run(service, "fill", port, file)
        for _ in range(options.rounds):
            for client, figures in rounds.items():
                figures.append(run(service, client, port, file))
    bare, sweep, again = (min(figures, key=lambda each: each.cpu_seconds) for figures in rounds.values())
    for name, best in (("bare", bare), ("sweep", sweep), ("again", again)):
        print(f"{service:<6} {name:<6}" + "".join(f"{value:>12.2f}" for value in asdict(best).values()))
    times = sweep.cpu_seconds / bare.cpu_seconds
    met = (
        times <= MOST_TIMES_BARE
        and sweep.cpu_seconds <= MOST_CPU_SECONDS * options.keys / 1_000_000
        and sweep.peak_mb <= MOST_MB
        and sweep.lag_ms <= MOST_LAG_MS
    )
    print(f"{service:<6} {times:.2f} times the bare listing: {'met' if met else 'missed'}")
    return met


def main(options: argparse.Namespace) -> None:
    print(f"{options.keys:,} keys in {options.folders} folders; the best of {options.rounds} rounds")
    print(
        f"{'':<13}"
        + "".join(f"{name:>12}" for name in ("CPU s", "wall s", "peak MB", "lag p99 ms", "lag ms"))
    )
    sys.exit(not all([compared(options, service) for service in options.services.split(",")]))  # noqa: C419  # each is told


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folders", type=int, default=100)
    parser.add_argument("--services", default="s3,gcs")
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        service, client, port, file = given.client
        print(json.dumps(asdict(anyio.run(measured, service, client, int(port), Path(file)))))
    else:
        main(given)
