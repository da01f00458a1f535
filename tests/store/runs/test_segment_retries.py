"""Retries: what is found replaces the failure and nothing else, and everything that counts it follows."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.footage import BAD, GOOD, HALF, INDEX, added_up, items, run_of, shot, started, told
from tests.store.pipeline import RESULT, jobs_of
from vvwatch.core.exports import ExportStatus
from vvwatch.core.identities import WHOLE, segment_id, segment_of
from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.core.processors import ProcessorInfo, ProcessorNames
from vvwatch.core.runs import ItemStatus, RetryStatus, RunStatus
from vvwatch.errors import Conflict, ModelNotConfigured, NotFound
from vvwatch.ports import Job, Kind
from vvwatch.store.admin import clearing, deletions
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx, requeue_overdue
from vvwatch.store.runs import runs, segment_retries
from vvwatch.store.runs.batches import whole_index
from vvwatch.store.runs.segment_retries import RetryEnd, RetryWork
from vvwatch.store.schema import deletions as deletions_table
from vvwatch.store.schema import exports, prompt_runs, run_items, segment_results

pytestmark = pytest.mark.anyio

FIXED = Segment(2.0, 4.0, {"subject": "a cat"}, "a cat")
WHOLE_RESULT = ProcessingResult((GOOD, FIXED), {"cuts": 1}, "one cut")


async def ended(database: Database, *results: ProcessingResult | None) -> tuple[str, list[str]]:
    """A run whose items came to this (None: they failed); returns its id, and those of the media."""
    videos = await shot(database, len(results))
    run_id = await started(database)
    for job, result in zip(items(database), results, strict=True):
        await database.write(runs.begin_item, job)
        if result is None:
            await database.write(runs.fail_item, job, "media_unreadable", "moov atom not found")
        else:
            await database.write(runs.finish_item, job, result)
    jobs_of(database).take(Kind.EXPORT)
    await database.write(lambda tx: tx.execute(sa.update(exports).values(status=ExportStatus.COMPLETED)))
    return run_id, videos


async def names(database: Database) -> list[int]:
    chosen = sa.select(run_items.c.id).order_by(run_items.c.id)
    return await database.read(lambda tx: list(tx.execute(chosen).scalars()))


async def asked(database: Database, run_id: str, video: str, segment: str) -> Job:
    await database.write(segment_retries.request, run_id, video, segment)
    [job] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    return job


async def item(database: Database) -> Any:
    return await database.read(lambda tx: tx.execute(sa.select(run_items)).one())


async def test_a_segment_is_mended(database: Database) -> None:
    run_id, [video] = await ended(database, HALF)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    assert job.queue == "segment_retry.technical"
    assert isinstance(await database.write(segment_retries.begin, job), RetryWork)
    end = await database.write(segment_retries.finish, job, WHOLE_RESULT)
    assert end == RetryEnd(job.ref, run_id, None, RunStatus.COMPLETED, None)
    run, row = await run_of(database, run_id), await item(database)
    assert (run.completed_items, run.partial_items, run.completed_segments) == (1, 0, 2)
    assert (row.status, row.failed_segment_count, row.video_metadata) == (ItemStatus.COMPLETED, 0, {})
    found = await database.read(lambda tx: tx.all(sa.select(segment_results)))
    assert [(each.ordinal, each.metadata_text, each.error) for each in found] == [
        (0, "a dog", None),
        (1, "a cat", None),
    ]
    assert await told(database) == ["started", "partial_completed", "completed"]
    assert await database.write(segment_retries.finish, job, WHOLE_RESULT) is None


async def test_a_retry_has_the_processor_that_answers_now_when_the_first_one_has_left(
    database: Database,
) -> None:
    run_id, [video] = await ended(database, None)
    gone: dict[str, Any] = {"processor": "gone", "settings": {"processing_model": "gpt-4"}}
    await database.write(lambda tx: tx.update(prompt_runs, run_id, **gone))
    [number] = await names(database)
    whole = segment_id(number, WHOLE)
    with pytest.raises(ModelNotConfigured, match="no processor answers to the model 'gpt-4'"):
        await database.write(segment_retries.request, run_id, video, whole)
    database.processors = ProcessorNames({"gpt": ProcessorInfo("gpt", "openai", ("gpt-*",))}, "gpt")
    job = await asked(database, run_id, video, whole)
    assert job.queue == "segment_retry.gpt"
    run = await run_of(database, run_id)
    assert (run.processor, run.settings["enable_image_embedding"]) == ("gpt", False)
    assert set(run.not_done or {}) == {"image_embedding"}
    database.processors = ProcessorNames({"new": ProcessorInfo("new", "openai", ("gpt-*",))}, "new")
    await database.write(segment_retries.begin, job)
    await database.write(segment_retries.fail, job, "media_unreadable", "it is damaged")
    await asked(database, run_id, video, whole)
    run = await run_of(database, run_id)
    assert run.processor == "new"
    assert set(run.not_done or {}) == {"image_embedding"}, "what was asked for is still not done"


async def test_a_run_whose_model_nobody_answers_to_begins_and_waits_where_it_is_served(
    database: Database,
) -> None:
    await shot(database, 1)
    run_id = await database.write(_started_with, "gpt-4")
    [job] = items(database)
    assert job.queue == "run_item"
    assert (await run_of(database, run_id)).processor == ""


def _started_with(tx: Tx, model: str) -> str:
    return runs.start_run(
        tx,
        index_id=INDEX,
        prompt_id=catalog.DEFAULT_PROMPT_ID,
        settings={"processing_model": model},
        media_ids=whole_index(tx, INDEX),
        executed_by="key_1",
        context={"type": "index", "index_id": INDEX},
    )


async def test_an_item_with_damage_stays_partial(database: Database) -> None:
    run_id, [video] = await ended(
        database, ProcessingResult((GOOD, BAD), {}, "", damage=("it is cut short",))
    )
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    await database.write(segment_retries.finish, job, WHOLE_RESULT)
    assert (await item(database)).status == ItemStatus.PARTIAL
    assert (await run_of(database, run_id)).status == RunStatus.COMPLETED_WITH_FAILURES


async def test_a_segment_that_fails_once_more_says_why(database: Database) -> None:
    run_id, [video] = await ended(database, HALF)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    again = ProcessingResult((GOOD, Segment(2.0, 4.0, {}, "", error="no answer")), {}, "")
    end = await database.write(segment_retries.finish, job, again)
    assert end == RetryEnd(job.ref, run_id, "no answer")
    row = await database.read(segment_retries.find, run_id, video, segment_id(number, 1), job.ref)
    assert (row.status, row.error_code, row.error_message) == (
        RetryStatus.FAILED,
        "segment_failed",
        "no answer",
    )
    assert await database.read(added_up)


async def test_media_that_is_cut_elsewhere_mends_nothing(database: Database) -> None:
    run_id, [video] = await ended(database, HALF)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    end = await database.write(segment_retries.finish, job, RESULT)
    assert end is not None
    assert end.error is not None
    assert (await item(database)).failed_segment_count == 1


async def test_an_item_that_failed_as_a_whole_is_processed(database: Database) -> None:
    run_id, videos = await ended(database, None, RESULT)
    number = (await names(database))[0]
    job = await asked(database, run_id, videos[0], segment_id(number, WHOLE))
    end = await database.write(segment_retries.finish, job, WHOLE_RESULT)
    assert end is not None
    assert end.run_status is RunStatus.COMPLETED
    run = await run_of(database, run_id)
    assert (run.failed_items, run.completed_items, run.total_segments, run.completed_segments) == (0, 2, 3, 3)
    assert await database.read(added_up)


async def test_a_run_that_failed_is_exported_when_a_retry_saves_it(database: Database) -> None:
    run_id, [video] = await ended(database, None)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, WHOLE))
    end = await database.write(segment_retries.finish, job, HALF)
    assert end is not None
    assert end.run_status is RunStatus.COMPLETED_WITH_FAILURES
    assert end.export_id is not None
    assert (await run_of(database, run_id)).error_message is None
    assert await told(database) == ["started", "failed", "partial_completed"]


NONE = ProcessingResult((BAD, Segment(2.0, 4.0, {}, "", error="cannot see it")), {}, "")
NO_WHOLE = ProcessingResult((GOOD, FIXED), {}, "", whole_error="the model refuses")


async def test_an_item_without_a_good_segment_has_failed_and_each_is_retried(database: Database) -> None:
    run_id, [video] = await ended(database, NONE)
    run, row = await run_of(database, run_id), await item(database)
    assert (run.status, run.failed_items, run.partial_items) == (RunStatus.FAILED, 1, 0)
    assert (row.status, row.error_code) == (ItemStatus.FAILED, "segments_failed")
    assert row.error_message == f"all of its 2 segments failed, the first: {BAD.error}"
    assert (run.total_segments, run.completed_segments) == (2, 0)
    job = await asked(database, run_id, video, segment_id(row.id, 1))
    mended = ProcessingResult((BAD, FIXED), {"summary": "a cat"}, "a cat sums it up")
    await database.write(segment_retries.begin, job)
    end = await database.write(segment_retries.finish, job, mended)
    assert end is not None
    assert (end.error, end.run_status) == (None, RunStatus.COMPLETED_WITH_FAILURES)
    run, row = await run_of(database, run_id), await item(database)
    assert (run.failed_items, run.partial_items, run.completed_segments) == (0, 1, 1)
    left = "1 of 2 segments failed, the first: the answer was cut off"
    assert (row.status, row.error_code, row.error_message) == (ItemStatus.PARTIAL, None, left)
    assert row.video_metadata == {"summary": "a cat"}, "what was paid for is kept"
    assert await told(database) == ["started", "failed", "partial_completed"]
    assert await database.read(added_up)


async def test_a_retry_of_all_of_an_item_that_finds_no_more_has_failed(database: Database) -> None:
    run_id, [video] = await ended(database, NONE)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, WHOLE))
    await database.write(segment_retries.begin, job)
    end = await database.write(segment_retries.finish, job, NONE)
    assert end is not None
    assert (end.error, end.run_status) == ((await item(database)).error_message, None)
    retry = await database.read(segment_retries.get, job.ref)
    assert (retry.status, retry.error_code) == (RetryStatus.FAILED, "segments_failed")
    assert (await item(database)).status == ItemStatus.FAILED
    assert await database.read(added_up)


async def test_a_whole_that_is_missing_is_a_failure_of_its_own(database: Database) -> None:
    run_id, [video] = await ended(database, NO_WHOLE)
    run, row = await run_of(database, run_id), await item(database)
    assert (run.status, run.partial_items) == (RunStatus.COMPLETED_WITH_FAILURES, 1)
    assert (row.error_code, row.error_message) == (
        "video_level_failed",
        "the result of the whole is missing: the model refuses",
    )
    assert (run.tally or {})["video"]["whole_failed"] == 1
    job = await asked(database, run_id, video, segment_id(row.id, WHOLE))
    await database.write(segment_retries.begin, job)
    end = await database.write(segment_retries.finish, job, NO_WHOLE)
    assert end is not None
    assert end.error == row.error_message
    job = await asked(database, run_id, video, segment_id(row.id, WHOLE))
    await database.write(segment_retries.begin, job)
    end = await database.write(segment_retries.finish, job, WHOLE_RESULT)
    assert end == RetryEnd(job.ref, run_id, None, RunStatus.COMPLETED, None)
    run, row = await run_of(database, run_id), await item(database)
    assert (run.completed_items, run.partial_items, (run.tally or {})["video"]["whole_failed"]) == (1, 0, 0)
    assert (row.status, row.error_code, row.video_metadata) == (ItemStatus.COMPLETED, None, {"cuts": 1})
    assert await database.read(added_up)


async def test_a_mended_segment_leaves_a_missing_whole_missing(database: Database) -> None:
    half = ProcessingResult((GOOD, BAD), {}, "", whole_error="the model refuses")
    run_id, [video] = await ended(database, half)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    await database.write(segment_retries.begin, job)
    await database.write(segment_retries.finish, job, WHOLE_RESULT)
    run, row = await run_of(database, run_id), await item(database)
    assert (row.status, row.error_code, row.failed_segment_count) == ("partial", "video_level_failed", 0)
    assert (run.status, (run.tally or {})["video"]["whole_failed"]) == (RunStatus.COMPLETED_WITH_FAILURES, 1)
    assert await database.read(added_up)


async def test_all_of_an_item_is_not_retried_beside_one_of_its_segments(database: Database) -> None:
    run_id, [video] = await ended(database, NONE)
    [number] = await names(database)
    whole, one = segment_id(number, WHOLE), segment_id(number, 0)
    await asked(database, run_id, video, one)
    with pytest.raises(Conflict, match="one of its segments is being retried"):
        await database.write(segment_retries.request, run_id, video, whole)


async def test_what_did_not_fail_is_not_retried(database: Database) -> None:
    run_id, [video] = await ended(database, HALF)
    [number] = await names(database)
    for ordinal in (0, WHOLE):
        with pytest.raises(Conflict, match="did not fail"):
            await database.write(segment_retries.request, run_id, video, segment_id(number, ordinal))
    for wrong in (segment_id(number, 7), segment_id(number + 1, 1), "seg_x", "seg_1_99999999999999999999"):
        with pytest.raises(NotFound):
            await database.write(segment_retries.request, run_id, video, wrong)


async def test_one_retry_of_a_segment_at_a_time(database: Database) -> None:
    run_id, [video] = await ended(database, HALF)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    with pytest.raises(Conflict, match="already"):
        await database.write(segment_retries.request, run_id, video, segment_id(number, 1))
    await database.write(segment_retries.fail, job, "media_unreadable", "it is away")
    await asked(database, run_id, video, segment_id(number, 1))


async def test_results_that_were_dropped_are_not_retried(database: Database) -> None:
    run_id, [video] = await ended(database, HALF)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    await database.write(lambda tx: tx.update(prompt_runs, run_id, results="dropped"))
    end = await database.write(segment_retries.finish, job, WHOLE_RESULT)
    assert end is not None
    assert "deleted" in (end.error or "")
    with pytest.raises(Conflict, match="retention"):
        await database.write(segment_retries.request, run_id, video, segment_id(number, 1))


async def test_a_retry_waits_for_the_export_that_reads_the_run(database: Database, clock: FakeClock) -> None:
    run_id, [video] = await ended(database, HALF)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    being = sa.update(exports).values(status=ExportStatus.PROCESSING)
    await database.write(lambda tx: tx.execute(being))
    assert await database.write(segment_retries.begin, job) is None
    [job] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    assert job.run_at > clock.now()
    assert await database.write(segment_retries.finish, job, WHOLE_RESULT) is None
    [job] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    await database.write(lambda tx: tx.execute(being.values(status=ExportStatus.COMPLETED)))
    assert await database.write(segment_retries.finish, job, WHOLE_RESULT) is not None


async def test_a_retry_of_a_deleted_video_ends(database: Database) -> None:
    run_id, [video] = await ended(database, HALF)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    await database.write(deletions.delete_video, video)
    end = await database.write(segment_retries.begin, job)
    assert end == RetryEnd(job.ref, run_id, "the video was deleted")


@pytest.mark.parametrize("resource", ["video", "index"])
@pytest.mark.parametrize("ordinal", [1, WHOLE])
async def test_nothing_is_kept_of_media_that_was_deleted_while_it_was_retried(
    database: Database, clock: FakeClock, ordinal: int, resource: str
) -> None:
    run_id, [video] = await ended(database, None if ordinal == WHOLE else HALF)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, ordinal))
    await database.write(segment_retries.begin, job)
    identifier = video if resource == "video" else INDEX
    gone = {"id": "deletion_1", "resource": resource, "resource_id": identifier, "created_at": clock.now()}
    await database.write(lambda tx: tx.insert(deletions_table, **gone))
    await database.write(clearing._clear_results, video)
    end = await database.write(segment_retries.finish, job, WHOLE_RESULT)
    assert end == RetryEnd(job.ref, run_id, "the video was deleted")
    assert await database.read(lambda tx: tx.all(sa.select(segment_results))) == []
    assert (await run_of(database, run_id)).completed_items == 0
    assert await database.read(added_up)


async def test_a_retry_that_was_lost_is_made_all_the_same(database: Database, clock: FakeClock) -> None:
    run_id, [video] = await ended(database, HALF)
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    await database.write(segment_retries.begin, job)
    clock.advance(60)
    await database.write(requeue_overdue, jobs_of(database), 5.0)
    [again] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    assert (again.ref, again.revision) == (job.ref, job.revision)
    assert await database.write(segment_retries.finish, again, WHOLE_RESULT) is not None
    assert await database.write(segment_retries.finish, job, WHOLE_RESULT) is None
    assert (await run_of(database, run_id)).completed_segments == 2


async def test_a_cancelled_run_stays_so_when_a_segment_is_mended(database: Database) -> None:
    run_id, [video] = await ended(database, HALF)
    await database.write(lambda tx: tx.update(prompt_runs, run_id, status=RunStatus.CANCELLED))
    [number] = await names(database)
    job = await asked(database, run_id, video, segment_id(number, 1))
    await database.write(segment_retries.finish, job, WHOLE_RESULT)
    assert (await run_of(database, run_id)).status == RunStatus.CANCELLED


@pytest.mark.parametrize(("item_id", "ordinal"), [(1, 0), (42, 17), (10**17, WHOLE)])
def test_the_name_of_a_segment_is_read_back(item_id: int, ordinal: int) -> None:
    assert segment_of(segment_id(item_id, ordinal)) == (item_id, ordinal)
