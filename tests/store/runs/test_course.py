"""Whole runs: how their items come in, and how they are called off, whatever stops in between."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.footage import INDEX, added_up, items, led, run_of, shot, started, statuses, told
from tests.store.pipeline import RESULT, jobs_of
from vvwatch.core.media import ProcessingResult
from vvwatch.core.runs import RunStatus
from vvwatch.errors import NotFound
from vvwatch.ports import Kind
from vvwatch.store.admin import deletions, invariants
from vvwatch.store.db import fairness
from vvwatch.store.db.database import Database, Tx, requeue_overdue
from vvwatch.store.imports import imports
from vvwatch.store.runs import batches, course, runs
from vvwatch.store.runs.batches import MediaSet
from vvwatch.store.schema import import_jobs, indexes, media, prompt_runs, run_items

pytestmark = pytest.mark.anyio


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 3)


async def sound(database: Database) -> bool:
    return not any(finding.count for finding in await database.read(invariants.findings))


async def test_a_small_run_is_whole_at_once(database: Database) -> None:
    await shot(database, 5)
    run = await run_of(database, await started(database))
    assert (run.total_items, run.filling, run.next_at) == (5, None, None)
    assert len(items(database)) == 5


async def test_the_media_of_a_large_run_come_in_by_pieces(database: Database, small_pieces: None) -> None:
    wanted = await shot(database, 8)
    run_id = await started(database, concurrency=2)
    assert (await run_of(database, run_id)).total_items == 3
    assert await sound(database)
    assert await led(database) == 2
    run = await run_of(database, run_id)
    assert (run.total_items, run.filling) == (8, None)
    chosen = sa.select(run_items.c.media_id).order_by(run_items.c.id)
    assert await database.read(lambda tx: tx.execute(chosen).scalars().all()) == wanted
    assert await told(database) == ["started"]
    assert await sound(database)


async def test_media_that_come_later_are_not_of_the_run(database: Database, small_pieces: None) -> None:
    await shot(database, 4)
    run_id = await started(database)
    await shot(database, 4)
    await led(database)
    assert (await run_of(database, run_id)).total_items == 4


async def test_a_run_does_not_end_while_media_come_in(database: Database, small_pieces: None) -> None:
    await shot(database, 4)
    run_id = await started(database)
    for job in items(database):
        await database.write(runs.finish_item, job, RESULT)
    assert (await run_of(database, run_id)).status != RunStatus.COMPLETED
    await led(database)
    [job] = items(database)
    end = await database.write(runs.finish_item, job, RESULT)
    assert end is not None
    assert end.run_status is RunStatus.COMPLETED


async def test_a_run_whose_last_media_were_deleted_meanwhile_ends(
    database: Database, small_pieces: None
) -> None:
    ids = await shot(database, 4)
    run_id = await started(database)
    await database.write(deletions.delete_video, ids[3])
    for job in items(database):
        await database.write(runs.finish_item, job, RESULT)
    await led(database)
    assert (await run_of(database, run_id)).status == RunStatus.COMPLETED
    assert await sound(database)


async def test_what_the_engine_lost_comes_in_all_the_same(
    database: Database, clock: FakeClock, small_pieces: None
) -> None:
    await shot(database, 7)
    run_id = await started(database)
    jobs_of(database).jobs.clear()
    clock.advance(60)
    await database.write(requeue_overdue, jobs_of(database), 5.0)
    await led(database)
    assert (await run_of(database, run_id)).total_items == 7


async def test_a_step_that_came_twice_is_taken_once(database: Database, small_pieces: None) -> None:
    await shot(database, 7)
    run_id = await started(database)
    [job] = jobs_of(database).take(Kind.RUN)
    await database.write(course.advance, job)
    assert await database.write(course.advance, job) is None
    assert (await run_of(database, run_id)).total_items == 6


async def test_cancelling_lets_what_is_under_way_end(database: Database) -> None:
    await shot(database, 6)
    run_id = await started(database, concurrency=3)
    begun, *waiting = items(database)
    await database.write(runs.begin_item, begun)
    run = await database.write(course.cancel, run_id, "key_1")
    assert (run.status, run.cancelled_items) == (RunStatus.PROCESSING, 5)
    assert run.stop is not None
    assert (run.stop["requested_by"], run.stop["mode"]) == ("key_1", "graceful")
    for job in waiting:
        assert await database.write(runs.begin_item, job) is None
    end = await database.write(runs.finish_item, begun, RESULT)
    assert end is not None
    assert (end.run_status, end.export_id) == (RunStatus.CANCELLED, None)
    assert await told(database) == ["started", "cancelled"]
    assert items(database) == jobs_of(database).take(Kind.EXPORT) == []
    assert await sound(database)


async def test_a_run_with_nothing_under_way_is_cancelled_at_once(database: Database) -> None:
    await shot(database, 3)
    run_id = await started(database)
    run = await database.write(course.cancel, run_id, "key_1")
    assert run.stop is not None
    assert (run.status, run.cancelled_items, run.completed_at) == (
        RunStatus.CANCELLED,
        3,
        run.stop["requested_at"],
    )
    assert set(await statuses(database)) == {"cancelled"}


async def test_a_large_run_is_called_off_by_pieces(database: Database, small_pieces: None) -> None:
    await shot(database, 11)
    run_id = await started(database, concurrency=2)
    await led(database)
    run = await database.write(course.cancel, run_id, "key_1")
    assert (run.status, run.cancelled_items) == (RunStatus.PENDING, 5)
    assert await sound(database)
    assert await led(database) == 2
    run = await run_of(database, run_id)
    assert (run.status, run.cancelled_items) == (RunStatus.CANCELLED, 11)
    assert await told(database) == ["started", "cancelled"]


async def test_a_run_that_is_cancelled_takes_nothing_more_in(database: Database, small_pieces: None) -> None:
    await shot(database, 9)
    run_id = await started(database, concurrency=2)
    await database.write(course.cancel, run_id, "key_1")
    await led(database)
    run = await run_of(database, run_id)
    assert (run.status, run.total_items, run.cancelled_items) == (RunStatus.CANCELLED, 3, 3)


async def test_calling_off_goes_on_after_a_crash(
    database: Database, clock: FakeClock, small_pieces: None
) -> None:
    await shot(database, 11)
    run_id = await started(database, concurrency=2)
    await led(database)
    await database.write(course.cancel, run_id, "key_1")
    jobs_of(database).jobs.clear()
    clock.advance(60)
    await database.write(requeue_overdue, jobs_of(database), 5.0)
    await led(database)
    assert (await run_of(database, run_id)).status == RunStatus.CANCELLED


async def test_an_item_that_waits_for_another_try_is_called_off(database: Database, clock: FakeClock) -> None:
    [video] = await shot(database, 1)
    run_id = await started(database)
    [job] = items(database)
    await database.write(runs.begin_item, job)
    await database.write(runs.retry_item, job, clock.now() + 60, "storage_unavailable", "it is away")
    run = await database.write(course.cancel, run_id, "key_1")
    assert (run.status, run.cancelled_items) == (RunStatus.CANCELLED, 1)
    row = await database.read(lambda tx: tx.require(media, "video", video))
    assert row.status == "not_processed"


@pytest.mark.parametrize(("before", "stands"), [(RESULT, "processed"), (None, "failed")])
async def test_media_that_is_called_off_stands_as_its_last_run_left_it(
    database: Database, clock: FakeClock, before: ProcessingResult | None, stands: str
) -> None:
    [video] = await shot(database, 1)
    await started(database)
    [job] = items(database)
    if before is None:
        await database.write(runs.fail_item, job, "media_unreadable", "it broke")
    else:
        await database.write(runs.finish_item, job, before)
    run_id = await started(database)
    [job] = items(database)
    await database.write(runs.begin_item, job)
    await database.write(runs.retry_item, job, clock.now() + 60, "storage_unavailable", "it is away")
    await database.write(course.cancel, run_id, "key_1")
    row = await database.read(lambda tx: tx.require(media, "video", video))
    assert row.status == stands


async def test_media_that_another_run_processes_is_being_processed(
    database: Database, clock: FakeClock
) -> None:
    [video] = await shot(database, 1)
    await started(database)
    run_id = await started(database)
    for job in items(database):
        await database.write(runs.begin_item, job)
    await database.write(runs.retry_item, job, clock.now() + 60, "storage_unavailable", "it is away")
    await database.write(course.cancel, run_id, "key_1")
    row = await database.read(lambda tx: tx.require(media, "video", video))
    assert row.status == "processing"


async def test_in_a_run_that_is_to_stop_nothing_is_tried_again(database: Database, clock: FakeClock) -> None:
    await shot(database, 2)
    run_id = await started(database)
    begun, _ = items(database)
    await database.write(runs.begin_item, begun)
    await database.write(course.cancel, run_id, "key_1")
    end = await database.write(runs.retry_item, begun, clock.now() + 60, "storage_unavailable", "it is away")
    assert end is not None
    assert (end.status, end.run_status) == ("failed", RunStatus.CANCELLED)
    assert items(database) == []


async def test_cancelling_twice_changes_nothing(database: Database) -> None:
    await shot(database, 3)
    run_id = await started(database)
    await database.write(runs.begin_item, items(database)[0])
    first = await database.write(course.cancel, run_id, "key_1")
    assert await database.write(course.cancel, run_id, "key_2") == first


async def test_a_run_that_has_ended_stays_as_it_is(database: Database) -> None:
    await shot(database, 1)
    run_id = await started(database)
    await database.write(runs.finish_item, items(database)[0], RESULT)
    run = await database.write(course.cancel, run_id, "key_1")
    assert (run.status, run.stop) == (RunStatus.COMPLETED, None)
    with pytest.raises(NotFound):
        await database.write(course.cancel, "run_none", "key_1")


async def test_the_sweep_puts_nothing_of_a_run_that_is_to_stop(
    database: Database, small_pieces: None
) -> None:
    await shot(database, 9)
    run_id = await started(database, concurrency=2)
    await led(database)
    await database.write(runs.begin_item, items(database)[0])
    await database.write(course.cancel, run_id, "key_1")

    assert await database.read(fairness.list_starving) == []
    assert items(database) == []


async def test_a_run_of_another_index_is_broken_off_with_its_media(
    database: Database, clock: FakeClock, small_pieces: None
) -> None:
    ids = await shot(database, 7)
    await database.write(lambda tx: tx.insert(indexes, id="idx_other", name="other", created_at=clock.now()))
    moved = sa.update(media).where(media.c.id == ids[0]).values(index_id="idx_other")
    await database.write(lambda tx: tx.execute(moved))
    run_id = await started(database, concurrency=2)
    await led(database)
    await database.write(runs.begin_item, items(database)[0])
    await database.write(lambda tx: course.abort(tx, runs.get(tx, run_id)))
    run = await run_of(database, run_id)
    assert run.status == RunStatus.CANCELLED
    assert await told(database) == ["started", "cancelled"]
    await led(database)
    assert await database.read(added_up)
    assert (await run_of(database, run_id)).cancelled_items == run.total_items


async def import_job(database: Database, status: str) -> None:
    row = {"id": "job_1", "index_id": INDEX, "status": status, "total_files": 0}

    def save(tx: Tx) -> None:
        tx.execute(sa.delete(import_jobs))
        tx.insert(import_jobs, **row)

    await database.write(save)


AWAITED = MediaSet("import_job", "job_1", awaited=True)


async def test_a_run_waits_for_its_import(database: Database, clock: FakeClock) -> None:
    ids = await shot(database, 2)
    await import_job(database, "importing")
    run_id = await started(database, AWAITED, import_job_id="job_1")
    assert await told(database) == []
    [job] = jobs_of(database).take(Kind.RUN)
    assert job.run_at == clock.now() + runs.LOOK_AGAIN_SECONDS
    await database.write(course.advance, job)
    assert (await run_of(database, run_id)).status == RunStatus.PENDING
    made = sa.update(media).where(media.c.id.in_(ids)).values(import_job_id="job_1")
    await database.write(lambda tx: tx.execute(made))

    def end(tx: Tx) -> str | None:
        job = imports.get(tx, "job_1")
        assert (job.run_id, job.execution_status) == (run_id, "pending")
        return runs.start_after_import(tx, job)

    assert await database.write(end) == run_id
    await database.write(lambda tx: tx.update(import_jobs, "job_1", status="completed"))
    await led(database)
    assert (await run_of(database, run_id)).total_items == 2
    assert await told(database) == ["started"]


@pytest.mark.parametrize(("import_ends", "run_ends"), [("failed", "failed"), ("cancelled", "cancelled")])
async def test_a_run_ends_as_the_import_that_made_nothing(
    database: Database, import_ends: str, run_ends: str
) -> None:
    await shot(database, 1)
    await import_job(database, import_ends)
    run_id = await started(database, AWAITED)
    await led(database)
    run = await run_of(database, run_id)
    assert (run.status, run.total_items, run.next_at) == (run_ends, 0, None)
    assert run.error_message is not None
    assert "job_1" in run.error_message
    assert await told(database) == [run_ends]


async def test_a_run_that_waits_can_be_cancelled(database: Database) -> None:
    await shot(database, 1)
    await import_job(database, "importing")
    run_id = await started(database, AWAITED)
    run = await database.write(course.cancel, run_id, "key_1")
    assert (run.status, run.total_items) == (RunStatus.CANCELLED, 0)
    assert await led(database) == 1
    assert await database.read(lambda tx: tx.all(sa.select(prompt_runs.c.next_at))) == [(None,)]
