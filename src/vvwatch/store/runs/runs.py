"""Prompt runs: one item per media item. Each item ends once; the last one ends the run and starts its export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import runs as machine
from vvwatch.core.identities import WHOLE
from vvwatch.core.media import ProcessingResult, with_lengths
from vvwatch.core.retries import Patience
from vvwatch.core.runs import ItemStatus, RunStatus
from vvwatch.core.state_machine import check_transition
from vvwatch.core.tallies import WHOLE_FAILED, count_in_tally
from vvwatch.errors import ProcessorPaused
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store.catalog import catalog
from vvwatch.store.db import fairness
from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.typed import model_of, model_or_none
from vvwatch.store.delivery.events import announce
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.imports import ImportJob, Media
from vvwatch.store.models.runs import Run, RunItem
from vvwatch.store.runs import (
    journal,
    llm_calls,
    media_items,
    pictures,
    processor_states,
    search_documents,
    transcripts,
)
from vvwatch.store.runs.batches import (
    MEDIA_STATUS,
    TOTAL,
    MediaSet,
    add_items,
    add_next_items,
    add_to_tally,
    restore_media_status,
    update_run,
)
from vvwatch.store.runs.endings import RunEnd, count_ended_items, end_if_done, event_data
from vvwatch.store.runs.journal import SegmentCounts
from vvwatch.store.schema import (
    import_jobs,
    media,
    prompt_runs,
    run_items,
    segment_retries,
)

CONCURRENCY: Final = 16
"""How many items of a run are under way at once, unless an automation sets another limit."""

LOOK_AGAIN_SECONDS: Final = 5.0
"""How often a run that waits for an import checks it, in case it missed the end."""

_PROGRESS_STEPS = 4


def start_after_import(tx: Tx, import_job: ImportJob) -> str | None:
    """Return the run that follows an ended import: the one that waits for it, or a new one of its preset, or None."""
    following = tx.first(sa.select(prompt_runs).where(prompt_runs.c.import_job_id == import_job.id))
    if following is None:
        return start_for_import(tx, import_job) if import_job.imported and import_job.prompt_preset else None
    if following.filling is not None and following.filling["awaited"]:
        tx.nudge(Kind.RUN, following, tx.now, Priority.MANUAL)
    run_id: str = following.id
    return run_id


def start_for_import(tx: Tx, import_job: ImportJob) -> str:
    """Start a run of the preset's prompt over exactly the media that the import made; return its id."""
    preset = dict(import_job.prompt_preset or {})
    settings = {name: value for name, value in preset.items() if name not in ("prompt_id", "prompt_version")}
    return start_run(
        tx,
        index_id=import_job.index_id,
        prompt_id=preset["prompt_id"],
        settings=settings,
        media_ids=MediaSet("import_job", import_job.id),
        priority=import_job.priority,
        concurrency=import_job.concurrency,
        executed_by=import_job.automation_id or "import",
        import_job_id=import_job.id,
        context={"type": "index", "index_id": import_job.index_id},
    )


def start_run(
    tx: Tx,
    *,
    index_id: str | None,
    prompt_id: str,
    settings: Mapping[str, Any],
    media_ids: Sequence[str] | MediaSet,
    priority: int = Priority.NORMAL,
    concurrency: int = CONCURRENCY,
    executed_by: str,
    import_job_id: str | None = None,
    context: Mapping[str, Any],
) -> str:
    """Start a run over these existing media; return its id. Raises NotFound for the prompt.

    Only the first media of a large set become items at once, the others follow. `settings` come from a preset,
    `context` says what the run was requested for.
    """
    run_id = tx.new_id("run")
    named = () if isinstance(media_ids, MediaSet) else media_ids
    tx.insert(
        prompt_runs,
        id=run_id,
        index_id=index_id,
        prompt_id=prompt_id,
        **_prompt_columns(tx, prompt_id),
        **tx.processors.treatment(with_lengths(settings), prompt_id),
        priority=priority,
        concurrency=concurrency,
        import_job_id=import_job_id,
        executed_by=executed_by,
        total_items=len(named),
        tally=add_to_tally(tx, {}, named, TOTAL),
        filling=asdict(media_ids) if isinstance(media_ids, MediaSet) else None,
        context=dict(context),
        created_at=tx.now,
        updated_at=tx.now,
    )
    add_items(tx, run_id, named)
    awaited = isinstance(media_ids, MediaSet) and media_ids.awaited
    if import_job_id is not None:
        stands = "pending" if awaited else "submitted"
        tx.update(import_jobs, import_job_id, run_id=run_id, execution_status=stands)
    if awaited:
        tx.enqueue(Kind.RUN, run_id, 0, tx.now + LOOK_AGAIN_SECONDS)
    else:
        add_next_media(tx, get(tx, run_id))
    return run_id


def _prompt_columns(tx: Tx, prompt_id: str) -> dict[str, Any]:
    """Return a snapshot of the prompt."""
    prompt = catalog.get_prompt(tx, prompt_id)
    names = ("name", "prompt_text", "json_schema", "video_level")
    return {
        "prompt_version": prompt.prompt_version,
        "prompt": {name: getattr(prompt, name) for name in names},
    }


def add_next_media(tx: Tx, run: Run) -> RunEnd | None:
    """Add the next media as items and queue some; return how the run ended if there is nothing to do."""
    run = add_next_items(tx, run) if run.filling is not None else run
    fairness.enqueue_next(tx, fairness.ITEMS, run)
    announce(tx, "prompt_run.started", run.id, run.index_id, event_data(run))
    if run.filling is not None:
        tx.enqueue(Kind.RUN, run.id, run.revision, tx.now)
    return end_if_done(tx, run)


def get(tx: Tx, run_id: str) -> Run:
    """Return the run, which exists."""
    return model_of(Run, tx.execute(sa.select(prompt_runs).where(prompt_runs.c.id == run_id)).one())


def lock_run(tx: Tx, run_id: str) -> Run:
    """Return the run, locked: everyone who ends one of its items waits here."""
    chosen = sa.select(prompt_runs).where(prompt_runs.c.id == run_id).with_for_update()
    return model_of(Run, tx.execute(chosen).one())


@dataclass(frozen=True, slots=True)
class ItemWork:
    """A media item to process. `paused`: why its processor may not be called."""

    item: RunItem
    run: Run
    media: Media
    connector: Connector
    paused: ProcessorPaused | None = None


@by_locks
def begin_item(tx: Tx, job: Job) -> ItemWork | None:
    """Count the attempt and return the work; None if the job is stale or the run has ended."""
    table = run_items
    touched = tx.touch(
        job,
        attempts=table.c.attempts + 1,
        status=ItemStatus.PROCESSING,
        started_at=sa.func.coalesce(table.c.started_at, tx.now),
    )
    if touched is None:
        return None
    item = model_of(RunItem, touched)
    run = get(tx, item.run_id)
    row = model_of(Media, tx.execute(sa.select(media).where(media.c.id == item.media_id)).one())
    if run.status in machine.TERMINAL:
        cancel_item(tx, job)
        return None
    if row.status == "deleted":  # while it was added to the run
        fail_item(tx, job, "video_deleted", "the video was deleted")
        return None
    if run.status == RunStatus.PENDING:
        _begin_run(tx, run.id)
    connector = catalog.read_connector(tx, row.connector_id)
    if item.attempts == 1:
        media_items.set_media_status(tx, "media.processing.started", run, row, "processing")
    return ItemWork(item, run, row, connector, processor_states.find_pause(tx, run.processor))


def _begin_run(tx: Tx, run_id: str) -> None:
    pending = prompt_runs.c.id == run_id, prompt_runs.c.status == RunStatus.PENDING
    begun = {"status": RunStatus.PROCESSING, "started_at": tx.now, "updated_at": tx.now}
    tx.execute(sa.update(prompt_runs).where(*pending).values(begun))


@by_locks
def retry_item(
    tx: Tx,
    job: Job,
    at: float,
    code: str,
    message: str,
    failures: int = 0,
    since: float | None = None,
    *,
    waits: bool = False,
) -> ItemEnd | None:
    """Process the item again at `at`; `message` says why. An item of a stopping run ends instead.

    `failures` counts failures in a row since `since` that the object itself caused: its store answered for others.
    `waits`: its processor was away, paused or out of budget, which is not an attempt.
    """
    found = tx.current(job)
    run = None if found is None else model_or_none(Run, tx.guard(prompt_runs, found.run_id))
    if run is None:
        return None
    if run.stop is not None:
        return cancel_item(tx, job) if waits else fail_item(tx, job, code, message)
    counted = {"failures": failures, "failing_since": since, "waits": run_items.c.waits + int(waits)}
    columns = {"error_code": code if waits else None, "error_message": message}
    row = tx.claim(job, status=ItemStatus.PENDING, **columns, **counted)
    if row is not None:
        tx.enqueue(Kind.RUN_ITEM, row.id, row.revision, at)
        fairness.enqueue_next(tx, fairness.ITEMS, run)
    return None


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """How an item ended, with the run's final status if it was the last one."""

    run_id: str
    status: ItemStatus
    message: str | None
    run_status: RunStatus | None = None
    export_id: str | None = None


@by_locks
def finish_item(tx: Tx, job: Job, result: ProcessingResult) -> ItemEnd | None:
    """Store the item's results. Damaged media ends as partial, never as completed."""
    columns = item_columns(result)
    item = tx.claim(job, completed_at=tx.now, **columns)
    if item is None:
        return None
    journal.replace_results(tx, item.id, result.segments)
    pictures.store_pack(tx, item.id, result.pictures)
    search_documents.index_item(tx, item.id)
    llm_calls.close_calls(tx, item.id)
    more_seconds = media_items.correct_probe(tx, item.media_id, result.probe)
    found = SegmentCounts(item.segment_count, item.failed_segment_count)
    return _end_item(tx, model_of(RunItem, item), columns["status"], found, more_seconds)


def item_columns(result: ProcessingResult) -> dict[str, Any]:
    """Return the columns of an item with this result, without its segments."""
    failed = sum(1 for segment in result.segments if segment.error is not None)
    ended = machine.item_ending(result)
    return {
        "status": ended.status,
        "error_code": ended.code,
        "error_message": ended.message,
        "damage": list(result.damage),
        "warnings": list(result.warnings),
        "video_metadata": result.metadata,
        "video_metadata_text": result.metadata_text,
        "segment_count": len(result.segments),
        "failed_segment_count": failed,
    }


@by_locks
def fail_item(tx: Tx, job: Job, code: str, message: str, patience: Patience | None = None) -> ItemEnd | None:
    """End the item without results. With `patience` it is retried automatically some time after its run."""
    columns = {"status": ItemStatus.FAILED, "error_code": code, "error_message": message}
    item, found = _close_item(tx, job, **columns)
    if item is None:
        return None
    if patience is not None and lock_run(tx, item.run_id).stop is None:
        plan_retry(tx, item.id, message, 1, patience)
    return _end_item(tx, item, ItemStatus.FAILED, found)


@by_locks
def cancel_item(tx: Tx, job: Job) -> ItemEnd | None:
    """End the item of a cancelled run and keep its finished segments. None for a stale job."""
    item, found = _close_item(tx, job, status=ItemStatus.CANCELLED)
    if item is None:
        return None
    row = model_of(Media, tx.execute(sa.select(media).where(media.c.id == item.media_id)).one())
    more = transcripts.count_transcription(tx, item.id)
    run = _count_item(tx, lock_run(tx, item.run_id), row, ItemStatus.CANCELLED, found, **more)
    restore_media_status(tx, [item.media_id])
    end = end_if_done(tx, run)
    if end is None:
        return ItemEnd(run.id, ItemStatus.CANCELLED, None)
    return ItemEnd(run.id, ItemStatus.CANCELLED, None, end.status, end.export_id)


def _close_item(tx: Tx, job: Job, **columns: Any) -> tuple[RunItem | None, SegmentCounts]:
    """End the item before it is done; return it and the segments it has."""
    item = tx.claim(job, completed_at=tx.now, **columns)
    if item is None:
        return None, SegmentCounts()
    llm_calls.close_calls(tx, item.id)
    found = journal.count_segments(tx, item.id)
    if found.segments:
        tx.update(run_items, item.id, **found.columns)
        search_documents.index_item(tx, item.id)
    return model_of(RunItem, item), found


def plan_retry(tx: Tx, item_id: int, message: str, tries: int, patience: Patience) -> None:
    """Plan the automatic retry number `tries` of the whole item, unless another retry of it is under way."""
    retry_id = tx.new_id("retry")
    row = {"id": retry_id, "run_item_id": item_id, "ordinal": WHOLE, "created_at": tx.now}
    if tx.insert_new(segment_retries, [{**row, "tries": tries, "error_message": message}]):
        tx.enqueue(Kind.SEGMENT_RETRY, retry_id, 0, tx.now + patience.delay(tries - 1))


def _end_item(
    tx: Tx, item: RunItem, status: ItemStatus, found: SegmentCounts, more_seconds: float = 0.0
) -> ItemEnd:
    check_transition(ItemStatus.PROCESSING, status)
    row = model_of(Media, tx.execute(sa.select(media).where(media.c.id == item.media_id)).one())
    more = {"seconds": more_seconds, WHOLE_FAILED: int(item.error_code == machine.WHOLE_FAILED)}
    more |= transcripts.count_transcription(tx, item.id)
    run = _count_item(tx, lock_run(tx, item.run_id), row, status, found, **more)
    event_type = "media.processing.failed" if status is ItemStatus.FAILED else "media.processing.completed"
    media_items.set_media_status(tx, event_type, run, row, MEDIA_STATUS[status], item.error_message)
    end = end_if_done(tx, run)
    if end is not None:
        return ItemEnd(run.id, status, item.error_message, end.status, end.export_id)
    fairness.enqueue_next(tx, fairness.ITEMS, run)
    _announce_progress(tx, run)
    return ItemEnd(run.id, status, item.error_message)


def _count_item(
    tx: Tx,
    run: Run,
    row: Media,
    status: ItemStatus,
    found: SegmentCounts,
    **more: float,
) -> Run:
    """Return the run with one more ended item; `row` is its media, `more` is added to the tally."""
    columns = prompt_runs.c
    grown = {
        f"{status.value}_items": 1,
        "total_segments": found.segments,
        "completed_segments": found.good,
        "missing_wholes": more.get(WHOLE_FAILED, 0),
    }
    changes = {name: number for name, number in more.items() if number}
    tally = count_in_tally(run.tally, row.media_type, **{status.value: 1}, **changes)
    is_news = status is ItemStatus.FAILED or found.good < found.segments or more.get(WHOLE_FAILED)
    news = {"dismissed_at": None} if is_news else {}
    return update_run(
        tx, run, tally=tally, **news, **{name: columns[name] + number for name, number in grown.items()}
    )


def _announce_progress(tx: Tx, run: Run) -> None:
    """Announce progress once all media were added: before that the total is unknown."""
    done = count_ended_items(run)
    step = _PROGRESS_STEPS * done // run.total_items if run.filling is None and run.stop is None else 0
    if step and step > _PROGRESS_STEPS * (done - 1) // run.total_items:
        announce(tx, "prompt_run.progress", f"{run.id}:{step}", run.index_id, event_data(run))
