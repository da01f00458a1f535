from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from tests.store.pipeline import count
from vvwatch.clock import SystemClock
from vvwatch.errors import SchemaTooNew, StoreError, StoreLocked, StoreUnavailable
from vvwatch.ports import Job, Kind
from vvwatch.store import migrations
from vvwatch.store.database import Tx
from vvwatch.store.schema import jobs
from vvwatch.store.sqlite import SqliteDatabase, SqliteEngine

pytestmark = pytest.mark.anyio


class Failures(list[tuple[Job | None, Exception]]):
    def report(self, job: Job | None, error: Exception) -> None:
        self.append((job, error))


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
def engine(tmp_path: Path, failures: Failures) -> Iterator[SqliteEngine]:
    database = SqliteDatabase(tmp_path / "vvwatch.db", SystemClock())
    with database.opened():
        yield SqliteEngine(database, failures.report)


def put(tx: Tx, number: int, kind: Kind = Kind.EXPORT, delay: float = 0.0) -> None:
    tx.jobs += [Job(kind, f"{n}", 0, tx.now + delay) for n in range(number)]


async def drain(engine: SqliteEngine, expected: int, slots: int = 8) -> Counter[str]:
    """Run until `expected` jobs were handled, then drain."""
    seen: Counter[str] = Counter()

    async def handle(job: Job) -> None:
        seen[job.ref] += 1
        if seen.total() >= expected:
            engine.drain()

    with anyio.fail_after(20):
        await engine.run(dict.fromkeys(Kind, handle), dict.fromkeys(Kind, slots))
    return seen


async def test_every_job_runs_once(engine: SqliteEngine) -> None:
    await engine._database.write(put, 200)
    assert await drain(engine, 200) == {f"{n}": 1 for n in range(200)}
    assert await engine._database.read(count, jobs) == 0


async def test_what_ran_when_the_process_died_is_due_again(engine: SqliteEngine) -> None:
    await engine._database.write(put, 3)
    await engine._database.write(lambda tx: tx.execute(sa.update(jobs).values(running=True)))
    await engine.setup()
    assert (await drain(engine, 3)).total() == 3


async def test_a_future_job_waits_for_its_time(engine: SqliteEngine) -> None:
    await engine._database.write(put, 1, delay=0.3)
    started = anyio.current_time()
    await drain(engine, 1)
    assert anyio.current_time() - started >= 0.29


async def test_a_failing_handler_is_reported_and_tried_again_later(
    engine: SqliteEngine, failures: Failures
) -> None:
    await engine._database.write(put, 1)

    async def fail(_: Job) -> None:
        engine.drain()
        raise RuntimeError("bug")

    with anyio.fail_after(20):
        await engine.run(dict.fromkeys(Kind, fail), dict.fromkeys(Kind, 1))
    assert [str(error) for _, error in failures] == ["bug"]
    [row] = await engine._database.read(lambda tx: tx.all(sa.select(jobs)))
    assert (row.running, row.attempt) == (False, 1)
    assert row.run_at > SystemClock().now()


async def test_slots_bound_what_runs_at_once(engine: SqliteEngine) -> None:
    await engine._database.write(put, 20, Kind.RUN_ITEM)
    running, most = 0, 0

    async def handle(job: Job) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.01)
        running -= 1
        if job.ref == "19":
            engine.drain()

    with anyio.fail_after(20):
        await engine.run({Kind.RUN_ITEM: handle}, {Kind.RUN_ITEM: 3})
    assert most == 3


async def test_many_of_one_kind_starve_no_other(engine: SqliteEngine) -> None:
    """While slow work fills its slots, light work goes on."""
    await engine._database.write(put, 50, Kind.RUN_ITEM)
    await engine._database.write(put, 1, Kind.DELIVERY)

    async def slow(_: Job) -> None:
        await anyio.sleep_forever()

    async def light(_: Job) -> None:
        scope.cancel()

    with anyio.fail_after(20), anyio.CancelScope() as scope:
        await engine.run({Kind.RUN_ITEM: slow, Kind.DELIVERY: light}, {Kind.RUN_ITEM: 2, Kind.DELIVERY: 1})
    assert scope.cancelled_caught


async def test_a_write_that_raises_leaves_nothing(engine: SqliteEngine) -> None:
    def broken(tx: Tx) -> None:
        put(tx, 3)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await engine._database.write(broken)
    assert await engine._database.read(count, jobs) == 0


async def test_readers_cannot_write(engine: SqliteEngine) -> None:
    with pytest.raises(StoreUnavailable):
        await engine._database.read(lambda tx: tx.execute(sa.delete(jobs)))


def test_a_second_owner_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vvwatch.db"
    first, second = SqliteDatabase(path, SystemClock()), SqliteDatabase(path, SystemClock())
    with first.opened(), pytest.raises(StoreLocked), second.opened():
        pass
    with second.opened() as found:
        assert found == migrations.LATEST


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "vvwatch.db", SystemClock())
    with database.opened(), database._writer.begin() as conn:
        migrations._stamp(conn, migrations.LATEST + 1, 0.0)
    again = SqliteDatabase(tmp_path / "vvwatch.db", SystemClock())
    with pytest.raises(SchemaTooNew, match=f"knows up to {migrations.LATEST}"), again.opened():
        pass


def test_a_file_that_is_no_database_is_refused_clearly(tmp_path: Path) -> None:
    path = tmp_path / "vvwatch.db"
    path.write_text("this is no database, and long enough to be looked at" * 10)
    with (
        pytest.raises(StoreError, match="cannot open the database"),
        SqliteDatabase(path, SystemClock()).opened(),
    ):
        pass


async def test_a_database_that_does_not_work_for_a_while_loses_nothing(
    engine: SqliteEngine, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine._database.write(put, 5)
    honest, faults = engine._database.write, iter([False, True, False, True])

    async def write(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if next(faults, False):
            raise StoreUnavailable("disk full")
        return await honest(fn, *args, **kwargs)

    monkeypatch.setattr(engine._database, "write", write)
    monkeypatch.setattr("vvwatch.store.sqlite._STORE_RETRY_SECONDS", 0.01)
    assert (await drain(engine, 5, slots=2)).keys() == {"0", "1", "2", "3", "4"}
    assert [(job, str(error)) for job, error in failures] == [(None, "disk full")] * 2
    assert await engine._database.read(count, jobs) == 0
