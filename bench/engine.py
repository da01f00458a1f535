"""The job engines behind their port: no-op jobs in one lane of 40 slots, with many future ones in its queue.

Usage: python bench/engine.py [--jobs N] [--future N] [--rounds N] [--latencies N] [--idle-seconds N]

Jobs per second, from a job's commit to its start, and the share of a core at rest: of ours, and in the same rounds
of the bare way with as many slots: PgQueuer's own loop with one entrypoint, a loop of claim and delete on SQLite.
Shown are the median and the best round.
"""

from __future__ import annotations

import argparse
import random
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread
import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain import models

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.postgres_server import PostgresServer  # noqa: E402  # found by the line above

from vvwatch.clock import SystemClock  # noqa: E402
from vvwatch.config import load  # noqa: E402
from vvwatch.daemon.wiring import Components, build_components  # noqa: E402
from vvwatch.ports import Job, Kind, Lane  # noqa: E402
from vvwatch.store.db.database import Tx  # noqa: E402
from vvwatch.telemetry import Telemetry  # noqa: E402

A_DAY = 86_400.0
PUT_AT_ONCE = 500
BARE_QUEUE = "bare"
PAUSE_SECONDS = 0.02
LANE = Lane(Kind.DELIVERY, ("delivery", "delivery@here"), 40)

Started = Callable[[], None]


class Subject(Protocol):
    """What is measured: an engine, or the bare way."""

    async def put(self, count: int, delay_seconds: float) -> None:
        """Commit jobs that are due in a while."""
        ...

    async def run(self, started: Started) -> None:
        """Do what is due, telling of each, until `drain`."""
        ...

    def drain(self) -> None: ...


class Ours:
    """The daemon's own engine and database."""

    def __init__(self, components: Components) -> None:
        self._components = components

    async def put(self, count: int, delay_seconds: float) -> None:
        for first in range(0, count, PUT_AT_ONCE):
            some = range(first, min(first + PUT_AT_ONCE, count))
            await self._components.database.write(put, some, delay_seconds)

    async def run(self, started: Started) -> None:
        async def handle(_: Job) -> None:
            started()

        await self._components.engine.run({Kind.DELIVERY: handle}, [LANE])

    def drain(self) -> None:
        self._components.engine.drain()


def put(tx: Tx, numbers: range, delay_seconds: float) -> None:
    at = tx.now + delay_seconds
    tx.jobs += [Job(LANE.kind, str(number), 0, at, queue=LANE.queues[0]) for number in numbers]


class BarePgQueuer:
    """PgQueuer as its manual has it, on the same tables."""

    def __init__(self, pool: asyncpg.Pool, slots: int) -> None:
        self._slots = slots
        self._queries = Queries(AsyncpgPoolDriver(pool))
        self._manager = QueueManager(self._queries)

    async def put(self, count: int, delay_seconds: float) -> None:
        for first in range(0, count, PUT_AT_ONCE):
            some = range(first, min(first + PUT_AT_ONCE, count))
            await self._queries.enqueue(
                [BARE_QUEUE for _ in some],
                [str(number).encode() for number in some],
                [1 for _ in some],
                [timedelta(seconds=delay_seconds) for _ in some],
            )

    async def run(self, started: Started) -> None:
        async def handle(_: models.Job) -> None:
            started()

        self._manager.entrypoint(BARE_QUEUE)(handle)
        await self._manager.run(
            dequeue_timeout=timedelta(seconds=2),
            batch_size=self._slots // 2,
            max_concurrent_tasks=self._slots,
        )

    def drain(self) -> None:
        self._manager.shutdown.set()


class BareSqlite:
    """A loop of claim and delete with the same durability, one commit a turn."""

    def __init__(self, connection: sqlite3.Connection, slots: int) -> None:
        self._connection = connection
        self._slots = slots
        self._draining = False
        self._turns = anyio.CapacityLimiter(1)

    async def put(self, count: int, delay_seconds: float) -> None:
        await anyio.to_thread.run_sync(self._put, count, delay_seconds, limiter=self._turns)

    def _put(self, count: int, delay_seconds: float) -> None:
        rows = [(str(number), time.time() + delay_seconds) for number in range(count)]
        self._connection.execute("begin immediate")
        self._connection.executemany("insert into jobs (ref, run_at) values (?, ?)", rows)
        self._connection.execute("commit")

    async def run(self, started: Started) -> None:
        while not self._draining:
            claimed = await anyio.to_thread.run_sync(self._turn, limiter=self._turns)
            for _ in claimed:
                started()
            if not claimed:
                await anyio.sleep(0.001)
        await anyio.to_thread.run_sync(self._turn, limiter=self._turns)

    def _turn(self) -> list[tuple[int, str]]:
        self._connection.execute("begin immediate")
        self._connection.execute("delete from jobs where running")
        claimed = self._connection.execute(
            "update jobs set running = 1 where id in (select id from jobs where not running and run_at <= ?"
            " order by run_at limit ?) returning id, ref",
            (time.time(), 0 if self._draining else self._slots),
        ).fetchall()
        self._connection.execute("commit")
        return claimed

    def drain(self) -> None:
        self._draining = True


class Ground:
    """A database with a daemon's engine on it, and the bare way beside."""

    def __init__(self, base: Path, database_url: str) -> None:
        self._url = database_url
        self._environ = {"VVWATCH_STATE_DIR": str(base), "VVWATCH_DATABASE_URL": database_url}
        self._bare_file = base / "bare.db"

    def _components(self) -> Components:
        return build_components(load(None, self._environ), SystemClock(), Telemetry("bench"), self._environ)

    @asynccontextmanager
    async def ours(self) -> AsyncIterator[Subject]:
        components = self._components()
        async with components.database.opened():
            await components.engine.setup()
            yield Ours(components)

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Subject]:
        if not self._url.startswith("sqlite"):
            async with asyncpg.create_pool(self._url, min_size=1, max_size=4) as pool:
                yield BarePgQueuer(pool, LANE.slots)
            return
        connection = sqlite3.connect(self._bare_file, isolation_level=None, check_same_thread=False)
        connection.executescript(
            "pragma journal_mode=wal; pragma synchronous=full;"
            "create table if not exists jobs (id integer primary key, ref text, run_at real, running int default 0);"
            "create index if not exists jobs_due on jobs (running, run_at);"
        )
        try:
            yield BareSqlite(connection, LANE.slots)
        finally:
            connection.close()


async def rate(subject: Subject, count: int) -> float:
    """Jobs per second from the first that starts until the engine has acknowledged all and stopped."""
    await subject.put(count, 0.0)
    moments: list[float] = []

    def started() -> None:
        moments.append(time.perf_counter())
        if len(moments) == count:
            subject.drain()

    await subject.run(started)
    assert len(moments) == count
    return count / (time.perf_counter() - moments[0])


async def beside(subject: Subject, started: Started, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` while the subject runs."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(subject.run, started)
        await anyio.sleep(0.5)
        await work()
        subject.drain()


async def latencies(subject: Subject, count: int) -> list[float]:
    """Seconds from a job's commit to its start, of one job after another, sorted."""
    waits: list[float] = []
    tell, told = anyio.create_memory_object_stream[float](count)

    async def one_by_one() -> None:
        for _ in range(count):
            await subject.put(1, 0.0)
            committed = time.perf_counter()
            waits.append(max(await told.receive() - committed, 0.0))
            await anyio.sleep(random.uniform(0, PAUSE_SECONDS))

    with tell, told:
        await beside(subject, lambda: tell.send_nowait(time.perf_counter()), one_by_one)
    return sorted(waits)


async def idle(subject: Subject, seconds: float) -> float:
    """The share of a core while nothing is due."""
    shares: list[float] = []

    async def rest() -> None:
        before = cpu_seconds()
        await anyio.sleep(seconds)
        shares.append((cpu_seconds() - before) / seconds)

    await beside(subject, lambda: None, rest)
    return shares[0]


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measured(ground: Ground, name: str, options: argparse.Namespace) -> None:
    ways = {"ours": ground.ours, "bare": ground.bare}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    waits: dict[str, list[float]] = {}
    for opened in ways.values():
        async with opened() as subject:
            await subject.put(options.future, A_DAY)
    for _ in range(options.rounds):
        for way, opened in ways.items():
            async with opened() as subject:
                rates[way].append(await rate(subject, options.jobs))
    for way, opened in ways.items():
        async with opened() as subject:
            waits[way] = await latencies(subject, options.latencies)
    async with ground.ours() as subject:
        rest = await idle(subject, options.idle_seconds)
    show(name, rates, waits)
    print(f"{name}: share of a core at rest         {rest:>10.2%}")


def show(name: str, rates: dict[str, list[float]], waits: dict[str, list[float]]) -> None:
    for title, pick in (("median", statistics.median), ("best", max)):
        ours, bare = pick(rates["ours"]), pick(rates["bare"])
        print(f"{name}: jobs/s, {title:<24} {ours:>10,.0f}   bare {bare:>8,.0f}   ratio {ours / bare:.2f}")
    for title, place in (("p50", 0.5), ("p95", 0.95)):
        ours, bare = (waits[way][int(len(waits[way]) * place)] * 1000 for way in ("ours", "bare"))
        print(
            f"{name}: commit to start, {title:<15} {ours:>7.1f} ms   bare {bare:>5.1f} ms   ratio {ours / bare:.2f}"
        )


async def main(options: argparse.Namespace) -> None:
    print(f"{options.jobs:,} jobs, {options.future:,} future ones in the queues, {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "sqlite"
        await measured(Ground(base, "sqlite:///vvwatch.db"), "SQLite    ", options)
        with PostgresServer(durable=True) as server:
            url = server.create_database("bench")
            await measured(Ground(Path(folder) / "postgresql", url), "PostgreSQL", options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--future", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latencies", type=int, default=100)
    parser.add_argument("--idle-seconds", type=float, default=10)
    anyio.run(main, parser.parse_args())
