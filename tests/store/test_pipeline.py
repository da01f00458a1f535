from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.pipeline import PROBE, RESULT, count, jobs_of, obj, prepare
from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.media import ProcessingResult
from vvwatch.core.networks import PUBLIC_ONLY
from vvwatch.core.retries import DELIVERY_DELAYS
from vvwatch.core.runs import RunStatus
from vvwatch.core.windows import WindowPolicy
from vvwatch.ports import Job, Kind, WriteResult
from vvwatch.store.db.database import Database, Tx, requeue_overdue
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.delivery import deliveries, exports, webhooks
from vvwatch.store.delivery.deliveries import AttemptResult, EndedAttempt, FinishResult
from vvwatch.store.delivery.webhooks import WebhookSpec
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.runs import runs
from vvwatch.store.schema import deliveries as delivery_table
from vvwatch.store.schema import (
    events,
    export_automations,
    import_automations,
    import_files,
    import_jobs,
    prompt_runs,
    run_items,
)
from vvwatch.store.schema import webhooks as webhook_table
from vvwatch.store.watching import automations, ledger, windows

pytestmark = pytest.mark.anyio

IMPORTED = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri="file:///in/a.mp4")
FAILED = FileOutcome(FileStatus.FAILED, "media_unreadable", "not media")
BOX = SecretBox(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")


async def one(database: Database, table: sa.Table) -> sa.Row[Any]:
    return await database.read(lambda tx: tx.execute(sa.select(table)).one())


async def close_window(database: Database, clock: FakeClock, *keys: str) -> list[Job]:
    """A closed window with these objects; returns the jobs of its files, in order."""
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, row.generation, [obj(key) for key in keys])
    clock.advance(300)
    await database.write(windows.close_due, jobs_of(database).take(Kind.WINDOW)[0])
    return jobs_of(database).take(Kind.IMPORT_FILE)


async def told(database: Database) -> list[str]:
    rows = await database.read(lambda tx: tx.all(sa.select(events.c.type).order_by(events.c.id)))
    return [row.type for row in rows]


async def test_the_whole_way_once(database: Database, clock: FakeClock) -> None:
    for job in await close_window(database, clock, "a.mp4", "b.mp4"):
        await database.write(imports.begin_file, job)
        await database.write(imports.finish_file, job, IMPORTED)
    items = jobs_of(database).take(Kind.RUN_ITEM)
    assert len(items) == 2
    for job in items:
        await database.write(runs.begin_item, job)
        await database.write(runs.finish_item, job, RESULT)
    [job] = jobs_of(database).take(Kind.EXPORT)
    work = await database.write(exports.begin, job)
    assert work is not None
    assert [run.status for run in work.runs] == [RunStatus.COMPLETED]
    await database.write(exports.finish, job, WriteResult("file:///out/x.json", 10, "00"), delivered=True)
    assert (await told(database))[0] == "import_job.started"
    assert (await told(database))[-2:] == ["prompt_run.completed", "export.ready"]
    assert (await one(database, import_jobs)).execution_status == "submitted"


async def test_a_stale_job_ends_no_file(database: Database, clock: FakeClock) -> None:
    [job, _] = await close_window(database, clock, "a.mp4", "b.mp4")
    assert await database.write(imports.finish_file, job, IMPORTED) is not None
    assert await database.write(imports.finish_file, job, IMPORTED) is None
    assert await database.write(imports.begin_file, job) is None
    assert (await one(database, import_jobs)).imported == 1


async def test_some_failures_complete_the_job_and_say_so(database: Database, clock: FakeClock) -> None:
    good, bad = await close_window(database, clock, "a.mp4", "b.mp4")
    await database.write(imports.finish_file, bad, FAILED)
    end = await database.write(imports.finish_file, good, IMPORTED)
    assert end is not None
    assert (end.job_status, end.imported, end.failed) == (ImportStatus.COMPLETED, 1, 1)
    assert "import_job.partial_completed" in await told(database)
    assert (await one(database, prompt_runs)).total_items == 1


async def test_nothing_imported_starts_no_run(database: Database, clock: FakeClock) -> None:
    [job] = await close_window(database, clock, "a.mp4")
    end = await database.write(imports.finish_file, job, FAILED)
    assert end is not None
    assert (end.job_status, end.run_id) == (ImportStatus.FAILED, None)
    assert "a.mp4: not media" in (await one(database, import_jobs)).error_message
    assert await database.read(count, prompt_runs) == 0


async def run_of_one(database: Database, clock: FakeClock) -> Job:
    [job] = await close_window(database, clock, "a.mp4")
    await database.write(imports.finish_file, job, IMPORTED)
    return jobs_of(database).take(Kind.RUN_ITEM)[0]


async def test_damage_is_never_passed_as_good(database: Database, clock: FakeClock) -> None:
    job = await run_of_one(database, clock)
    damaged = ProcessingResult(RESULT.segments, {}, "", damage=("decoding stopped at 2 s of 4 s",))
    end = await database.write(runs.finish_item, job, damaged)
    assert end is not None
    assert end.run_status is RunStatus.COMPLETED_WITH_FAILURES
    assert end.export_id is not None
    assert (await one(database, run_items)).error_message == "decoding stopped at 2 s of 4 s"


async def test_a_failed_run_is_not_exported(database: Database, clock: FakeClock) -> None:
    job = await run_of_one(database, clock)
    end = await database.write(runs.fail_item, job, "media_unreadable", "it broke")
    assert end is not None
    assert (end.run_status, end.export_id) == (RunStatus.FAILED, None)


async def test_a_paused_export_automation_catches_up(database: Database, clock: FakeClock) -> None:
    job = await run_of_one(database, clock)
    await database.write(automations.pause_export, "idx_main", paused=True)
    end = await database.write(runs.finish_item, job, RESULT)
    assert end is not None
    assert end.export_id is None
    await database.write(automations.pause_export, "idx_main", paused=False)
    assert len(jobs_of(database).take(Kind.EXPORT)) == 1
    await database.write(automations.pause_export, "idx_main", paused=False)
    assert jobs_of(database).take(Kind.EXPORT) == []
    assert (await one(database, export_automations)).last_export_id is not None


async def test_the_sweep_puts_again_what_the_engine_lost(database: Database, clock: FakeClock) -> None:
    await close_window(database, clock, "a.mp4", "b.mp4")
    sink = jobs_of(database)
    sink.jobs.clear()
    clock.advance(60)
    assert await database.write(requeue_overdue, sink, 5.0) == 3  # two files and the scan
    assert await database.write(requeue_overdue, sink, 5.0) == 0
    assert len(sink.take(Kind.IMPORT_FILE)) == 2


async def webhook(database: Database, *event_types: str, index_ids: tuple[str, ...] | None = None) -> str:
    spec = WebhookSpec("hook", "https://example.com/hook", event_types, index_ids)

    def create(tx: Tx) -> str:
        return str(webhooks.create(tx, BOX, spec, PUBLIC_ONLY)[0].id)

    return await database.write(create)


async def delivery(database: Database, clock: FakeClock) -> Job:
    await database.write(prepare)
    await webhook(database, "import_job.started", "media.created", index_ids=("idx_main",))
    await close_window(database, clock, "a.mp4")
    return jobs_of(database).take(Kind.DELIVERY)[0]


async def test_each_attempt_is_noted_before_it_is_made(database: Database, clock: FakeClock) -> None:
    job = await delivery(database, clock)
    [first] = await database.write(deliveries.begin_all, [job])
    [second] = await database.write(deliveries.begin_all, [job])  # the first died with its daemon
    assert first is not None
    assert second is not None
    assert (first.delivery.attempts, second.delivery.attempts) == (1, 2)
    answer = AttemptResult(200, "ok", None, 0.1)
    args = [EndedAttempt(job, 2, answer, DeliveryStatus.DELIVERED)], 20, DELIVERY_DELAYS
    assert await database.write(deliveries.finish_all, *args) == [FinishResult.KEPT]
    assert await database.write(deliveries.finish_all, *args) == [FinishResult.STALE]
    assert (await one(database, delivery_table)).status == "delivered"


async def test_a_failing_webhook_is_disabled_and_then_told_nothing(
    database: Database, clock: FakeClock
) -> None:
    job, noted = await delivery(database, clock), list[FinishResult]()
    for number in (1, 2, 3):
        assert await database.write(deliveries.begin_all, [job]) != [None]
        answer = AttemptResult(500, "", None, 0.1)
        ended = EndedAttempt(job, number, answer, DeliveryStatus.RETRYING, clock.now())
        noted += await database.write(deliveries.finish_all, [ended], 3, DELIVERY_DELAYS)
        [job] = jobs_of(database).take(Kind.DELIVERY)
    assert (await one(database, webhook_table)).status == "disabled"
    assert noted == [FinishResult.KEPT, FinishResult.KEPT, FinishResult.DISABLED]
    assert await database.write(deliveries.begin_all, [job]) == [None]
    assert (await one(database, delivery_table)).status == "retrying"


async def test_events_reach_only_those_who_asked(database: Database, clock: FakeClock) -> None:
    await database.write(prepare)
    await webhook(database, "import_job.completed")
    await close_window(database, clock, "a.mp4")
    assert jobs_of(database).take(Kind.DELIVERY) == []


async def test_progress_is_told_in_quarters(database: Database, clock: FakeClock) -> None:
    jobs = await close_window(database, clock, *(f"{n:02}.mp4" for n in range(40)))
    while jobs:
        await database.write(imports.finish_file, jobs.pop(), IMPORTED)
        jobs += jobs_of(database).take(Kind.IMPORT_FILE)
    assert (await told(database)).count("import_job.progress") == 3


async def test_a_file_that_cannot_be_read_now_is_tried_again(database: Database, clock: FakeClock) -> None:
    [job] = await close_window(database, clock, "a.mp4")
    await database.write(imports.begin_file, job)
    await database.write(imports.retry_file, job, clock.now() + 5, "the folder is gone")
    [again] = jobs_of(database).take(Kind.IMPORT_FILE)
    assert (again.run_at, again.revision) == (clock.now() + 5, job.revision + 1)
    assert (await one(database, import_files)).message == "the folder is gone"


@pytest.mark.parametrize("code", ["object_changed", "gone"])
async def test_what_was_replaced_or_away_counts_as_new_again(
    database: Database, clock: FakeClock, code: str
) -> None:
    """Else `new_only`, or a mount that was late, would lose it."""
    [job] = await close_window(database, clock, "a.mp4")
    automation = await one(database, import_automations)
    declined = [obj("a.mp4", "v2")]
    await database.write(windows.acknowledge_objects, automation.id, automation.generation, declined)
    jobs_of(database).take(Kind.SCAN)
    await database.write(imports.finish_file, job, FileOutcome(FileStatus.SKIPPED, code, "it moved"))
    assert await database.read(ledger.list_recorded, automation.scope_id, ["a.mp4"]) == []
    [scan] = jobs_of(database).take(Kind.SCAN)
    assert scan.run_at == clock.now()


async def test_a_clock_that_was_set_back_holds_nothing_up(database: Database, clock: FakeClock) -> None:
    row = await database.write(prepare)
    await database.write(automations.record_scan, jobs_of(database).take(Kind.SCAN)[0], 60)
    await database.write(windows.accept_objects, row.id, row.generation, [obj("a.mp4")])
    clock.jump(-86_400)
    jobs_of(database).jobs.clear()
    await database.write(requeue_overdue, jobs_of(database), 5.0)
    due = {job.kind: job.run_at for job in jobs_of(database).jobs}
    assert due == {Kind.SCAN: clock.now(), Kind.WINDOW: clock.now()}


async def test_pieces_are_not_held_up_by_a_clock_that_was_set_back(
    database: Database, clock: FakeClock
) -> None:
    """Trap 25: what was not tried to its end is due at once, what waits for another try waits on."""
    untried, waiting = await close_window(database, clock, "a.mp4", "b.mp4")
    await database.write(imports.retry_file, waiting, clock.now() + 300, "the folder is gone")
    for days, refs in ((0, set()), (-1 / 24, {untried.ref}), (-2, {untried.ref, waiting.ref})):
        clock.jump(days * 86_400)
        jobs_of(database).jobs.clear()
        await database.write(requeue_overdue, jobs_of(database), 5.0)
        due = {job.ref: job.run_at for job in jobs_of(database).take(Kind.IMPORT_FILE)}
        assert due == dict.fromkeys(refs, clock.now())


async def test_what_a_clock_that_is_ahead_saw_for_the_first_time_is_not_held_up_by_its_correction(
    database: Database, clock: FakeClock
) -> None:
    """Before the network is there, at the start of many a machine, the clock is wrong and nothing succeeds."""
    await webhook(database, "import_job.started")
    await close_window(database, clock, "a.mp4")
    for kinds in ({Kind.SCAN, Kind.DELIVERY, Kind.IMPORT_FILE}, {Kind.SCAN}):
        clock.jump(-28_800)
        jobs_of(database).jobs.clear()
        await database.write(requeue_overdue, jobs_of(database), 5.0)
        assert {job.kind for job in jobs_of(database).jobs if job.run_at == clock.now()} == kinds
        [scan] = jobs_of(database).take(Kind.SCAN)
        clock.jump(28_800)
        await database.write(automations.record_scan_failure, scan, 30.0, "no network", "")


async def test_a_shorter_debounce_reaches_the_open_window(database: Database, clock: FakeClock) -> None:
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, row.generation, [obj("a.mp4")])
    await database.write(prepare, WindowPolicy(10, 60, 10_000))
    job = jobs_of(database).take(Kind.WINDOW)[-1]
    assert job.run_at == clock.now()
    assert await database.write(windows.close_due, job) is None
    [job] = jobs_of(database).take(Kind.WINDOW)
    assert job.run_at == clock.now() + 10


async def test_keys_that_lie_far_apart_are_found_without_reading_between(database: Database) -> None:
    row = await database.write(prepare)
    many = [obj(f"{n:05}.mp4") for n in range(3000)]
    await database.write(ledger.record_versions, row.scope_id, many, 1)
    found = await database.read(ledger.list_recorded, row.scope_id, ["00000.mp4", "02999.mp4", "99999.mp4"])
    assert sorted(found) == [("00000.mp4", "v1"), ("02999.mp4", "v1")]
