"""Exports: created once per ended run by the index's automation, or on request; delivered once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.exports import (
    USUAL_OPTIONS,
    ExportOptions,
    ExportStatus,
    ExportType,
    QueueStatus,
    destination_key,
)
from vvwatch.core.runs import TERMINAL, Results, RunStatus
from vvwatch.core.state_machine import check_transition
from vvwatch.errors import Conflict, InvalidInput
from vvwatch.ports import Job, Kind, Priority, WriteResult
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.deleted import is_not_deleted, require_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.db.lists import Show, select_shown
from vvwatch.store.db.typed import first_of, model_of, model_or_none, models_of
from vvwatch.store.delivery.events import announce
from vvwatch.store.delivery.export_runs import list_runs
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.delivery import Export, ExportedRun
from vvwatch.store.models.runs import Run, RunItemWithMedia, SegmentResult
from vvwatch.store.schema import (
    connectors,
    export_automations,
    exports,
    media,
    prompt_runs,
    run_items,
    segment_results,
)
from vvwatch.store.schema.results import EXPORT_NEEDS_ATTENTION

MOST_FILES: Final = 100
"""So many files of an export are recorded; its manifest names them all."""

_LONGEST_FOLDER: Final = 300
"""A name of a file adds up to 700 bytes to it, and stores take 1,024."""

_EXPORTED = (RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_FAILURES)


def check_destination(base_path: str | None, subpath: str | None, options: ExportOptions) -> None:
    """Raise InvalidInput if the subpath would leave the connector's export base path, or is too long for `options`."""
    folder = destination_key(base_path, subpath, "exp_check")
    if options.document() is not None and len(folder.encode()) > _LONGEST_FOLDER:
        raise InvalidInput(
            f"export_base_path and destination_subpath are longer than {_LONGEST_FOLDER} bytes together",
            "names of files below them could become too long for a store: use a shorter folder",
        )


@dataclass(frozen=True, slots=True)
class Destination:
    """The destination of an export, and the layout of its files; without a connector it is downloaded."""

    connector_id: str | None = None
    subpath: str | None = None
    options: ExportOptions = USUAL_OPTIONS


def get(tx: Tx, export_id: str) -> Export:
    """Return the export. Raises NotFound."""
    return model_of(Export, tx.require(exports, "export", export_id))


def list_newest(tx: Tx, limit: int, show: Show = "", before_id: str | None = None) -> list[Export]:
    """Return exports, newest first, older than `before_id`."""
    shown = select_shown(exports, show, EXPORT_NEEDS_ATTENTION, before_id)
    return models_of(Export, tx.all(shown.limit(limit)))


def request_index(
    tx: Tx, index_id: str, run_ids: Sequence[str] | None = None, to: Destination | None = None
) -> Export:
    """Export the results of an index's ended runs, or of these of them.

    Raises NotFound (index, connector), InvalidInput for a run of another index or a destination that cannot be
    one, Conflict for a run whose results were deleted.
    """
    catalog.get_index(tx, index_id)
    wanted = list(dict.fromkeys(run_ids or ())) or None
    if wanted is not None:
        _require_runs(tx, index_id, wanted)
    values = {"target_id": index_id, "index_id": index_id, "prompt_run_ids": wanted}
    return _create(tx, to or Destination(), export_type=ExportType.INDEX, **values)


def request_run(tx: Tx, run_id: str, to: Destination | None = None) -> Export:
    """Export the results of a run. Raises as `request_index`, and Conflict for a run that has not ended."""
    run = model_of(Run, tx.require(prompt_runs, "prompt_run", run_id))
    require_not_deleted(tx, "prompt_run", run_id, *([run.index_id] if run.index_id else []))
    if run.status not in TERMINAL:
        raise Conflict(f"prompt run {run_id!r} is {run.status}", "export it when it has ended")
    require_results([run])
    values = {"target_id": run_id, "index_id": run.index_id, "run_id": run_id}
    return _create(tx, to or Destination(), export_type=ExportType.PROMPT_RUN, **values)


def _require_runs(tx: Tx, index_id: str, run_ids: Sequence[str]) -> None:
    table = prompt_runs
    chosen = sa.select(table).where(table.c.id.in_(run_ids), table.c.index_id == index_id)
    found = models_of(Run, tx.all(chosen))
    strange = sorted(set(run_ids) - {run.id for run in found})
    if strange:
        raise InvalidInput(
            f"index {index_id!r} has no prompt run {', '.join(map(repr, strange[:3]))}",
            "GET /indexes/{index_id}/prompt-runs lists them",
        )
    require_results(found)


def require_results(runs: Sequence[Run]) -> None:
    """Raise Conflict for a run whose results were deleted or are being deleted.

    An artefact without them would look like that of media without results.
    """
    for run in runs:
        if run.results != Results.KEPT:
            raise Conflict(
                f"the results of prompt run {run.id!r} are no longer kept",
                "[retention] in the configuration says how long results are kept",
            )


def _create(tx: Tx, to: Destination, **values: Any) -> Export:
    export_id = tx.new_id("exp")
    moments = {"created_at": tx.now, "available_at": tx.now, "updated_at": tx.now}
    values |= _resolve_destination(tx, to)
    tx.insert(exports, id=export_id, options=to.options.document(), **values, **moments)
    tx.enqueue(Kind.EXPORT, export_id, 0, tx.now, Priority.MANUAL)
    return get(tx, export_id)


def _resolve_destination(tx: Tx, to: Destination) -> dict[str, Any]:
    if to.connector_id is None:
        if to.subpath:
            raise InvalidInput("destination_subpath needs a destination_connector_id", "name a connector")
        if to.options.sidecars or to.options.latest:
            raise InvalidInput("sidecars and latest need a destination_connector_id", "name a connector")
        return {}
    connector = catalog.get_connector(tx, to.connector_id)
    if "export" not in connector.scopes:
        hint = "add 'export' to its scopes, or name another connector"
        raise InvalidInput(f"connector {connector.id!r} does not have the scope 'export'", hint)
    check_destination(connector.export_base_path, to.subpath, to.options)
    return {
        "destination_type": "connector",
        "destination_connector_id": connector.id,
        "destination_base_path": connector.export_base_path,
        "destination_subpath": to.subpath,
    }


def request_automatic(tx: Tx, run: Run, *, again: bool = False) -> str | None:
    """Export a run's results for its index's automation, if they still exist; once per run.

    With `again`, export them once more because they have changed; only a run that was exported before, and whose
    export has begun. Such an export names no automation, because an automation exports a run once. Return the id of a
    new export.
    """
    automation = tx.first(
        sa.select(export_automations).where(
            export_automations.c.index_id == run.index_id,
            export_automations.c.enabled,
            ~export_automations.c.paused,
        )
    )
    exportable = run.status in _EXPORTED and run.results == Results.KEPT
    if automation is None or not exportable or _is_exported(tx, automation.id, run.id) != again:
        return None
    if again and _is_waiting(tx, run.id):
        return None
    connector = tx.execute(
        sa.select(connectors).where(connectors.c.id == automation.destination_connector_id)
    ).one()
    export_id = tx.new_id("exp")
    tx.insert(
        exports,
        id=export_id,
        export_type="index",
        target_id=run.index_id,
        index_id=run.index_id,
        run_id=run.id,
        automation_id=None if again else automation.id,
        destination_type="connector",
        destination_connector_id=connector.id,
        destination_base_path=connector.export_base_path,
        destination_subpath=automation.destination_subpath,
        options=automation.options,
        created_at=tx.now,
        available_at=tx.now,
        updated_at=tx.now,
    )
    tx.enqueue(Kind.EXPORT, export_id, 0, tx.now)
    tx.update(export_automations, automation.id, last_export_id=export_id, last_triggered_at=tx.now)
    return export_id


def select_exported_runs(automation_id: str) -> sa.Select[Any]:
    """Select the ids of the runs that an automation has exported."""
    return sa.select(exports.c.run_id).where(exports.c.automation_id == automation_id)


def _is_exported(tx: Tx, automation_id: str, run_id: str) -> bool:
    found = sa.select(exports.c.id).where(
        exports.c.automation_id == automation_id, exports.c.run_id == run_id
    )
    return tx.first(found) is not None


def _is_waiting(tx: Tx, run_id: str) -> bool:
    """Return whether an export of the run has not begun yet: it will have the results of now."""
    table = exports.c
    its = table.run_id == run_id, table.destination_type == "connector"
    waiting = table.status == ExportStatus.PENDING, table.attempts == 0
    return tx.first(sa.select(table.id).where(*its, *waiting)) is not None


@dataclass(frozen=True, slots=True)
class ExportWork:
    """One export to build and deliver; `connector` is None for a download."""

    export: Export
    connector: Connector | None
    runs: Sequence[ExportedRun]


def begin(tx: Tx, job: Job) -> ExportWork | None:
    """Record the attempt and return the work; None for a stale job."""
    table = exports
    touched = tx.touch(
        job,
        attempts=table.c.attempts + 1,
        status=ExportStatus.PROCESSING,
        queue_status=QueueStatus.RUNNING,
        started_at=sa.func.coalesce(table.c.started_at, tx.now),
        updated_at=tx.now,
    )
    if touched is None:
        return None
    row = model_of(Export, touched)
    connector = first_of(
        Connector, tx.execute(sa.select(connectors).where(connectors.c.id == row.destination_connector_id))
    )
    return ExportWork(row, connector, list_runs(tx, row))


def load_work(tx: Tx, export_id: str) -> ExportWork:
    """Return the work from which a completed export for download was built."""
    row = get(tx, export_id)
    return ExportWork(row, None, list_runs(tx, row))


def find_with_documents(tx: Tx, export_ids: Sequence[str]) -> set[str]:
    """Return those ids whose exports may need a file here: they are for download, or under way."""
    table = exports
    needed = sa.or_(table.c.destination_type == "download", table.c.completed_at.is_(None))
    return set(tx.execute(sa.select(table.c.id).where(table.c.id.in_(export_ids), needed)).scalars())


def list_items(tx: Tx, run_id: str, after_item_id: int, limit: int) -> list[RunItemWithMedia]:
    """Return the next run items of a run joined with their media (columns prefixed `media_`), by id."""
    of_media = [column.label(f"media_{column.name}") for column in media.c if column.name != "id"]
    chosen = (
        sa.select(run_items, *of_media)
        .join(media, media.c.id == run_items.c.media_id)
        .where(run_items.c.run_id == run_id, run_items.c.id > after_item_id, is_not_deleted(media.c.id))
        .order_by(run_items.c.id)
        .limit(limit)
    )
    return models_of(RunItemWithMedia, tx.all(chosen))


def list_segments(tx: Tx, run_item_id: int) -> list[SegmentResult]:
    """Return the segment results of one run item, in order."""
    table = segment_results
    chosen = sa.select(table).where(table.c.run_item_id == run_item_id).order_by(table.c.ordinal)
    return models_of(SegmentResult, tx.all(chosen))


def is_current(tx: Tx, job: Job) -> bool:
    """Return whether this job still delivers the export."""
    return tx.current(job) is not None


def finish(
    tx: Tx,
    job: Job,
    written: WriteResult,
    *,
    delivered: bool,
    parts: Sequence[WriteResult] = (),
    files: Sequence[dict[str, Any]] | None = None,
) -> Export | None:
    """Complete the export and announce `export.ready`. None for a stale job.

    `parts` are the files of a document for download: `written`, and more if it was divided. `files` are those of an
    export with options; the first of them are recorded.
    """
    row = _end_attempt(
        tx,
        job,
        ExportStatus.COMPLETED,
        QueueStatus.SUCCEEDED,
        None,
        file_size_bytes=written.size_bytes,
        sha256=written.sha256,
        parts=_describe_parts(parts) if len(parts) > 1 else None,
        files=None if files is None else list(files[:MOST_FILES]),
        destination_uri=written.uri if delivered else None,
        completed_at=tx.now,
    )
    if row is not None:
        announce(tx, "export.ready", row.id, row.index_id, event_data(row))
    return row


def _describe_parts(parts: Sequence[WriteResult]) -> list[dict[str, Any]]:
    return [{"size_bytes": part.size_bytes, "sha256": part.sha256} for part in parts]


def retry(tx: Tx, job: Job, at: float, message: str, *, counts: bool = True) -> None:
    """Retry later; `message` says why. Without `counts` that was no attempt."""
    attempts = exports.c.attempts - int(not counts)
    row = _end_attempt(
        tx, job, ExportStatus.PENDING, QueueStatus.QUEUED, message, attempts=attempts, available_at=at
    )
    if row is not None:
        tx.enqueue(Kind.EXPORT, row.id, row.revision, at)


def fail(tx: Tx, job: Job, message: str) -> Export | None:
    """Fail the export and announce `export.failed`. None for a stale job."""
    ended: dict[str, Any] = {"error_message": message, "completed_at": tx.now}
    row = _end_attempt(tx, job, ExportStatus.FAILED, QueueStatus.DEAD_LETTER, message, **ended)
    if row is not None:
        announce(tx, "export.failed", row.id, row.index_id, event_data(row))
    return row


def _end_attempt(
    tx: Tx, job: Job, status: ExportStatus, queue_status: QueueStatus, error: str | None, **values: Any
) -> Export | None:
    """Change the export that `begin` began, and note the error, here and at its automation. None for a stale job."""
    check_transition(ExportStatus.PROCESSING, status)
    check_transition(QueueStatus.RUNNING, queue_status)
    changes = {"status": status, "queue_status": queue_status, "last_error": error, "updated_at": tx.now}
    row = model_or_none(Export, tx.claim(job, **changes, **values))
    if row is not None and row.automation_id:
        tx.update(export_automations, row.automation_id, last_error=error)
    return row


def event_data(export: Export) -> dict[str, Any]:
    """Return the webhook payload of an export."""
    return {
        "export_id": export.id,
        "export_type": export.export_type,
        "target_id": export.target_id,
        "index_id": export.index_id,
        "run_id": export.run_id,
        "status": export.status,
        "destination_type": export.destination_type,
        "destination_connector_id": export.destination_connector_id,
        "destination_uri": export.destination_uri,
        "file_size_bytes": export.file_size_bytes,
        "sha256": export.sha256,
        "error_message": export.error_message,
    }
