"""What is SQLite's own: one owner, readers that cannot write, a file that may be no database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.db.test_engine import Failures, drain, put
from tests.store.pipeline import count
from vvwatch.clock import SystemClock
from vvwatch.errors import SchemaTooNew, StoreError, StoreLocked, StoreUnavailable
from vvwatch.store.db import migrations
from vvwatch.store.db.database import Tx
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.db.sqlite_engine import SqliteEngine
from vvwatch.store.schema import facts, jobs

pytestmark = pytest.mark.anyio


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
async def engine(tmp_path: Path, failures: Failures) -> AsyncIterator[SqliteEngine]:
    database = SqliteDatabase(tmp_path / "vvwatch.db", SystemClock())
    async with database.opened():
        yield SqliteEngine(database, failures.report)


async def test_what_ran_when_the_process_died_is_due_again(engine: SqliteEngine) -> None:
    await engine._database.write(put, 3)
    by_a_clock_that_was_ahead = jobs.c.run_at + 86_400
    running = sa.update(jobs).values(running=True, run_at=by_a_clock_that_was_ahead)
    await engine._database.write(lambda tx: tx.execute(running))
    await engine.setup()
    assert (await drain(engine, 3)).total() == 3


async def test_readers_cannot_write(engine: SqliteEngine) -> None:
    with pytest.raises(StoreUnavailable):
        await engine._database.read(lambda tx: tx.execute(sa.delete(jobs)))


async def test_a_second_owner_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vvwatch.db"
    first, second = SqliteDatabase(path, SystemClock()), SqliteDatabase(path, SystemClock())
    async with first.opened():
        with pytest.raises(StoreLocked):
            async with second.opened():
                pass
    async with second.opened() as found:
        assert found == migrations.LATEST


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "vvwatch.db", SystemClock())
    async with database.opened():
        with database._writer.begin() as conn:
            migrations._stamp(conn, migrations.LATEST + 1, 0.0)
    again = SqliteDatabase(tmp_path / "vvwatch.db", SystemClock())
    with pytest.raises(SchemaTooNew, match=f"knows up to {migrations.LATEST}"):
        async with again.opened():
            pass


async def test_a_file_that_is_no_database_is_refused_clearly(tmp_path: Path) -> None:
    path = tmp_path / "vvwatch.db"
    path.write_text("this is no database, and long enough to be looked at" * 10)
    with pytest.raises(StoreError, match="cannot open the database"):
        async with SqliteDatabase(path, SystemClock()).opened():
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
    monkeypatch.setattr("vvwatch.store.db.sqlite_engine._STORE_RETRY_SECONDS", 0.01)
    assert (await drain(engine, 5, slots=2)).keys() == {"0", "1", "2", "3", "4"}
    assert [(job, str(error)) for job, error in failures] == [(None, "disk full")] * 2
    assert await engine._database.read(count, jobs) == 0


async def test_a_full_disk_is_not_over_because_something_can_be_read(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "vvwatch.db", FakeClock())

    def pages(tx: Tx, limit: str) -> int:
        return int(tx.conn.exec_driver_sql(f"PRAGMA max_page_count{limit}").scalar_one())

    def fill(tx: Tx) -> None:
        tx.insert(facts, name="large", value=b"x" * 4_000_000)

    async with database.opened():
        used = await database.write(lambda tx: int(tx.conn.exec_driver_sql("PRAGMA page_count").scalar_one()))
        most = await database.write(pages, "")
        await database.write(pages, f"={used}")
        with pytest.raises(StoreUnavailable, match="full"):
            await database.write(fill)
        await database.read(lambda tx: tx.all(sa.select(facts)))
        assert (database.works, "full" in database.trouble) == (False, True)
        await database.write(pages, f"={most}")
        await database.write(fill)
        assert (database.works, database.trouble) == (True, "")
