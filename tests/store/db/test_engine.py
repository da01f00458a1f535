"""What both engines promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import anyio
import pytest

from tests.databases import Databases
from vvwatch.clock import SystemClock
from vvwatch.ports import Job, Kind, Lane, Priority
from vvwatch.store.db.database import Tx
from vvwatch.store.db.postgres import PostgresDatabase
from vvwatch.store.db.postgres_engine import PgQueuerEngine
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.db.sqlite_engine import SqliteEngine

pytestmark = pytest.mark.anyio

AnyEngine = SqliteEngine | PgQueuerEngine


class Failures(list[tuple[Job | None, Exception]]):
    def report(self, job: Job | None, error: Exception) -> None:
        self.append((job, error))


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
async def engine(databases: Databases, dialect: str, failures: Failures) -> AsyncIterator[AnyEngine]:
    with databases.fresh(dialect, SystemClock()) as database:
        async with database.opened():
            engine: AnyEngine
            if isinstance(database, PostgresDatabase):
                engine = PgQueuerEngine(database, databases.url, failures.report, heartbeat_seconds=5)
            else:
                assert isinstance(database, SqliteDatabase)
                engine = SqliteEngine(database, failures.report)
            await engine.setup()
            yield engine


def put(
    tx: Tx,
    number: int,
    kind: Kind = Kind.EXPORT,
    delay: float = 0.0,
    queue: str = "",
    priority: Priority = Priority.NORMAL,
    first: int = 0,
) -> None:
    tx.jobs += [
        Job(kind, f"{n}", 0, tx.now + delay, queue=queue or kind.value, priority=priority)
        for n in range(first, first + number)
    ]


def lanes(slots: int) -> list[Lane]:
    return [Lane(kind, (kind.value, f"{kind.value}@here"), slots) for kind in Kind]


async def drain(engine: AnyEngine, expected: int, slots: int = 8) -> Counter[str]:
    """Run until `expected` jobs were handled, then drain."""
    seen: Counter[str] = Counter()

    async def handle(job: Job) -> None:
        seen[job.ref] += 1
        if seen.total() >= expected:
            engine.drain()

    with anyio.fail_after(20):
        await engine.run(dict.fromkeys(Kind, handle), lanes(slots))
    return seen


def held(tx: Tx, engine: AnyEngine) -> int:
    return sum(len(engine.held(tx, kind)) for kind in Kind)


async def test_every_job_runs_once(engine: AnyEngine) -> None:
    await engine._database.write(put, 200)
    assert await drain(engine, 200) == {f"{n}": 1 for n in range(200)}
    assert await engine._database.read(held, engine) == 0


async def test_what_is_held_and_what_is_due_is_told(engine: AnyEngine) -> None:
    await engine._database.write(put, 2, Kind.SCAN)
    await engine._database.write(put, 1, Kind.SCAN, delay=1000, queue="scan@there", first=2)
    assert await engine._database.read(engine.held, Kind.SCAN) == {
        ("0", 0, "scan"),
        ("1", 0, "scan"),
        ("2", 0, "scan@there"),
    }
    assert await engine._database.read(engine.held, Kind.EXPORT) == set()
    assert await engine._database.read(engine.due) == 2


async def test_a_future_job_waits_for_its_time(engine: AnyEngine) -> None:
    await engine._database.write(put, 1, delay=0.5)
    started = anyio.current_time()
    await drain(engine, 1)
    assert anyio.current_time() - started >= 0.45


async def test_a_job_put_while_it_waits_starts_at_once(engine: AnyEngine) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain, engine, 1)
        await anyio.sleep(0.3)
        started = anyio.current_time()
        await engine._database.write(put, 1)
    assert anyio.current_time() - started < 1.5


async def test_work_of_another_node_is_left_to_it(engine: AnyEngine) -> None:
    await engine._database.write(put, 1, queue="export@there", first=7)
    await engine._database.write(put, 1, queue="export@here", first=8)
    await engine._database.write(put, 1, first=9, delay=0.4)
    assert set(await drain(engine, 2)) == {"8", "9"}
    assert await engine._database.read(engine.held, Kind.EXPORT) == {("7", 0, "export@there")}


async def test_what_a_person_waits_for_goes_first(engine: AnyEngine) -> None:
    order = []
    for position, priority in enumerate([Priority.SURPLUS, Priority.NORMAL, Priority.MANUAL]):
        await engine._database.write(put, 2, first=10 * position, priority=priority)

    async def handle(job: Job) -> None:
        order.append(job.ref)
        if len(order) == 6:
            engine.drain()

    with anyio.fail_after(20):
        await engine.run({Kind.EXPORT: handle}, [Lane(Kind.EXPORT, ("export",), 1)])
    assert order == ["20", "21", "10", "11", "0", "1"]


async def test_a_failing_handler_is_reported_and_tried_again_later(
    engine: AnyEngine, failures: Failures
) -> None:
    await engine._database.write(put, 1)

    async def fail(job: Job) -> None:
        if job.attempt:
            engine.drain()
        raise RuntimeError("bug")

    started = anyio.current_time()
    with anyio.fail_after(20):
        await engine.run(dict.fromkeys(Kind, fail), lanes(1))
    assert [str(error) for _, error in failures] == ["bug", "bug"]
    assert [job.attempt for job, _ in failures if job] == [0, 1]
    assert anyio.current_time() - started >= 1
    assert await engine._database.read(engine.held, Kind.EXPORT) == {("0", 0, "export")}


async def test_slots_bound_what_runs_at_once(engine: AnyEngine) -> None:
    await engine._database.write(put, 20, Kind.RUN_ITEM)
    running, most, seen = 0, 0, 0

    async def handle(_: Job) -> None:
        nonlocal running, most, seen
        running += 1
        most = max(most, running)
        await anyio.sleep(0.01)
        running -= 1
        seen += 1
        if seen == 20:
            engine.drain()

    with anyio.fail_after(20):
        await engine.run({Kind.RUN_ITEM: handle}, [Lane(Kind.RUN_ITEM, ("run_item",), 3)])
    assert most == 3


async def test_many_of_one_kind_starve_no_other(engine: AnyEngine) -> None:
    """While slow work fills its slots, light work goes on."""
    await engine._database.write(put, 50, Kind.RUN_ITEM)
    await engine._database.write(put, 1, Kind.DELIVERY)

    async def slow(_: Job) -> None:
        await anyio.sleep_forever()

    async def light(_: Job) -> None:
        scope.cancel()

    both = [Lane(Kind.RUN_ITEM, ("run_item",), 2), Lane(Kind.DELIVERY, ("delivery",), 1)]
    with anyio.fail_after(20), anyio.CancelScope() as scope:
        await engine.run({Kind.RUN_ITEM: slow, Kind.DELIVERY: light}, both)
    assert scope.cancelled_caught


async def test_a_write_that_raises_leaves_nothing(engine: AnyEngine) -> None:
    def broken(tx: Tx) -> None:
        put(tx, 3)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await engine._database.write(broken)
    assert await engine._database.read(held, engine) == 0
