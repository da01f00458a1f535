"""Import jobs that end before all their files: counted at once, recorded for the files in batches.

Imported files stay. An unfinished file is skipped; a worker on it records nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from vvwatch.core import imports as machine
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.state_machine import check_transition
from vvwatch.errors import Conflict
from vvwatch.ports import Job, Kind
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import model_of, model_or_none, models_of
from vvwatch.store.delivery.events import announce
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileEnd
from vvwatch.store.models.imports import ImportFile, ImportJob
from vvwatch.store.runs import runs
from vvwatch.store.schema import import_files, import_jobs, prompt_runs
from vvwatch.store.watching import claims

BATCH_FILES: Final = 500
"""The number of files in a batch."""

REASONS: Final[Mapping[str, tuple[str, str]]] = {
    ImportStatus.CANCELLED: ("cancelled", "the import job was cancelled before it was imported"),
    ImportStatus.FAILED: ("listing_failed", "the import job failed before everything was listed"),
}
"""Why a file of a stopped job was not imported: for machines, and for people."""


def cancel(tx: Tx, job_id: str) -> ImportJob:
    """Stop the job; return it. Raises NotFound, or Conflict if it has ended."""
    row = model_of(ImportJob, tx.require(import_jobs, "import_job", job_id))
    if row.status in machine.TERMINAL:
        raise Conflict(
            f"import job {job_id!r} is {row.status}", "only one that has not ended can be cancelled"
        )
    check_transition(row.status, ImportStatus.CANCELLED)
    end_job(tx, row, ImportStatus.CANCELLED)
    return imports.get(tx, job_id)


def end_job(tx: Tx, row: ImportJob, status: ImportStatus, message: str | None = None) -> FileEnd:
    """End the job of this row with `status`. No run begins; a run that waits for it continues without it."""
    run_id = _resume_run(tx, row)
    tx.update(
        import_jobs,
        row.id,
        status=status,
        skipped=row.total_files - row.imported - row.failed,
        run_id=run_id,
        execution_status="submitted" if run_id else "not_requested",
        error_message=message,
        completed_at=tx.now,
        updated_at=tx.now,
    )
    tx.nudge(Kind.IMPORT_JOB, row, tx.now)
    ended = imports.get(tx, row.id)
    if status is ImportStatus.FAILED:
        announce(tx, "import_job.failed", ended.id, ended.index_id, imports.event_data(ended))
    return FileEnd(ended.id, status, run_id, ended.imported, ended.failed, ended.skipped)


def _resume_run(tx: Tx, row: ImportJob) -> str | None:
    waits = sa.select(prompt_runs.c.id).where(prompt_runs.c.import_job_id == row.id)
    return None if tx.first(waits) is None else runs.start_after_import(tx, row)


def describe_file(job: ImportJob, file: ImportFile) -> tuple[str, str | None, str | None]:
    """Return status, reason and message of a file, also of one whose row does not show yet that its job was stopped."""
    if job.status in REASONS and file.status == FileStatus.PENDING:
        return FileStatus.SKIPPED, *REASONS[job.status]
    return file.status, file.reason, file.message


def skip_files(tx: Tx, job: Job) -> int:
    """Record some files of a stopped job as skipped; return how many, 0 when all are.

    Claims of a job without a window are released. Versions that came with a window stay
    known: they are not imported again automatically.
    """
    row = model_or_none(ImportJob, tx.current(job))
    if row is None or row.status not in REASONS:
        return 0
    files = _list_unfinished(tx, row.id, held=True) or _list_unfinished(tx, row.id, held=False)
    if not files:
        tx.claim(job)
        return 0
    reason, message = REASONS[row.status]
    outcome = {"status": FileStatus.SKIPPED, "reason": reason, "message": message, "next_at": None}
    fenced = {**outcome, "revision": import_files.c.revision + 1}
    tx.execute(sa.update(import_files).where(import_files.c.id.in_([f.id for f in files])).values(fenced))
    claimed = [(file.key, file.version) for file in files if file.claimed]
    claims.release_versions(tx, row, claimed)
    return len(files)


def _list_unfinished(tx: Tx, job_id: str, *, held: bool) -> list[ImportFile]:
    """Return some of its unfinished files: the queued ones, or those never queued.

    The status is a literal of the statement, so that planners find the index.
    """
    table = import_files
    pending = table.c.status == sa.literal(str(FileStatus.PENDING), literal_execute=True)
    put = table.c.next_at.is_not(None) if held else table.c.next_at.is_(None)
    chosen = sa.select(table).where(table.c.job_id == job_id, pending, put).limit(BATCH_FILES)
    return models_of(ImportFile, tx.all(chosen))
