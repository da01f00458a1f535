"""Prompt runs: one item per media, each ends once, the last one ends the run and fires its export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vvwatch.core import runs as machine
from vvwatch.core.media import DEFAULT_PROCESSOR, ProcessingResult
from vvwatch.core.runs import ItemStatus, RunStatus
from vvwatch.ports import Job, Kind
from vvwatch.store import exports, shares
from vvwatch.store.database import Tx
from vvwatch.store.deleted import kept
from vvwatch.store.events import announce
from vvwatch.store.schema import connectors, media, prompt_runs, prompts, run_items, segment_results

_PROGRESS_STEPS = 4
_MEDIA_STATUS = {
    ItemStatus.COMPLETED: "processed",
    ItemStatus.PARTIAL: "processed",
    ItemStatus.FAILED: "failed",
}


def start_for_import(tx: Tx, import_job: sa.Row[Any]) -> str:
    """A run of the preset's prompt over exactly the media that the import made; returns its id."""
    its = media.c.import_job_id == import_job.id, kept(media.c.id)
    made = tx.all(sa.select(media.c.id).where(*its).order_by(media.c.id))
    preset = dict(import_job.prompt_preset)
    settings = {name: value for name, value in preset.items() if name not in ("prompt_id", "prompt_version")}
    return _start(
        tx, import_job.index_id, preset["prompt_id"], settings, [row.id for row in made], import_job
    )


def _start(
    tx: Tx,
    index_id: str,
    prompt_id: str,
    settings: dict[str, Any],
    media_ids: Sequence[str],
    import_job: sa.Row[Any],
) -> str:
    prompt = tx.execute(sa.select(prompts).where(prompts.c.id == prompt_id)).one()
    run_id = tx.new_id("run")
    snapshot = {
        "name": prompt.name,
        "prompt_text": prompt.prompt_text,
        "json_schema": prompt.json_schema,
        "video_level": prompt.video_level,
    }
    tx.insert(
        prompt_runs,
        id=run_id,
        index_id=index_id,
        prompt_id=prompt_id,
        prompt_version=prompt.prompt_version,
        prompt=snapshot,
        settings=settings,
        processor=settings.get("processing_model") or DEFAULT_PROCESSOR,
        priority=import_job.priority,
        concurrency=import_job.concurrency,
        import_job_id=import_job.id,
        executed_by=import_job.automation_id or "import",
        total_items=len(media_ids),
        created_at=tx.now,
        updated_at=tx.now,
    )
    tx.insert_new(run_items, [{"run_id": run_id, "media_id": media_id} for media_id in media_ids])
    run = get(tx, run_id)
    shares.feed(tx, shares.ITEMS, run)
    announce(tx, "prompt_run.started", run_id, index_id, event_data(run))
    return run_id


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
    if run.status in machine.TERMINAL:
        tx.claim(job, status=ItemStatus.CANCELLED, completed_at=tx.now)
        return None
    if run.status == RunStatus.PENDING:
        tx.update(prompt_runs, run.id, status=RunStatus.PROCESSING, started_at=tx.now, updated_at=tx.now)
    row = tx.execute(sa.select(media).where(media.c.id == item.media_id)).one()
    connector = tx.execute(sa.select(connectors).where(connectors.c.id == row.connector_id)).one()
    if item.attempts == 1:
        _tell_media(tx, "media.processing.started", run, row, "processing")
    return ItemWork(item, run, row, connector)


def retry_item(tx: Tx, job: Job, at: float, message: str) -> None:
    """Process the item again later; `message` says why."""
    row = tx.claim(job, error_message=message, status=ItemStatus.PENDING)
    if row is not None:
        tx.put(Kind.RUN_ITEM, row.id, row.revision, at)
        shares.feed(tx, shares.ITEMS, get(tx, row.run_id))


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """What ending an item brought about: the run's final status when it was the last one."""

    run_id: str
    status: ItemStatus
    message: str | None
    run_status: RunStatus | None
    export_id: str | None


def finish_item(tx: Tx, job: Job, result: ProcessingResult) -> ItemEnd | None:
    """Keep the item's results; damaged media is partial, never passed as good."""
    failed = sum(1 for segment in result.segments if segment.error)
    status = ItemStatus.PARTIAL if result.damage or failed else ItemStatus.COMPLETED
    item = tx.claim(
        job,
        status=status,
        completed_at=tx.now,
        error_code="media_damaged" if result.damage else None,
        error_message="; ".join(result.damage) or None,
        damage=list(result.damage),
        warnings=list(result.warnings),
        video_metadata=result.metadata,
        video_metadata_text=result.metadata_text,
        segment_count=len(result.segments),
        failed_segment_count=failed,
    )
    if item is None:
        return None
    _keep_segments(tx, item.id, result)
    return _end_item(tx, item, status, segments=len(result.segments), good=len(result.segments) - failed)


def fail_item(tx: Tx, job: Job, code: str, message: str) -> ItemEnd | None:
    """End the item without results."""
    item = tx.claim(
        job, status=ItemStatus.FAILED, completed_at=tx.now, error_code=code, error_message=message
    )
    return None if item is None else _end_item(tx, item, ItemStatus.FAILED, segments=0, good=0)


def _keep_segments(tx: Tx, item_id: int, result: ProcessingResult) -> None:
    tx.execute(sa.delete(segment_results).where(segment_results.c.run_item_id == item_id))
    rows = [
        {
            "run_item_id": item_id,
            "ordinal": ordinal,
            "start_time": segment.start_time,
            "end_time": segment.end_time,
            "metadata": segment.metadata,
            "metadata_text": segment.metadata_text,
            "warning": segment.warning,
            "error": segment.error,
        }
        for ordinal, segment in enumerate(result.segments)
    ]
    if rows:
        tx.execute(sa.insert(segment_results), rows)


def _end_item(tx: Tx, item: sa.Row[Any], status: ItemStatus, *, segments: int, good: int) -> ItemEnd:
    machine.check_transition(ItemStatus.PROCESSING, status)
    run = _count(tx, item.run_id, status, segments, good)
    row = tx.execute(sa.select(media).where(media.c.id == item.media_id)).one()
    event_type = "media.processing.failed" if status is ItemStatus.FAILED else "media.processing.completed"
    _tell_media(tx, event_type, run, row, _MEDIA_STATUS[status], item.error_message)
    done = run.completed_items + run.partial_items + run.failed_items
    if done < run.total_items:
        shares.feed(tx, shares.ITEMS, run)
        _announce_progress(tx, run, done)
        return ItemEnd(run.id, status, item.error_message, None, None)
    return _finish_run(tx, run, item)


def _tell_media(
    tx: Tx, event_type: str, run: sa.Row[Any], row: sa.Row[Any], status: str, error: str | None = None
) -> None:
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


def _count(tx: Tx, run_id: str, status: ItemStatus, segments: int, good: int) -> sa.Row[Any]:
    column = prompt_runs.c[f"{status.value}_items"]
    values = {
        column: column + 1,
        prompt_runs.c.total_segments: prompt_runs.c.total_segments + segments,
        prompt_runs.c.completed_segments: prompt_runs.c.completed_segments + good,
        prompt_runs.c.updated_at: tx.now,
    }
    changed = sa.update(prompt_runs).where(prompt_runs.c.id == run_id).values(values)
    return tx.execute(changed.returning(prompt_runs)).one()


def _announce_progress(tx: Tx, run: sa.Row[Any], done: int) -> None:
    step = _PROGRESS_STEPS * done // run.total_items
    if step and step > _PROGRESS_STEPS * (done - 1) // run.total_items:
        announce(tx, "prompt_run.progress", f"{run.id}:{step}", run.index_id, event_data(run))


def _finish_run(tx: Tx, run: sa.Row[Any], last: sa.Row[Any]) -> ItemEnd:
    status, event_type = machine.outcome(
        run.total_items, run.completed_items, run.partial_items, run.failed_items
    )
    machine.check_transition(run.status, status)
    error = None
    if status is RunStatus.FAILED:
        error = f"none of {run.failed_items} items could be processed"
    tx.update(prompt_runs, run.id, status=status, error_message=error, completed_at=tx.now, updated_at=tx.now)
    ended = get(tx, run.id)
    announce(tx, event_type, run.id, run.index_id, event_data(ended))
    return ItemEnd(run.id, ItemStatus(last.status), last.error_message, status, exports.fire(tx, ended))


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
        "total_segments": run.total_segments,
        "completed_segments": run.completed_segments,
        "error_message": run.error_message,
    }
