"""Exports: made once per terminal run by the index's automation, delivered once under a reserved name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vvwatch.core.exports import ExportStatus, QueueStatus, check_transition, destination_key
from vvwatch.core.runs import Results, RunStatus
from vvwatch.ports import Job, Kind, Written
from vvwatch.store.database import Tx
from vvwatch.store.deleted import kept
from vvwatch.store.events import announce
from vvwatch.store.schema import (
    connectors,
    export_automations,
    exports,
    media,
    prompt_runs,
    run_items,
    segment_results,
)

_EXPORTED = (RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_FAILURES)


def check_destination(base_path: str | None, subpath: str | None) -> None:
    """Raises InvalidInput when the subpath would leave the connector's export base path."""
    destination_key(base_path, subpath, "exp_check")


def fire(tx: Tx, run: sa.Row[Any]) -> str | None:
    """Export a run's results, while they are kept, by its index's automation; once per run.

    Returns the id of a new export.
    """
    automation = tx.first(
        sa.select(export_automations).where(
            export_automations.c.index_id == run.index_id,
            export_automations.c.enabled,
            ~export_automations.c.paused,
        )
    )
    exportable = run.status in _EXPORTED and run.results == Results.KEPT
    if automation is None or not exportable or _exists(tx, automation.id, run.id):
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
        automation_id=automation.id,
        destination_type="connector",
        destination_connector_id=connector.id,
        destination_base_path=connector.export_base_path,
        destination_subpath=automation.destination_subpath,
        created_at=tx.now,
        available_at=tx.now,
        updated_at=tx.now,
    )
    tx.put(Kind.EXPORT, export_id, 0, tx.now)
    tx.update(export_automations, automation.id, last_export_id=export_id, last_triggered_at=tx.now)
    return export_id


def runs_of(automation_id: str) -> sa.Select[Any]:
    """The ids of the runs that an automation has exported."""
    return sa.select(exports.c.run_id).where(exports.c.automation_id == automation_id)


def _exists(tx: Tx, automation_id: str, run_id: str) -> bool:
    found = sa.select(exports.c.id).where(
        exports.c.automation_id == automation_id, exports.c.run_id == run_id
    )
    return tx.first(found) is not None


@dataclass(frozen=True, slots=True)
class ExportWork:
    """One export to build and deliver; `connector` is None for a download."""

    export: sa.Row[Any]
    connector: sa.Row[Any] | None
    runs: Sequence[sa.Row[Any]]


def begin(tx: Tx, job: Job) -> ExportWork | None:
    """Note the attempt and return the work; None for a stale job."""
    table = exports
    row = tx.touch(
        job,
        attempts=table.c.attempts + 1,
        status=ExportStatus.PROCESSING,
        queue_status=QueueStatus.RUNNING,
        started_at=sa.func.coalesce(table.c.started_at, tx.now),
        updated_at=tx.now,
    )
    if row is None:
        return None
    connector = tx.first(sa.select(connectors).where(connectors.c.id == row.destination_connector_id))
    return ExportWork(row, connector, runs_in(tx, row))


def again(tx: Tx, export_id: str) -> ExportWork:
    """What a completed export for download was built from."""
    row = tx.require(exports, "export", export_id)
    return ExportWork(row, None, runs_in(tx, row))


def runs_in(tx: Tx, export: sa.Row[Any]) -> Sequence[sa.Row[Any]]:
    """Its only run, or those of the index that had ended when the export was made."""
    wanted: tuple[sa.ColumnElement[bool], ...] = (prompt_runs.c.id == export.run_id,)
    if not export.run_id:
        ended = prompt_runs.c.completed_at <= export.created_at
        wanted = (prompt_runs.c.index_id == export.index_id, ended)
    return tx.all(sa.select(prompt_runs).where(*wanted).order_by(prompt_runs.c.id))


def items(tx: Tx, run_id: str, after_item_id: int, limit: int) -> Sequence[sa.Row[Any]]:
    """The next run items of a run joined with their media (columns prefixed `media_`), by id."""
    columns = [column.label(f"media_{column.name}") for column in media.c if column.name != "id"]
    return tx.all(
        sa.select(run_items, *columns)
        .join(media, media.c.id == run_items.c.media_id)
        .where(run_items.c.run_id == run_id, run_items.c.id > after_item_id, kept(media.c.id))
        .order_by(run_items.c.id)
        .limit(limit)
    )


def segments(tx: Tx, run_item_id: int) -> Sequence[sa.Row[Any]]:
    """The segment results of one run item, in order."""
    table = segment_results
    return tx.all(sa.select(table).where(table.c.run_item_id == run_item_id).order_by(table.c.ordinal))


def finish(tx: Tx, job: Job, written: Written, *, delivered: bool) -> sa.Row[Any] | None:
    """End the export with what was written; announces `export.ready`. None for a stale job."""
    _check(ExportStatus.COMPLETED, QueueStatus.SUCCEEDED)
    row = tx.claim(
        job,
        status=ExportStatus.COMPLETED,
        queue_status=QueueStatus.SUCCEEDED,
        file_size_bytes=written.size_bytes,
        sha256=written.sha256,
        destination_uri=written.uri if delivered else None,
        completed_at=tx.now,
        updated_at=tx.now,
        last_error=None,
    )
    if row is not None:
        _note_automation(tx, row, None)
        announce(tx, "export.ready", row.id, row.index_id, event_data(row))
    return row


def retry(tx: Tx, job: Job, at: float, message: str) -> None:
    """Try again later; `message` says why."""
    _check(ExportStatus.PENDING, QueueStatus.QUEUED)
    row = tx.claim(
        job,
        status=ExportStatus.PENDING,
        queue_status=QueueStatus.QUEUED,
        last_error=message,
        available_at=at,
        updated_at=tx.now,
    )
    if row is not None:
        _note_automation(tx, row, message)
        tx.put(Kind.EXPORT, row.id, row.revision, at)


def fail(tx: Tx, job: Job, message: str) -> sa.Row[Any] | None:
    """Give up; announces `export.failed`. None for a stale job."""
    _check(ExportStatus.FAILED, QueueStatus.DEAD_LETTER)
    row = tx.claim(
        job,
        status=ExportStatus.FAILED,
        queue_status=QueueStatus.DEAD_LETTER,
        error_message=message,
        last_error=message,
        completed_at=tx.now,
        updated_at=tx.now,
    )
    if row is not None:
        _note_automation(tx, row, message)
        announce(tx, "export.failed", row.id, row.index_id, event_data(row))
    return row


def _check(status: ExportStatus, queue_status: QueueStatus) -> None:
    """What `begin` began may become this: the fence lets nothing else get here."""
    check_transition(ExportStatus.PROCESSING, status)
    check_transition(QueueStatus.RUNNING, queue_status)


def _note_automation(tx: Tx, export: sa.Row[Any], error: str | None) -> None:
    if export.automation_id:
        tx.update(export_automations, export.automation_id, last_error=error)


def event_data(export: sa.Row[Any]) -> dict[str, Any]:
    """What webhooks are told of an export."""
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
