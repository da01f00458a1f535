"""A burst of objects on three nodes: nobody fights for the same rows, and nothing is lost or done twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import asyncpg
import pytest
import sqlalchemy as sa

from tests.databases import Databases
from tests.store.busy import BOX
from tests.store.pipeline import PROBE, RESULT, obj, prepare
from vvwatch.clock import SystemClock
from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.imports import FileStatus
from vvwatch.core.networks import AddressPolicy
from vvwatch.core.processors import TECHNICAL
from vvwatch.core.windows import WindowPolicy
from vvwatch.ports import Handler, Job, Kind, Lane
from vvwatch.store.db.database import Traffic, Tx
from vvwatch.store.db.postgres import PostgresDatabase
from vvwatch.store.db.postgres_engine import PgQueuerEngine
from vvwatch.store.db.queues import queue_name
from vvwatch.store.delivery import deliveries, webhooks
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.runs import course, runs
from vvwatch.store.schema import deliveries as deliveries_table
from vvwatch.store.schema import (
    import_files,
    import_jobs,
    media,
    objects,
    prompt_runs,
    run_items,
)
from vvwatch.store.schema import windows as windows_table
from vvwatch.store.watching import windows

pytestmark = pytest.mark.anyio

NODES, SOME = 3, 20


_NEEDS = {Kind.RUN_ITEM: TECHNICAL}


class Node:
    """One of the nodes that share the database: what it is given it does, without any storage or media."""

    def __init__(self, url: str) -> None:
        self.database = PostgresDatabase(url, SystemClock())
        self.engine = PgQueuerEngine(self.database, url, self._failed, heartbeat_seconds=5)
        self.failures: list[tuple[Job | None, Exception]] = []
        self.delivered: list[str] = []

    def _failed(self, job: Job | None, error: Exception) -> None:
        self.failures.append((job, error))

    async def work(self) -> None:
        handlers: dict[Kind, Handler] = dict.fromkeys(Kind, self._nothing)
        handlers |= {
            Kind.WINDOW: self._window,
            Kind.IMPORT_FILE: self._file,
            Kind.RUN: self._run,
            Kind.RUN_ITEM: self._item,
            Kind.DELIVERY: self._delivery,
        }
        await self.engine.run(
            handlers, [Lane(kind, (queue_name(kind, _NEEDS.get(kind, "")),), 4) for kind in Kind]
        )

    async def _nothing(self, _job: Job) -> None:
        pass

    async def _window(self, job: Job) -> None:
        await self.database.write(windows.close_due, job)

    async def _file(self, job: Job) -> None:
        if await self.database.read(imports.begin_file, job) is not None:
            outcome = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri="file:///in/x")
            await self.database.write(imports.finish_file, job, outcome)

    async def _run(self, job: Job) -> None:
        await self.database.write(course.advance, job)

    async def _item(self, job: Job) -> None:
        if await self.database.write(runs.begin_item, job) is not None:
            await self.database.write(runs.finish_item, job, RESULT)

    async def _delivery(self, job: Job) -> None:
        [work] = await self.database.write(deliveries.begin_all, [job])
        if work is not None:
            self.delivered.append(work.delivery.id)
            attempted = deliveries.AttemptResult(200, "", None, 0.001)
            ended = deliveries.EndedAttempt(job, work.delivery.attempts, attempted, DeliveryStatus.DELIVERED)
            await self.database.write(deliveries.finish_all, [ended], 20, [1.0])


@pytest.fixture
async def nodes(databases: Databases) -> AsyncIterator[Sequence[Node]]:
    with databases.fresh("postgresql", SystemClock()):
        async with AsyncExitStack() as stack:
            found = [Node(databases.url) for _ in range(NODES)]
            for node in found:
                await stack.enter_async_context(node.database.opened())
            await found[0].engine.setup()
            yield found


def watch_all(tx: Tx) -> ImportAutomation:
    """An automation whose windows are full soon, and a webhook that is told of everything."""
    told = ("import_job.completed", "media.created")
    spec = webhooks.WebhookSpec("one", "https://example.org/hook", told, None, None)
    policy = AddressPolicy()
    webhooks.declare(tx, BOX, "hook_one", spec, "whsec_planted-secret-for-tests", policy)
    return prepare(tx, WindowPolicy(1.0, 60.0, 80), concurrency=16)


def left(tx: Tx) -> int:
    """What is still to be done, in numbers."""
    undone = (
        sa.select(sa.func.count()).where(windows_table.c.state == "open"),
        sa.select(sa.func.count()).where(import_jobs.c.status == "importing"),
        sa.select(sa.func.count()).where(prompt_runs.c.completed_at.is_(None)),
        sa.select(sa.func.count()).where(deliveries_table.c.completed_at.is_(None)),
    )
    return sum(int(tx.execute(each).scalar_one()) for each in undone)


def counted(tx: Tx, table: sa.Table) -> int:
    return int(tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


async def row_writes(url: str) -> dict[str, int]:
    """Rows inserted, changed and deleted, by table, as the server counts them; also what was rolled back."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        rows = await connection.fetch(
            "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS written FROM pg_stat_user_tables"
        )
    finally:
        await connection.close()
    return {row["relname"]: row["written"] for row in rows}


async def until(database: PostgresDatabase, undone: Callable[[Tx], int]) -> None:
    while await database.read(undone):  # noqa: ASYNC110  # other nodes, which tell nobody, work on it
        await anyio.sleep(0.2)


async def drop(node: Node, automation: ImportAutomation, count: int, at_once: int) -> None:
    """List the objects page by page, as a scan does, while the other nodes import what has gathered."""
    for first in range(0, count, at_once):
        page = [obj(f"day/{number:05}.mov") for number in range(first, first + at_once)]
        await node.database.write(windows.accept_objects, automation.id, automation.generation, page)


def gathering(tx: Tx) -> int:
    """Whether anything is still to become part of a job, or hardly any file was imported yet."""
    still = sa.select(sa.func.count()).where(windows_table.c.state == "open")
    return int(tx.execute(still).scalar_one()) or counted(tx, media) < SOME


@asynccontextmanager
async def at_work(nodes: Sequence[Node]) -> AsyncIterator[None]:
    """All nodes work meanwhile, and none breaks."""
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:
            for node in nodes:
                tasks.start_soon(node.work)
            yield
            for node in nodes:
                node.engine.drain()
    assert [failure for node in nodes for failure in node.failures] == []


def traffic(nodes: Sequence[Node]) -> Traffic:
    every = [node.database.traffic for node in nodes]
    return Traffic(sum(each.transactions for each in every), sum(each.reruns for each in every))


@pytest.mark.timeout(300)
async def test_while_a_large_window_gathers_three_nodes_write_each_row_once_and_run_nothing_again(
    nodes: Sequence[Node], databases: Databases
) -> None:
    first = nodes[0].database
    automation = await first.write(prepare, WindowPolicy(1.0, 60.0, 2_000))
    written, before = await row_writes(databases.url), traffic(nodes)
    async with at_work(nodes):
        await drop(nodes[0], automation, 3_000, 500)
        await until(first, gathering)
    now = await first.read(lambda tx: [counted(tx, table) for table in (objects, import_files)])
    assert now == [3_000, 3_000]

    since = traffic(nodes).since(before)
    assert since.reruns <= max(since.transactions / 100, 2), since
    await anyio.sleep(1.5)  # sessions tell the server what they wrote once a second at most
    after = await row_writes(databases.url)
    imported = await first.read(counted, media)
    for table, again in ((objects, 0), (import_files, 2 * (imported + 3 * 16))):
        changes = after[table.name] - written.get(table.name, 0)
        assert changes <= 3_000 + again, f"{table.name}: {changes} row writes, {imported} imported"


@pytest.mark.timeout(300)
async def test_a_burst_on_three_nodes_ends_with_everything_done_and_told_once(nodes: Sequence[Node]) -> None:
    first, count = nodes[0].database, 120
    automation = await first.write(watch_all)
    async with at_work(nodes):
        await drop(nodes[0], automation, count, 40)
        await until(first, left)

    for table in (objects, import_files, media, run_items):
        assert await first.read(counted, table) == count, table.name
    told = await first.read(counted, deliveries_table)
    delivered = Counter(name for node in nodes for name in node.delivered)
    assert set(delivered.values()) == {1}, "no delivery is made twice"
    assert len(delivered) == told == count + await first.read(counted, import_jobs)
