"""Retries of what failed in a run: one segment, or a whole item; what is found replaces the failure, and only that."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.exports import ExportStatus
from vvwatch.core.identities import WHOLE, segment_of
from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.core.runs import EVENTS, ItemStatus, Results, RetryStatus, RunStatus, corrected
from vvwatch.core.tallies import tallied
from vvwatch.errors import Conflict, NotFound
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store import exports, runs
from vvwatch.store.database import Tx
from vvwatch.store.deleted import kept
from vvwatch.store.events import announce
from vvwatch.store.queries import runs as queries
from vvwatch.store.run_pieces import changed
from vvwatch.store.runs import ItemWork
from vvwatch.store.schema import connectors, media, prompt_runs, run_items, segment_results, segment_retries
from vvwatch.store.schema import exports as exports_table

_DELETED: Final = "video_deleted", "the video was deleted"
_DROPPED: Final = "results_dropped", "the results of the run were dropped meanwhile"
_EXPORT_SECONDS: Final = 2.0  # an export that is being built from the run is waited for
_SAME_SECONDS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class RetryEnd:
    """How a retry ended: its error where it failed, and how the run stands now where that is new."""

    retry_id: str
    run_id: str
    error: str | None
    run_status: RunStatus | None = None
    export_id: str | None = None


def request(tx: Tx, run_id: str, media_id: str, segment_id: str) -> sa.Row[Any]:
    """Try a segment again that failed, or an item that failed as a whole.

    Raises NotFound, or Conflict for what did not fail, is being tried already, or has lost its results.
    """
    found = queries.item(tx, run_id, media_id)
    ordinal = _ordinal(tx, found.item, segment_id)
    if found.run.results != Results.KEPT:
        raise Conflict(
            f"the results of prompt run {run_id!r} were dropped: they are over [retention]",
            "run the prompt anew",
        )
    retry_id = tx.new_id("retry")
    row = {"id": retry_id, "run_item_id": found.item.id, "ordinal": ordinal, "created_at": tx.now}
    if not tx.insert_new(segment_retries, [row]):
        raise Conflict(f"segment {segment_id!r} is being tried again already", "wait for that to end")
    tx.put(Kind.SEGMENT_RETRY, retry_id, 0, tx.now, Priority.MANUAL)
    return get(tx, retry_id)


def _ordinal(tx: Tx, item: sa.Row[Any], segment_id: str) -> int:
    """Which segment of the item that is; raises NotFound, or Conflict when it did not fail."""
    item_id, ordinal = segment_of(segment_id) or (0, 0)
    if item_id != item.id:
        raise NotFound("segment", segment_id, "GET …/failed-segments tells what can be retried")
    if ordinal == WHOLE:
        failed = item.status == ItemStatus.FAILED
    else:
        row = tx.first(sa.select(segment_results.c.error).where(*_its(item.id, ordinal)))
        if row is None:
            raise NotFound("segment", segment_id, "GET …/failed-segments tells what can be retried")
        failed = row.error is not None
    if not failed:
        raise Conflict(f"segment {segment_id!r} did not fail", "GET …/failed-segments tells what did")
    return ordinal


def _its(item_id: int, ordinal: int) -> tuple[sa.ColumnElement[bool], ...]:
    return segment_results.c.run_item_id == item_id, segment_results.c.ordinal == ordinal


def get(tx: Tx, retry_id: str) -> sa.Row[Any]:
    """The retry; it exists."""
    return tx.execute(sa.select(segment_retries).where(segment_retries.c.id == retry_id)).one()


def find(tx: Tx, run_id: str, media_id: str, segment_id: str, retry_id: str) -> sa.Row[Any]:
    """This retry of this segment. Raises NotFound."""
    found = queries.item(tx, run_id, media_id)
    wanted = segment_retries.c.id == retry_id, segment_retries.c.run_item_id == found.item.id
    row = tx.first(sa.select(segment_retries).where(*wanted))
    if row is None or segment_of(segment_id) != (found.item.id, row.ordinal):
        raise NotFound("segment_retry", retry_id)
    return row


@dataclass(frozen=True, slots=True)
class RetryWork:
    """One retry to make, with all that is needed to do it."""

    retry: sa.Row[Any]
    work: ItemWork


def begin(tx: Tx, job: Job) -> RetryWork | RetryEnd | None:
    """Note the attempt and return the work, or how it ended; None when the job is stale or an export comes first."""
    table = segment_retries
    started = sa.func.coalesce(table.c.started_at, tx.now)
    row = tx.touch(job, attempts=table.c.attempts + 1, status=RetryStatus.PROCESSING, started_at=started)
    if row is None:
        return None
    item = tx.execute(sa.select(run_items).where(run_items.c.id == row.run_item_id)).one()
    run = runs.get(tx, item.run_id)
    source = _source(tx, item)
    if source is None:
        return fail(tx, job, *_DELETED)
    if _is_exported(tx, run):
        _wait(tx, job)
        return None
    connector = tx.execute(sa.select(connectors).where(connectors.c.id == source.connector_id)).one()
    return RetryWork(row, ItemWork(item, run, source, connector))


def _source(tx: Tx, item: sa.Row[Any]) -> sa.Row[Any] | None:
    """The media of the item; None when it was deleted."""
    there = media.c.id == item.media_id, kept(media.c.id), kept(media.c.index_id)
    return tx.first(sa.select(media).where(*there))


def _is_exported(tx: Tx, run: sa.Row[Any]) -> bool:
    """Whether something is being built from the run's results, which may not change meanwhile."""
    table = exports_table
    reads = sa.or_(table.c.run_id == run.id, table.c.index_id == run.index_id)
    building = table.c.status == ExportStatus.PROCESSING
    return tx.first(sa.select(table.c.id).where(building, reads).limit(1)) is not None


def _wait(tx: Tx, job: Job) -> None:
    row = tx.claim(job, attempts=segment_retries.c.attempts - 1, status=RetryStatus.PENDING)
    if row is not None:
        tx.put(Kind.SEGMENT_RETRY, row.id, row.revision, tx.now + _EXPORT_SECONDS, Priority.MANUAL)


def again(tx: Tx, job: Job, at: float, message: str) -> None:
    """Make the retry later; `message` says why."""
    row = tx.claim(job, error_message=message, status=RetryStatus.PENDING)
    if row is not None:
        tx.put(Kind.SEGMENT_RETRY, row.id, row.revision, at)


def fail(tx: Tx, job: Job, code: str, message: str) -> RetryEnd | None:
    """End the retry; what had failed stays as it was. None for a stale job."""
    row = _end(tx, job, RetryStatus.FAILED, error_code=code, error_message=message)
    return None if row is None else RetryEnd(row.id, _run_id(tx, row), message)


def _end(tx: Tx, job: Job, status: RetryStatus, **values: Any) -> sa.Row[Any] | None:
    return tx.claim(job, status=status, completed_at=tx.now, **values)


def _run_id(tx: Tx, row: sa.Row[Any]) -> str:
    chosen = sa.select(run_items.c.run_id).where(run_items.c.id == row.run_item_id)
    return str(tx.execute(chosen).scalar_one())


def finish(tx: Tx, job: Job, result: ProcessingResult) -> RetryEnd | None:
    """Let what was found replace the failure; counts follow. None for a stale job, or while an export goes first."""
    row = tx.current(job)
    if row is None:
        return None
    item = tx.execute(sa.select(run_items).where(run_items.c.id == row.run_item_id)).one()
    run, source = runs.get(tx, item.run_id), _source(tx, item)
    if source is None or run.results != Results.KEPT:
        return fail(tx, job, *(_DELETED if source is None else _DROPPED))
    if _is_exported(tx, run):
        _wait(tx, job)
        return None
    if row.ordinal == WHOLE:
        _end(tx, job, RetryStatus.COMPLETED, error_message=None)
        return _corrected(tx, row, _replaced(tx, item, run, source, result))
    found = _same(tx, item, row.ordinal, result)
    if found is None or found.error is not None:
        return _still_failed(tx, job, item, row.ordinal, found)
    _end(tx, job, RetryStatus.COMPLETED, error_message=None)
    _put_in_place(tx, item, row.ordinal, found)
    return _corrected(tx, row, _mended(tx, item, run, source))


def _same(tx: Tx, item: sa.Row[Any], ordinal: int, result: ProcessingResult) -> Segment | None:
    """The stretch of before, if the media was cut there again."""
    before = tx.execute(sa.select(segment_results).where(*_its(item.id, ordinal))).one()
    found = result.segments[ordinal] if ordinal < len(result.segments) else None
    if found is None or abs(found.start_time - before.start_time) > _SAME_SECONDS:
        return None
    return found if abs(found.end_time - before.end_time) <= _SAME_SECONDS else None


def _still_failed(
    tx: Tx, job: Job, item: sa.Row[Any], ordinal: int, found: Segment | None
) -> RetryEnd | None:
    if found is None:
        return fail(tx, job, "segment_moved", "the media is not cut there any more: run the prompt anew")
    _put_in_place(tx, item, ordinal, found)
    return fail(tx, job, "segment_failed", found.error or "")


def _put_in_place(tx: Tx, item: sa.Row[Any], ordinal: int, found: Segment) -> None:
    tx.execute(sa.update(segment_results).where(*_its(item.id, ordinal)).values(asdict(found)))


def _mended(tx: Tx, item: sa.Row[Any], run: sa.Row[Any], source: sa.Row[Any]) -> sa.Row[Any]:
    """One segment of the item less has failed; the run as it counts then."""
    left = item.failed_segment_count - 1
    status = ItemStatus.PARTIAL if left or item.damage else ItemStatus.COMPLETED
    tx.update(run_items, item.id, failed_segment_count=left, status=status)
    return _counted(tx, run, source.media_type, item.status, status, completed_segments=1)


def _replaced(
    tx: Tx, item: sa.Row[Any], run: sa.Row[Any], source: sa.Row[Any], result: ProcessingResult
) -> sa.Row[Any]:
    """The item, which had failed, has been processed; the run as it counts then."""
    columns = runs.item_columns(result)
    tx.update(run_items, item.id, completed_at=tx.now, **columns)
    runs.keep_segments(tx, item.id, result)
    runs.tell_media(tx, "media.processing.completed", run, source, "processed")
    count, failed = columns["segment_count"], columns["failed_segment_count"]
    grown = {"total_segments": count, "completed_segments": count - failed}
    return _counted(tx, run, source.media_type, item.status, columns["status"], **grown)


def _counted(
    tx: Tx, run: sa.Row[Any], media_type: str, frm: str, to: ItemStatus, **grown: int
) -> sa.Row[Any]:
    """The run, with an item that was `frm` as one that is `to`."""
    ends = Counter({to.value: 1})
    ends[frm] -= 1
    more = grown | {f"{end}_items": number for end, number in ends.items()}
    tally = tallied(run.tally, media_type, **ends)
    return changed(tx, run, tally=tally, **{name: prompt_runs.c[name] + more[name] for name in more})


def _corrected(tx: Tx, row: sa.Row[Any], run: sa.Row[Any]) -> RetryEnd:
    """A run that has ended has ended as it would have with this result: that is told, and exported, once each."""
    counts = run.total_items, run.completed_items, run.partial_items, run.failed_items
    status = corrected(RunStatus(run.status), *counts)
    if status == run.status:
        return RetryEnd(row.id, run.id, None)
    run = changed(tx, run, status=status, error_message=None)
    announce(tx, EVENTS[status], run.id, run.index_id, runs.event_data(run))
    return RetryEnd(row.id, run.id, None, status, exports.fire(tx, run))
