"""Retries of failed segments, and of whole failed items. A result replaces only the failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import tallies
from vvwatch.core.exports import ExportStatus
from vvwatch.core.identities import TRANSCRIPT, WHOLE, segment_of
from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.core.retries import Patience
from vvwatch.core.runs import (
    EVENTS,
    SEGMENTS_FAILED,
    WHOLE_FAILED,
    ItemStatus,
    Results,
    RetryStatus,
    RunStatus,
    corrected_status,
    item_ending,
)
from vvwatch.core.tallies import count_in_tally
from vvwatch.errors import Conflict, NotFound
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.deleted import is_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of, model_of, model_or_none
from vvwatch.store.delivery import exports
from vvwatch.store.delivery.events import announce
from vvwatch.store.models.imports import Media
from vvwatch.store.models.runs import Run, RunItem, SegmentRetry
from vvwatch.store.runs import journal, llm_calls, media_items, pictures, processor_states, runs
from vvwatch.store.runs import run_queries as queries
from vvwatch.store.runs import search_documents as documents
from vvwatch.store.runs.batches import update_run
from vvwatch.store.runs.endings import event_data
from vvwatch.store.runs.runs import ItemWork
from vvwatch.store.schema import exports as exports_table
from vvwatch.store.schema import media, prompt_runs, run_items, segment_results, segment_retries

_DELETED: Final = "video_deleted", "the video was deleted"
_DROPPED: Final = "results_dropped", "the results of the run were deleted meanwhile"
_WITH_RESULTS: Final = ItemStatus.COMPLETED, ItemStatus.PARTIAL
_EXPORT_SECONDS: Final = 2.0  # the pause while an export of the run is built
_OPEN: Final = ItemStatus.PENDING, ItemStatus.PROCESSING
_OPEN_SECONDS: Final = 30.0  # the pause while the item itself is processed
_SAME_SECONDS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class RetryEnd:
    """How a retry ended: its error if it failed, and the new status of the run if that changed."""

    retry_id: str
    run_id: str
    error: str | None
    run_status: RunStatus | None = None
    export_id: str | None = None


def request(tx: Tx, run_id: str, media_id: str, segment_id: str) -> SegmentRetry:
    """Retry a failed segment, or an item that failed as a whole; make a planned automatic retry due now.

    Raises NotFound, or Conflict for what did not fail, is being retried already, or has lost its results, and
    ModelNotConfigured if no processor serves the run's model.
    """
    found = queries.get_item(tx, run_id, media_id)
    ordinal = _failed_ordinal(tx, found.item, segment_id)
    if found.run.results != Results.KEPT:
        raise Conflict(
            f"the results of prompt run {run_id!r} were deleted by [retention]",
            "run the prompt again",
        )
    _require_alone(tx, found.item.id, ordinal, segment_id)
    _find_processor(tx, found.run)
    retry_id = tx.new_id("retry")
    row = {"id": retry_id, "run_item_id": found.item.id, "ordinal": ordinal, "created_at": tx.now}
    if not tx.insert_new(segment_retries, [row]):
        planned = _find_planned(tx, found.item.id, ordinal)
        if planned is not None:
            tx.nudge(Kind.SEGMENT_RETRY, planned, tx.now, Priority.MANUAL)
            return get(tx, planned.id)
        raise Conflict(f"segment {segment_id!r} is already being retried", "wait until that ends")
    tx.enqueue(Kind.SEGMENT_RETRY, retry_id, 0, tx.now, Priority.MANUAL)
    return get(tx, retry_id)


def _require_alone(tx: Tx, item_id: int, ordinal: int, segment_id: str) -> None:
    """Raise Conflict if an item and one of its segments would be retried at once: one would undo the other."""
    table = segment_retries
    open_ = table.c.run_item_id == item_id, table.c.status.in_((RetryStatus.PENDING, RetryStatus.PROCESSING))
    other = table.c.ordinal != WHOLE if ordinal == WHOLE else table.c.ordinal == WHOLE
    if tx.first(sa.select(table.c.id).where(*open_, other).limit(1)) is not None:
        what = "one of its segments" if ordinal == WHOLE else "all of the media item"
        raise Conflict(f"{what} is being retried together with {segment_id!r}", "wait until that ends")


def _find_processor(tx: Tx, run: Run) -> None:
    """Assign a run whose processor is no longer configured to the one that serves its model now."""
    if run.processor not in tx.processors.infos:
        tx.processors.choose(run.settings.get("processing_model"), run.prompt_id)
        asked = {**run.settings, **{f"enable_{feature}": True for feature in run.not_done or ()}}
        tx.update(prompt_runs, run.id, **tx.processors.treatment(asked, run.prompt_id))


def _find_planned(tx: Tx, item_id: int, ordinal: int) -> SegmentRetry | None:
    """Return the retry that is planned automatically, or None."""
    table = segment_retries
    mine = table.c.run_item_id == item_id, table.c.ordinal == ordinal, table.c.tries > 0
    waits = table.c.status == RetryStatus.PENDING, table.c.next_at > tx.now
    return first_of(SegmentRetry, tx.execute(sa.select(table).where(*mine, *waits)))


def _failed_ordinal(tx: Tx, item: RunItem, segment_id: str) -> int:
    """Return the ordinal of the failed segment. Raises NotFound, or Conflict if it did not fail."""
    item_id, ordinal = segment_of(segment_id) or (0, 0)
    if item_id != item.id:
        raise NotFound("segment", segment_id, "GET …/failed-segments lists what can be retried")
    if ordinal == WHOLE:
        failed = item.status == ItemStatus.FAILED or item.error_code == WHOLE_FAILED
    elif item.status not in _WITH_RESULTS and item.error_code != SEGMENTS_FAILED:
        raise Conflict(
            f"segment {segment_id!r} belongs to a media item that is {item.status}",
            "GET …/failed-segments lists what can be retried",
        )
    else:
        row = tx.first(sa.select(segment_results.c.error).where(*_is_segment(item.id, ordinal)))
        if row is None:
            raise NotFound("segment", segment_id, "GET …/failed-segments lists what can be retried")
        failed = row.error is not None
    if not failed:
        raise Conflict(f"segment {segment_id!r} did not fail", "GET …/failed-segments lists what did")
    return ordinal


def _is_segment(item_id: int, ordinal: int) -> tuple[sa.ColumnElement[bool], ...]:
    return segment_results.c.run_item_id == item_id, segment_results.c.ordinal == ordinal


def get(tx: Tx, retry_id: str) -> SegmentRetry:
    """Return the retry, which exists."""
    chosen = sa.select(segment_retries).where(segment_retries.c.id == retry_id)
    return model_of(SegmentRetry, tx.execute(chosen).one())


def find(tx: Tx, run_id: str, media_id: str, segment_id: str, retry_id: str) -> SegmentRetry:
    """Return this retry of this segment. Raises NotFound."""
    found = queries.get_item(tx, run_id, media_id)
    wanted = segment_retries.c.id == retry_id, segment_retries.c.run_item_id == found.item.id
    row = first_of(SegmentRetry, tx.execute(sa.select(segment_retries).where(*wanted)))
    if row is None or segment_of(segment_id) != (found.item.id, row.ordinal):
        raise NotFound("segment_retry", retry_id)
    return row


@dataclass(frozen=True, slots=True)
class RetryWork:
    """A retry to make, with its work."""

    retry: SegmentRetry
    work: ItemWork


def begin(tx: Tx, job: Job) -> RetryWork | RetryEnd | None:
    """Count the attempt and return the work, or how it ended; None if the job is stale or an export comes first."""
    table = segment_retries
    started = sa.func.coalesce(table.c.started_at, tx.now)
    row = tx.touch(job, attempts=table.c.attempts + 1, status=RetryStatus.PROCESSING, started_at=started)
    if row is None:
        return None
    item = _get_item(tx, row.run_item_id)
    run = runs.get(tx, item.run_id)
    source = _find_media(tx, item)
    if source is None:
        return fail(tx, job, *_DELETED)
    is_open = row.ordinal == TRANSCRIPT and item.status in _OPEN
    if is_open or is_exported_now(tx, run):
        wait(tx, job, _OPEN_SECONDS if is_open else _EXPORT_SECONDS)
        return None
    connector = catalog.read_connector(tx, source.connector_id)
    paused = processor_states.find_pause(tx, run.processor)
    return RetryWork(model_of(SegmentRetry, row), ItemWork(item, run, source, connector, paused))


def _get_item(tx: Tx, item_id: int) -> RunItem:
    return model_of(RunItem, tx.execute(sa.select(run_items).where(run_items.c.id == item_id)).one())


def _find_media(tx: Tx, item: RunItem) -> Media | None:
    """Return the item's media, or None if it was deleted."""
    there = media.c.id == item.media_id, is_not_deleted(media.c.id), is_not_deleted(media.c.index_id)
    return first_of(Media, tx.execute(sa.select(media).where(*there)))


def is_exported_now(tx: Tx, run: Run) -> bool:
    """Return whether an export reads the run's results now; they must not change meanwhile."""
    table = exports_table
    reads = sa.or_(table.c.run_id == run.id, table.c.index_id == run.index_id)
    building = table.c.status == ExportStatus.PROCESSING
    return tx.first(sa.select(table.c.id).where(building, reads).limit(1)) is not None


def wait(tx: Tx, job: Job, seconds: float = _EXPORT_SECONDS) -> None:
    """Begin the retry again after `seconds`; that is no attempt."""
    row = tx.claim(job, attempts=segment_retries.c.attempts - 1, status=RetryStatus.PENDING)
    if row is not None:
        tx.enqueue(Kind.SEGMENT_RETRY, row.id, row.revision, tx.now + seconds, Priority.MANUAL)


def retry_later(
    tx: Tx,
    job: Job,
    at: float,
    message: str,
    failures: int = 0,
    since: float | None = None,
    *,
    waits: bool = False,
) -> None:
    """Make the retry again at `at`; `message` says why. `failures`, `since` and `waits` as for `runs.retry_item`."""
    more = segment_retries.c.waits + int(waits)
    counted = {"failures": failures, "failing_since": since, "waits": more}
    row = tx.claim(job, error_message=message, status=RetryStatus.PENDING, **counted)
    if row is not None:
        tx.enqueue(Kind.SEGMENT_RETRY, row.id, row.revision, at)


def fail(tx: Tx, job: Job, code: str, message: str, patience: Patience | None = None) -> RetryEnd | None:
    """End the retry and keep the old failure. None for a stale job.

    With `patience`, an item that failed as a whole is retried automatically after a longer pause.
    """
    row = end_retry(tx, job, RetryStatus.FAILED, error_code=code, error_message=message)
    if row is None:
        return None
    if patience is not None and row.ordinal == WHOLE:
        runs.plan_retry(tx, row.run_item_id, message, row.tries + 1, patience)
    return RetryEnd(row.id, _run_id(tx, row), message)


def end_retries(tx: Tx, which: sa.ColumnElement[bool]) -> None:
    """End the retries under way of these media and runs, which are being deleted; their workers make no more calls."""
    table = segment_retries
    chosen = (
        sa.select(table.c.id, table.c.revision)
        .join(run_items, run_items.c.id == table.c.run_item_id)
        .join(prompt_runs, prompt_runs.c.id == run_items.c.run_id)
        .join(media, media.c.id == run_items.c.media_id)
        .where(table.c.status == RetryStatus.PROCESSING, which)
    )
    for row in tx.all(chosen.order_by(table.c.id)):
        fail(tx, Job(Kind.SEGMENT_RETRY, row.id, row.revision, tx.now), *_DELETED)


def end_retry(tx: Tx, job: Job, status: RetryStatus, **values: Any) -> SegmentRetry | None:
    """End the retry. What a retry of a whole item found is kept for the next one unless it was applied."""
    row = model_or_none(SegmentRetry, tx.claim(job, status=status, completed_at=tx.now, **values))
    if row is None:
        return None
    llm_calls.close_calls(tx, row.run_item_id, row.id)
    if status is RetryStatus.COMPLETED or row.ordinal != WHOLE:
        journal.delete_retried(tx, row.run_item_id, None if row.ordinal == WHOLE else row.ordinal)
    return row


def _run_id(tx: Tx, row: SegmentRetry) -> str:
    chosen = sa.select(run_items.c.run_id).where(run_items.c.id == row.run_item_id)
    return str(tx.execute(chosen).scalar_one())


def finish(tx: Tx, job: Job, result: ProcessingResult) -> RetryEnd | None:
    """Replace the failure with the result and update the counts. None for a stale job, or if an export comes first."""
    row = model_or_none(SegmentRetry, tx.current(job))
    if row is None:
        return None
    item = _get_item(tx, row.run_item_id)
    run, source = runs.get(tx, item.run_id), _find_media(tx, item)
    if source is None or run.results != Results.KEPT:
        return fail(tx, job, *(_DELETED if source is None else _DROPPED))
    if is_exported_now(tx, run):
        wait(tx, job)
        return None
    if row.ordinal == WHOLE:
        return _finish_whole(tx, job, _RetryContext(row, item, run, source), result)
    found = _find_same_segment(tx, item, row.ordinal, result)
    if found is None or found.error is not None:
        return _fail_again(tx, job, item, row.ordinal, found)
    end_retry(tx, job, RetryStatus.COMPLETED, error_message=None)
    _replace_segment(tx, item, row.ordinal, found)
    return _correct_run(tx, row, _apply_segment(tx, _RetryContext(row, item, run, source), result))


@dataclass(frozen=True, slots=True)
class _RetryContext:
    """A retry with its item, run and media as they were before."""

    row: SegmentRetry
    item: RunItem
    run: Run
    source: Media


def _finish_whole(tx: Tx, job: Job, of: _RetryContext, result: ProcessingResult) -> RetryEnd:
    """Apply the result. The retry has failed if it found as little as before."""
    ended = item_ending(result)
    is_vain = ended.code == SEGMENTS_FAILED or ended.code == WHOLE_FAILED == of.item.error_code
    status = RetryStatus.FAILED if is_vain else RetryStatus.COMPLETED
    error = (ended.code, ended.message) if is_vain else (None, None)
    end_retry(tx, job, status, error_code=error[0], error_message=error[1])
    return _correct_run(tx, of.row, _apply_whole(tx, of, result), error[1])


def _find_same_segment(tx: Tx, item: RunItem, ordinal: int, result: ProcessingResult) -> Segment | None:
    """Return the segment with the old times, or None if the media is cut differently now."""
    before = tx.execute(sa.select(segment_results).where(*_is_segment(item.id, ordinal))).one()
    found = result.segments[ordinal] if ordinal < len(result.segments) else None
    if found is None or abs(found.start_time - before.start_time) > _SAME_SECONDS:
        return None
    return found if abs(found.end_time - before.end_time) <= _SAME_SECONDS else None


def _fail_again(tx: Tx, job: Job, item: RunItem, ordinal: int, found: Segment | None) -> RetryEnd | None:
    if found is None:
        return fail(tx, job, "segment_moved", "the media is cut differently now: run the prompt again")
    _replace_segment(tx, item, ordinal, found)
    return fail(tx, job, "segment_failed", found.error or "")


def _replace_segment(tx: Tx, item: RunItem, ordinal: int, found: Segment) -> None:
    documents.unindex_segment(tx, item.id, [ordinal])
    tx.execute(sa.update(segment_results).where(*_is_segment(item.id, ordinal)).values(asdict(found)))
    documents.index_item(tx, item.id, [ordinal])


def _apply_segment(tx: Tx, of: _RetryContext, result: ProcessingResult) -> Run:
    """Store the repaired segment's item; return the recounted run."""
    item, found = of.item, journal.count_segments(tx, of.item.id)
    columns: dict[str, Any] = dict(_status_columns(tx, item, result))
    if item.status == ItemStatus.FAILED:
        columns |= {"video_metadata": result.metadata, "video_metadata_text": result.metadata_text}
        media_items.set_media_status(tx, "media.processing.completed", of.run, of.source, "processed")
    tx.update(run_items, item.id, **found.columns, **columns)
    if "video_metadata" in columns:
        documents.index_item(tx, item.id, [WHOLE])
    return _recount_run(tx, of, columns, completed_segments=item.failed_segment_count - found.failed)


def _status_columns(tx: Tx, item: RunItem, result: ProcessingResult) -> Mapping[str, Any]:
    """Return the item's status with its current segments. A missing video-level result is not requested again."""
    if item.error_code == WHOLE_FAILED:
        return {"status": item.status, "error_code": item.error_code, "error_message": item.error_message}
    segments, damage = tuple(journal.read_results(tx, item.id).values()), tuple(item.damage or ())
    ended = item_ending(ProcessingResult(segments, {}, "", damage, whole_error=result.whole_error))
    return {"status": ended.status, "error_code": ended.code, "error_message": ended.message}


def _apply_whole(tx: Tx, of: _RetryContext, result: ProcessingResult) -> Run:
    """Store the result of the whole item; return the recounted run."""
    item, columns = of.item, runs.item_columns(result)
    documents.unindex_items(tx, [item.id])
    tx.update(run_items, item.id, completed_at=tx.now, **columns)
    journal.replace_results(tx, item.id, result.segments)
    pictures.store_pack(tx, item.id, result.pictures)
    documents.index_item(tx, item.id)
    journal.delete_retried(tx, item.id)
    if columns["status"] != ItemStatus.FAILED:
        media_items.set_media_status(tx, "media.processing.completed", of.run, of.source, "processed")
    count, failed = columns["segment_count"], columns["failed_segment_count"]
    before = item.segment_count, item.segment_count - item.failed_segment_count
    grown = {"total_segments": count - before[0], "completed_segments": count - failed - before[1]}
    return _recount_run(tx, of, columns, **grown)


def _recount_run(tx: Tx, of: _RetryContext, columns: Mapping[str, Any], **grown: int) -> Run:
    """Return the run with the item counted under its new `columns`."""
    ends = Counter({str(columns["status"]): 1})
    ends[of.item.status] -= 1
    more = grown | {f"{end}_items": number for end, number in ends.items()}
    wholes = (columns["error_code"] == WHOLE_FAILED) - (of.item.error_code == WHOLE_FAILED)
    more["missing_wholes"] = wholes
    tally = count_in_tally(of.run.tally, of.source.media_type, **ends, **{tallies.WHOLE_FAILED: wholes})
    return update_run(tx, of.run, tally=tally, **{name: prompt_runs.c[name] + more[name] for name in more})


def _correct_run(tx: Tx, row: SegmentRetry, run: Run, error: str | None = None) -> RetryEnd:
    """Give an ended run the status that it would have had with this result; announce and export that once."""
    counts = run.total_items, run.completed_items, run.partial_items, run.failed_items
    status = corrected_status(RunStatus(run.status), *counts)
    if status == run.status:
        return RetryEnd(row.id, run.id, error)
    run = update_run(tx, run, status=status, error_message=None)
    announce(tx, EVENTS[status], run.id, run.index_id, event_data(run))
    return RetryEnd(row.id, run.id, error, status, exports.request_automatic(tx, run))
