"""Retry what failed: on request, or automatically when an object can be read again."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.exports import ExportStatus, QueueStatus
from vvwatch.core.imports import FileStatus
from vvwatch.errors import Conflict, NotFound
from vvwatch.ports import Kind, Priority
from vvwatch.store import schema
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of
from vvwatch.store.delivery import exports as export_store
from vvwatch.store.delivery import webhooks
from vvwatch.store.delivery.export_runs import list_runs
from vvwatch.store.imports import cancellation, imports, unreadable
from vvwatch.store.imports import job_queries as import_job_queries
from vvwatch.store.imports.imports import NewFile
from vvwatch.store.models.delivery import Delivery, Export
from vvwatch.store.models.imports import ImportFile, ImportJob, Trouble
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.schema import (
    deliveries,
    exports,
    import_automations,
    import_files,
)
from vvwatch.store.watching import automations, ledger

_LARGEST_ID = 2**63 - 1


def retry_delivery(tx: Tx, delivery_id: str) -> None:
    """Send a failed delivery again, under the same id. Raises NotFound or Conflict."""
    found = webhooks.get_delivery(tx, delivery_id)
    _require_failed("delivery", found.delivery)
    if found.webhook.status != "active":
        raise Conflict(
            f"webhook {found.webhook.id!r} is {found.webhook.status}: nothing is sent to it",
            "set its status to active, or reload the configuration that declares it",
        )
    fresh = {
        "status": DeliveryStatus.PENDING,
        "error_message": None,
        "completed_at": None,
        "dismissed_at": None,
    }
    tx.update(deliveries, delivery_id, **fresh)
    tx.nudge(Kind.DELIVERY, found.delivery, tx.now, Priority.MANUAL)


def retry_export(tx: Tx, export_id: str) -> None:
    """Build and deliver a failed export again, with all attempts available. Raises NotFound or Conflict."""
    found = export_store.get(tx, export_id)
    _require_failed("export", found)
    export_store.require_results(list_runs(tx, found))
    tx.update(
        exports,
        export_id,
        status=ExportStatus.PENDING,
        queue_status=QueueStatus.QUEUED,
        attempts=0,
        error_message=None,
        completed_at=None,
        dismissed_at=None,
        available_at=tx.now,
        updated_at=tx.now,
    )
    tx.nudge(Kind.EXPORT, found, tx.now, Priority.MANUAL)


@dataclass(frozen=True, slots=True)
class EligibleFile:
    """An object that counts as new again; `scanning`: an active automation looks for it now."""

    file: ImportFile
    job: ImportJob
    scanning: bool


def retry_file(tx: Tx, job_id: str, file_id: str) -> EligibleFile:
    """Forget the object of a failed or skipped file, so that the next scan takes it as new.

    The job keeps its record of what happened; the object joins a window and an import job of its own.
    Raises NotFound (job, index, file), or Conflict for a file that is neither failed nor skipped, or is not
    in a store that is scanned.
    """
    job = import_job_queries.get(tx, job_id)
    if catalog.is_uploads(job.connector_id):
        raise Conflict(
            f"the files of import job {job_id!r} are in no store that is scanned",
            "for attachments, retry the whole job; for uploads, upload the file again",
        )
    catalog.get_index(tx, job.index_id)
    file = _find_file(tx, job_id, file_id)
    status, _, _ = cancellation.describe_file(job, file)
    if status not in (FileStatus.FAILED, FileStatus.SKIPPED):
        raise Conflict(f"file {file.id} of import job {job_id!r} is {status}", "only failed or skipped")
    ledger.forget_version(tx, job.index_id, job.connector_id, file.key, file.version)
    unreadable.forget(tx, ledger.ensure_scope(tx, job.index_id, job.connector_id), [file.key])
    unreadable.note_retried(tx, file.id)
    automation = _find_automation(tx, job)
    if automation is None:
        return EligibleFile(file, job, scanning=False)
    ledger.forget_observations(tx, automation.id, [file.key])
    automations.scan_now(tx, automation.id)
    return EligibleFile(file, job, scanning=automation.enabled and not automation.paused)


def _find_file(tx: Tx, job_id: str, file_id: str) -> ImportFile:
    known = file_id.isascii() and file_id.isdecimal() and len(file_id) < 20 and int(file_id) <= _LARGEST_ID
    wanted = import_files.c.job_id == job_id, import_files.c.id == (int(file_id) if known else -1)
    row = first_of(ImportFile, tx.execute(sa.select(import_files).where(*wanted)))
    if row is None:
        raise NotFound("import_file", file_id)
    return row


def _find_automation(tx: Tx, job: ImportJob) -> ImportAutomation | None:
    """Return the automation that would find the object again."""
    table = import_automations
    wanted = table.c.index_id == job.index_id, table.c.connector_id == job.connector_id
    return first_of(ImportAutomation, tx.execute(sa.select(table).where(*wanted)))


@dataclass(frozen=True, slots=True)
class TakenUp:
    """An object that can be read again: the automation that looks at it, or the job that imports it."""

    automation_id: str | None
    job_id: str | None


def take_up(tx: Tx, begun: Trouble) -> TakenUp | None:
    """Make the version count as new; None if that was done already, or nothing waits for it."""
    if not unreadable.is_known(tx, begun) or not unreadable.end_try(tx, begun, retry_at=None):
        return None
    unreadable.note_retried(tx, begun.file_id)
    if begun.automation_id is None:
        return TakenUp(None, _create_job(tx, begun))
    scope = tx.execute(
        sa.select(schema.ledger_scopes).where(schema.ledger_scopes.c.id == begun.scope_id)
    ).one()
    ledger.forget_version(tx, scope.index_id, scope.connector_id, begun.key, begun.version)
    ledger.forget_observations(tx, begun.automation_id, [begun.key])
    return TakenUp(begun.automation_id, None)


def _create_job(tx: Tx, begun: Trouble) -> str:
    """Create a job for it, like the one in which it failed."""
    job = imports.get(tx, begun.job_id)
    chosen = sa.select(import_files).where(import_files.c.id == begun.file_id)
    file = first_of(ImportFile, tx.execute(chosen))
    new = NewFile(
        begun.key,
        begun.version,
        file.size_bytes if file is not None else 0,
        file.modified_at if file is not None else None,
        title=file.title if file is not None else None,
    )
    made = imports.create_sealed(
        tx,
        job_id=tx.new_id("job"),
        index_id=job.index_id,
        connector_id=job.connector_id,
        source_kind=job.source_kind,
        files=[new],
        prompt_preset=job.prompt_preset,
        concurrency=job.concurrency,
    )
    if file is not None and file.media_id is not None:
        tx.execute(
            sa.update(import_files).where(import_files.c.job_id == made.id).values(media_id=file.media_id)
        )
    return made.id


def _require_failed(kind: str, row: Export | Delivery) -> None:
    if row.status != "failed":
        raise Conflict(f"{kind} {row.id!r} is {row.status}", "only what has failed can be retried")
