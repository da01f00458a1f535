"""How much of one import job or run the engine holds at once, and in which order it is put."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.pipeline import PROBE, RESULT, jobs_of, obj, prepare
from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.exports import ExportStatus
from vvwatch.core.imports import FileStatus
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store.db import fairness
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.delivery import exports
from vvwatch.store.imports import imports, retrying
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.runs import runs
from vvwatch.store.schema import (
    deliveries,
    events,
    import_automations,
    import_files,
    import_jobs,
    prompt_runs,
    run_items,
    webhooks,
)
from vvwatch.store.schema import exports as export_table
from vvwatch.store.watching import automations, windows

pytestmark = pytest.mark.anyio

IMPORTED = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri="file:///in/a.mp4")


async def automation(database: Database, **settings: Any) -> ImportAutomation:
    return await database.write(lambda tx: prepare(tx, **settings))


async def started(database: Database, clock: FakeClock, files: int, concurrency: int) -> list[Job]:
    """An import job of so many files; returns the jobs that were put for them."""
    row = await automation(database, concurrency=concurrency)
    found = [obj(f"{number:06}.mp4") for number in range(files)]
    await database.write(windows.accept_objects, row.id, row.generation, found)
    clock.advance(300)
    await database.write(windows.close_due, jobs_of(database).take(Kind.WINDOW)[-1])
    return jobs_of(database).take(Kind.IMPORT_FILE)


def in_hand(tx: Tx, table: sa.Table = import_files) -> int:
    return int(
        tx.execute(
            sa.select(sa.func.count()).select_from(table).where(table.c.next_at.is_not(None))
        ).scalar_one()
    )


async def only(database: Database, table: sa.Table) -> sa.Row[Any]:
    return await database.read(lambda tx: tx.execute(sa.select(table)).one())


async def test_only_a_share_is_in_the_engines_hands(database: Database, clock: FakeClock) -> None:
    put = await started(database, clock, 10, 3)
    assert len(put) == 3
    await database.write(imports.finish_file, put[0], IMPORTED)
    assert len(jobs_of(database).take(Kind.IMPORT_FILE)) == 1
    assert await database.read(in_hand) == 3


async def test_each_piece_is_put_once_in_its_order(database: Database, clock: FakeClock) -> None:
    waiting, seen = await started(database, clock, 20, 4), []
    while waiting:
        seen.append(waiting.pop(0))
        await database.write(imports.finish_file, seen[-1], IMPORTED)
        waiting += jobs_of(database).take(Kind.IMPORT_FILE)
    assert [job.ref for job in seen] == sorted({job.ref for job in seen}, key=int)
    assert len(seen) == 20
    assert len(jobs_of(database).take(Kind.RUN_ITEM)) == 4


async def test_a_run_is_fed_by_shares_too(database: Database, clock: FakeClock) -> None:
    for job in await started(database, clock, 5, 5):
        await database.write(imports.finish_file, job, IMPORTED)
    await database.write(lambda tx: tx.execute(sa.update(prompt_runs).values(concurrency=2)))
    for job in jobs_of(database).take(Kind.RUN_ITEM):
        await database.write(runs.begin_item, job)
        await database.write(runs.finish_item, job, RESULT)
    assert (await only(database, prompt_runs)).status == "completed"


async def test_the_first_of_a_whole_goes_before_the_surplus_of_others(
    database: Database, clock: FakeClock
) -> None:
    put = await started(database, clock, 10, 3)
    assert [job.priority for job in put] == [Priority.NORMAL, Priority.SURPLUS, Priority.SURPLUS]


async def test_what_waits_for_another_try_takes_no_share(database: Database, clock: FakeClock) -> None:
    put = await started(database, clock, 10, 2)
    await database.write(imports.retry_file, put[0], clock.now() + 60, "it is away")
    again, following = jobs_of(database).take(Kind.IMPORT_FILE)
    assert (again.ref, again.run_at) == (put[0].ref, clock.now() + 60)
    assert (int(following.ref), following.run_at) == (int(put[1].ref) + 1, clock.now())


async def test_a_storage_that_is_away_is_not_asked_for_all_of_a_million_objects(
    database: Database, clock: FakeClock
) -> None:
    waiting = await started(database, clock, 50, 3)
    tried = 0
    while waiting:
        await database.write(imports.retry_file, waiting.pop(), clock.now() + 60, "it is away")
        tried += 1
        waiting += [job for job in jobs_of(database).take(Kind.IMPORT_FILE) if job.run_at <= clock.now()]
    assert tried == 6
    assert await database.read(in_hand) == 6


@pytest.mark.parametrize(("code", "tried"), [("item_budget_reached", 5), ("budget_reached", 4)])
async def test_items_that_are_too_dear_hold_up_no_other(
    database: Database, clock: FakeClock, code: str, tried: int
) -> None:
    """What one item may cost is its own affair; what all may cost is everybody's."""
    files = await started(database, clock, 5, 2)
    while files:
        await database.write(imports.finish_file, files.pop(), IMPORTED)
        files += jobs_of(database).take(Kind.IMPORT_FILE)
    waiting, begun = jobs_of(database).take(Kind.RUN_ITEM), 0
    assert len(waiting) == 2
    while waiting:
        job = waiting.pop()
        await database.write(runs.begin_item, job)
        await database.write(runs.retry_item, job, clock.now() + 3600, code, "no money", waits=True)
        begun += 1
        waiting += [job for job in jobs_of(database).take(Kind.RUN_ITEM) if job.run_at <= clock.now()]
    assert begun == tried


@pytest.mark.parametrize("ahead", [-2.0, 2.0])
async def test_replicas_whose_clocks_differ_a_little_keep_one_share(
    database: Database, clock: FakeClock, ahead: float
) -> None:
    put = await started(database, clock, 20, 4)
    for job in put[:3]:
        clock.jump(ahead)
        await database.write(imports.finish_file, job, IMPORTED)
        assert await database.read(in_hand) == 4
        clock.jump(-ahead)


async def test_those_who_finish_at_once_keep_exactly_a_share(database: Database, clock: FakeClock) -> None:
    """On a server they run side by side, lose races for the job's row, and run again."""
    put, ended = await started(database, clock, 24, 6), Counter[str]()

    async def finish(job: Job) -> None:
        assert await database.write(imports.finish_file, job, IMPORTED) is not None
        ended[job.ref] += 1

    while put:
        async with anyio.create_task_group() as tasks:
            for job in put:
                tasks.start_soon(finish, job)
        put = jobs_of(database).take(Kind.IMPORT_FILE)
        assert await database.read(in_hand) == min(6, 24 - ended.total())
    assert set(ended.values()) == {1}
    assert ended.total() == (await only(database, import_jobs)).imported == 24


async def test_a_chain_that_broke_goes_on(database: Database, clock: FakeClock) -> None:
    await started(database, clock, 10, 3)
    assert await database.read(fairness.list_starving) == []
    await database.write(lambda tx: tx.execute(sa.update(import_files).values(next_at=None)))
    [(kind, job_id)] = await database.read(fairness.list_starving)
    assert await database.write(fairness.feed_starving, kind, job_id) == 3
    assert await database.write(fairness.feed_starving, kind, job_id) == 0
    assert await database.read(fairness.list_starving) == []


async def test_a_run_whose_chain_broke_goes_on(database: Database, clock: FakeClock) -> None:
    for job in await started(database, clock, 3, 3):
        await database.write(imports.finish_file, job, IMPORTED)
    await database.write(lambda tx: tx.execute(sa.update(run_items).values(next_at=None)))
    [(kind, run_id)] = await database.read(fairness.list_starving)
    assert kind is Kind.RUN_ITEM
    assert await database.write(fairness.feed_starving, kind, run_id) == 3


async def test_what_is_over_is_not_fed(database: Database, clock: FakeClock) -> None:
    await started(database, clock, 10, 3)

    def cancel(tx: Tx) -> str:
        tx.execute(sa.update(import_files).values(next_at=None))
        tx.execute(sa.update(import_jobs).values(status="cancelled"))
        return str(tx.execute(sa.select(import_jobs.c.id)).scalar_one())

    job_id = await database.write(cancel)
    assert await database.read(fairness.list_starving) == []
    assert await database.write(fairness.feed_starving, Kind.IMPORT_FILE, job_id) == 0


async def test_a_window_fired_by_hand_goes_first_to_the_end(database: Database) -> None:
    row = await automation(database, concurrency=2)
    accepted = await database.write(
        windows.accept_objects, row.id, row.generation, [obj(f"{n}.mp4") for n in range(3)]
    )
    assert accepted.window_id is not None
    await database.write(windows.fire_window, accepted.window_id)
    waiting = jobs_of(database).take(Kind.IMPORT_FILE)
    while waiting:
        assert {job.priority for job in waiting} == {Priority.MANUAL}
        await database.write(imports.finish_file, waiting.pop(), IMPORTED)
        waiting += jobs_of(database).take(Kind.IMPORT_FILE)
    assert (await only(database, prompt_runs)).priority == Priority.MANUAL
    assert {job.priority for job in jobs_of(database).take(Kind.RUN_ITEM)} == {Priority.MANUAL}


async def test_even_what_is_done_by_hand_starves_nobody(database: Database, clock: FakeClock) -> None:
    row = await automation(database, concurrency=200)
    found = [obj(f"{number:03}.mp4") for number in range(200)]
    accepted = await database.write(windows.accept_objects, row.id, row.generation, found)
    assert accepted.window_id is not None
    await database.write(windows.fire_window, accepted.window_id)
    given = Counter(job.priority for job in jobs_of(database).take(Kind.IMPORT_FILE))
    assert given == {Priority.MANUAL: 100, Priority.SURPLUS: 100}


async def test_a_scan_that_a_person_asks_for_goes_first(database: Database) -> None:
    row = await automation(database)
    jobs_of(database).jobs.clear()
    await database.write(automations.scan_now, row.id)
    assert [job.priority for job in jobs_of(database).take(Kind.SCAN)] == [Priority.MANUAL]


async def test_what_a_person_tries_again_goes_first(database: Database, clock: FakeClock) -> None:
    await automation(database)

    def fail(tx: Tx) -> None:
        tx.insert(webhooks, id="wh_a", name="a", url="https://example.com", secret=b"x", events=["x"])
        tx.insert(events, id="evt_a", type="x", occurrence="x:a", data={}, created_at=tx.now)
        tx.insert(deliveries, id="del_a", event_id="evt_a", webhook_id="wh_a", status=DeliveryStatus.FAILED)
        whole = {"export_type": "index", "index_id": "idx_main", "created_at": tx.now}
        tx.insert(export_table, id="exp_a", status=ExportStatus.FAILED, **whole)

    await database.write(fail)
    await database.write(retrying.retry_delivery, "del_a")
    await database.write(retrying.retry_export, "exp_a")
    put = [job for kind in (Kind.DELIVERY, Kind.EXPORT) for job in jobs_of(database).take(kind)]
    assert [job.priority for job in put] == [Priority.MANUAL, Priority.MANUAL]
    assert (await database.write(exports.begin, put[1])) is not None
    assert (await only(database, export_table)).status == ExportStatus.PROCESSING


async def test_an_edit_that_names_no_share_keeps_it(database: Database) -> None:
    assert (await automation(database)).concurrency == 16
    assert (await automation(database, concurrency=3)).concurrency == 3
    assert (await automation(database, debounce_interval="10m")).concurrency == 3
    assert (await only(database, import_automations)).concurrency == 3


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_finishing_one_of_many_reads_a_few(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement by itself: none reads a table, and none sorts."""
    put = await started(database, clock, 50, 4)
    assert isinstance(database, SqliteDatabase)
    said: list[tuple[str, Any]] = []

    def listen(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    sa.event.listen(database._writer, "before_cursor_execute", listen)
    await database.write(imports.finish_file, put[0], IMPORTED)
    sa.event.remove(database._writer, "before_cursor_execute", listen)

    def plans(tx: Tx) -> list[str]:
        asked = [(text, given) for text, given in said if not text.startswith(("PRAGMA", "INSERT", "BEGIN"))]
        return [
            f"{row.detail} ({text})"
            for text, given in asked
            for row in tx.conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given)
        ]

    steps = await database.read(plans)
    assert any("import_files_fresh" in step for step in steps)
    assert any("import_files_busy" in step for step in steps)
    assert [step for step in steps if step.startswith(("SCAN import", "USE TEMP B-TREE"))] == []
