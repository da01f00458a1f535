"""Prompt runs: one item per media, each ends once, the last one ends the run and fires its export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import runs as machine
from vvwatch.core.media import DEFAULT_PROCESSOR, ProcessingResult
from vvwatch.core.runs import ItemStatus, RunStatus
from vvwatch.core.tallies import tallied
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store import exports, shares
from vvwatch.store.database import Tx
from vvwatch.store.events import announce
from vvwatch.store.run_pieces import MEDIA_STATUS, TOTAL, All, add, changed, fill, tallied_all
from vvwatch.store.schema import (
    connectors,
    import_jobs,
    media,
    prompt_runs,
    prompts,
    run_items,
    segment_results,
)

CONCURRENCY: Final = 16
"""How many items of a run are under way at once, unless an automation says otherwise."""

LOOK_AGAIN_SECONDS: Final = 5.0
"""How often a run that waits for an import looks whether that has ended, should nobody tell it."""

_PROGRESS_STEPS = 4


def after_import(tx: Tx, import_job: sa.Row[Any]) -> str | None:
    """The run that follows an import, which ends: the one that waits for it, or one of its preset; None for none."""
    following = tx.first(sa.select(prompt_runs).where(prompt_runs.c.import_job_id == import_job.id))
    if following is None:
        return start_for_import(tx, import_job) if import_job.imported and import_job.prompt_preset else None
    if following.filling is not None and following.filling["awaited"]:
        tx.nudge(Kind.RUN, following, tx.now, Priority.MANUAL)
    run_id: str = following.id
    return run_id


def start_for_import(tx: Tx, import_job: sa.Row[Any]) -> str:
    """A run of the preset's prompt over exactly the media that the import made; returns its id."""
    preset = dict(import_job.prompt_preset)
    settings = {name: value for name, value in preset.items() if name not in ("prompt_id", "prompt_version")}
    return start(
        tx,
        index_id=import_job.index_id,
        prompt_id=preset["prompt_id"],
        settings=settings,
        media_ids=All("import_job", import_job.id),
        priority=import_job.priority,
        concurrency=import_job.concurrency,
        executed_by=import_job.automation_id or "import",
        import_job_id=import_job.id,
        context={"type": "index", "index_id": import_job.index_id},
    )


def start(
    tx: Tx,
    *,
    index_id: str | None,
    prompt_id: str,
    settings: Mapping[str, Any],
    media_ids: Sequence[str] | All,
    priority: int = Priority.NORMAL,
    concurrency: int = CONCURRENCY,
    executed_by: str,
    import_job_id: str | None = None,
    context: Mapping[str, Any],
) -> str:
    """A run over these media, which exist; returns its id. Raises NotFound for the prompt.

    Of a large whole only the first are items of it at once, the others follow. `settings` are those of a preset,
    `context` is what the run was asked to run over, as it is told.
    """
    run_id = tx.new_id("run")
    named = () if isinstance(media_ids, All) else media_ids
    tx.insert(
        prompt_runs,
        id=run_id,
        index_id=index_id,
        prompt_id=prompt_id,
        **_asked(tx, prompt_id),
        settings=dict(settings),
        processor=settings.get("processing_model") or DEFAULT_PROCESSOR,
        priority=priority,
        concurrency=concurrency,
        import_job_id=import_job_id,
        executed_by=executed_by,
        total_items=len(named),
        tally=tallied_all(tx, {}, named, TOTAL),
        filling=asdict(media_ids) if isinstance(media_ids, All) else None,
        context=dict(context),
        created_at=tx.now,
        updated_at=tx.now,
    )
    add(tx, run_id, named)
    awaited = isinstance(media_ids, All) and media_ids.awaited
    if import_job_id is not None:
        stands = "pending" if awaited else "submitted"
        tx.update(import_jobs, import_job_id, run_id=run_id, execution_status=stands)
    if awaited:
        tx.put(Kind.RUN, run_id, 0, tx.now + LOOK_AGAIN_SECONDS)
    else:
        take_in(tx, get(tx, run_id))
    return run_id


def _asked(tx: Tx, prompt_id: str) -> dict[str, Any]:
    """The prompt as it is now, whatever becomes of it."""
    prompt = tx.require(prompts, "prompt", prompt_id)
    names = ("name", "prompt_text", "json_schema", "video_level")
    return {
        "prompt_version": prompt.prompt_version,
        "prompt": {name: prompt._mapping[name] for name in names},
    }


def take_in(tx: Tx, run: sa.Row[Any]) -> RunEnd | None:
    """Let the next media be items of the run, until it is whole; how it ended, when there is nothing to do."""
    run = fill(tx, run) if run.filling is not None else run
    shares.feed(tx, shares.ITEMS, run)
    announce(tx, "prompt_run.started", run.id, run.index_id, event_data(run))
    if run.filling is not None:
        tx.put(Kind.RUN, run.id, run.revision, tx.now)
    return settle(tx, run)


def get(tx: Tx, run_id: str) -> sa.Row[Any]:
    """The run; it exists."""
    return tx.execute(sa.select(prompt_runs).where(prompt_runs.c.id == run_id)).one()


@dataclass(frozen=True, slots=True)
class ItemWork:
    """One media item to process, with all that is needed to do it."""

    item: sa.Row[Any]
    run: sa.Row[Any]
    media: sa.Row[Any]
    connector: sa.Row[Any]


def begin_item(tx: Tx, job: Job) -> ItemWork | None:
    """Note the attempt and return the work; None when the job is stale or the run has ended."""
    table = run_items
    item = tx.touch(
        job,
        attempts=table.c.attempts + 1,
        status=ItemStatus.PROCESSING,
        started_at=sa.func.coalesce(table.c.started_at, tx.now),
    )
    if item is None:
        return None
    run = get(tx, item.run_id)
    row = tx.execute(sa.select(media).where(media.c.id == item.media_id)).one()
    if run.status in machine.TERMINAL:
        tx.claim(job, status=ItemStatus.CANCELLED, completed_at=tx.now)
        _count(tx, run, row, ItemStatus.CANCELLED)
        return None
    if run.status == RunStatus.PENDING:
        tx.update(prompt_runs, run.id, status=RunStatus.PROCESSING, started_at=tx.now, updated_at=tx.now)
    connector = tx.execute(sa.select(connectors).where(connectors.c.id == row.connector_id)).one()
    if item.attempts == 1:
        tell_media(tx, "media.processing.started", run, row, "processing")
    return ItemWork(item, run, row, connector)


def retry_item(tx: Tx, job: Job, at: float, code: str, message: str) -> ItemEnd | None:
    """Process the item again later; `message` says why. In a run that is to stop nothing is tried again: it fails."""
    found = tx.current(job)
    if found is None:
        return None
    run = get(tx, found.run_id)
    if run.stop is not None:
        return fail_item(tx, job, code, message)
    row = tx.claim(job, error_message=message, status=ItemStatus.PENDING)
    if row is not None:
        tx.put(Kind.RUN_ITEM, row.id, row.revision, at)
        shares.feed(tx, shares.ITEMS, run)
    return None


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended, and the export that it fired."""

    run_id: str
    status: RunStatus
    export_id: str | None


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """What ending an item brought about: the run's final status when it was the last one."""

    run_id: str
    status: ItemStatus
    message: str | None
    run_status: RunStatus | None = None
    export_id: str | None = None


def finish_item(tx: Tx, job: Job, result: ProcessingResult) -> ItemEnd | None:
    """Keep the item's results; damaged media is partial, never passed as good."""
    columns = item_columns(result)
    item = tx.claim(job, completed_at=tx.now, **columns)
    if item is None:
        return None
    keep_segments(tx, item.id, result)
    good = item.segment_count - item.failed_segment_count
    return _end_item(tx, item, columns["status"], segments=item.segment_count, good=good)


def item_columns(result: ProcessingResult) -> dict[str, Any]:
    """What an item's row says of what was found in it, but for its segments."""
    failed = sum(1 for segment in result.segments if segment.error)
    return {
        "status": ItemStatus.PARTIAL if result.damage or failed else ItemStatus.COMPLETED,
        "error_code": "media_damaged" if result.damage else None,
        "error_message": "; ".join(result.damage) or None,
        "damage": list(result.damage),
        "warnings": list(result.warnings),
        "video_metadata": result.metadata,
        "video_metadata_text": result.metadata_text,
        "segment_count": len(result.segments),
        "failed_segment_count": failed,
    }


def fail_item(tx: Tx, job: Job, code: str, message: str) -> ItemEnd | None:
    """End the item without results."""
    item = tx.claim(
        job, status=ItemStatus.FAILED, completed_at=tx.now, error_code=code, error_message=message
    )
    return None if item is None else _end_item(tx, item, ItemStatus.FAILED, segments=0, good=0)


def keep_segments(tx: Tx, item_id: int, result: ProcessingResult) -> None:
    """The item's segments are those of the result."""
    tx.execute(sa.delete(segment_results).where(segment_results.c.run_item_id == item_id))
    rows = [
        {"run_item_id": item_id, "ordinal": ordinal, **asdict(segment)}
        for ordinal, segment in enumerate(result.segments)
    ]
    if rows:
        tx.execute(sa.insert(segment_results), rows)


def _end_item(tx: Tx, item: sa.Row[Any], status: ItemStatus, *, segments: int, good: int) -> ItemEnd:
    machine.check_transition(ItemStatus.PROCESSING, status)
    row = tx.execute(sa.select(media).where(media.c.id == item.media_id)).one()
    run = _count(tx, get(tx, item.run_id), row, status, segments, good)
    event_type = "media.processing.failed" if status is ItemStatus.FAILED else "media.processing.completed"
    tell_media(tx, event_type, run, row, MEDIA_STATUS[status], item.error_message)
    end = settle(tx, run)
    if end is not None:
        return ItemEnd(run.id, status, item.error_message, end.status, end.export_id)
    shares.feed(tx, shares.ITEMS, run)
    _announce_progress(tx, run)
    return ItemEnd(run.id, status, item.error_message)


def tell_media(
    tx: Tx, event_type: str, run: sa.Row[Any], row: sa.Row[Any], status: str, error: str | None = None
) -> None:
    """The media item stands so since the run has come to it; `row` is its own."""
    tx.update(media, row.id, status=status, updated_at=tx.now)
    data = {
        "video_id": row.id,
        "index_id": row.index_id,
        "run_id": run.id,
        "title": row.title,
        "media_type": row.media_type,
        "status": status,
        "error": error,
    }
    announce(tx, event_type, f"{run.id}:{row.id}", row.index_id, data)


def _count(
    tx: Tx, run: sa.Row[Any], row: sa.Row[Any], status: ItemStatus, segments: int = 0, good: int = 0
) -> sa.Row[Any]:
    """The run, with an item more that has ended so; `row` is its media."""
    columns = prompt_runs.c
    grown = {f"{status.value}_items": 1, "total_segments": segments, "completed_segments": good}
    tally = tallied(run.tally, row.media_type, **{status.value: 1})
    return changed(tx, run, tally=tally, **{name: columns[name] + more for name, more in grown.items()})


def _ended(run: sa.Row[Any]) -> int:
    """How many of its items have ended."""
    count: int = run.completed_items + run.partial_items + run.failed_items + run.cancelled_items
    return count


def _announce_progress(tx: Tx, run: sa.Row[Any]) -> None:
    """Of a run that is whole: before that nobody knows how far it is."""
    done = _ended(run)
    step = _PROGRESS_STEPS * done // run.total_items if run.filling is None and run.stop is None else 0
    if step and step > _PROGRESS_STEPS * (done - 1) // run.total_items:
        announce(tx, "prompt_run.progress", f"{run.id}:{step}", run.index_id, event_data(run))


def settle(tx: Tx, run: sa.Row[Any]) -> RunEnd | None:
    """End the run if it is whole and the last of its items has ended; None when it goes on, or had ended before."""
    if run.filling is not None or _ended(run) < run.total_items or run.status in machine.TERMINAL:
        return None
    if run.stop is not None:
        return end(tx, run, RunStatus.CANCELLED)
    status = machine.outcome(run.total_items, run.completed_items, run.partial_items, run.failed_items)
    error = f"none of {run.failed_items} items could be processed"
    return end(tx, run, status, error if status is RunStatus.FAILED else None)


def end(tx: Tx, run: sa.Row[Any], status: RunStatus, error: str | None = None) -> RunEnd:
    """The run ends so, and fires its export."""
    machine.check_transition(run.status, status)
    ended = changed(tx, run, status=status, error_message=error, completed_at=tx.now)
    announce(tx, machine.EVENTS[status], run.id, run.index_id, event_data(ended))
    return RunEnd(run.id, status, exports.fire(tx, ended))


def event_data(run: sa.Row[Any]) -> dict[str, Any]:
    """What webhooks are told of a prompt run."""
    return {
        "run_id": run.id,
        "prompt_id": run.prompt_id,
        "index_id": run.index_id,
        "status": run.status,
        "total_items": run.total_items,
        "completed_items": run.completed_items,
        "partial_items": run.partial_items,
        "failed_items": run.failed_items,
        "cancelled_items": run.cancelled_items,
        "total_segments": run.total_segments,
        "completed_segments": run.completed_segments,
        "error_message": run.error_message,
    }
