"""Import jobs that end before all their files have: counted at once, told to each file in pieces.

What was imported stays. A file that had not ended is skipped; what works on it records nothing more.
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
"""How many files are told at once."""

REASONS: Final[Mapping[str, tuple[str, str]]] = {
    ImportStatus.CANCELLED: ("cancelled", "the import job was cancelled before it was imported"),
    ImportStatus.FAILED: ("listing_failed", "the import job failed before all was listed"),
}
"""Why a file of a stopped job was not imported: for machines, and for people."""


def cancel(tx: Tx, job_id: str) -> ImportJob:
    """Stop the job; returns it. Raises NotFound, or Conflict when it has ended."""
    row = model_of(ImportJob, tx.require(import_jobs, "import_job", job_id))
    if row.status in machine.TERMINAL:
        raise Conflict(
            f"import job {job_id!r} is {row.status}", "only one that has not ended can be cancelled"
        )
    check_transition(row.status, ImportStatus.CANCELLED)
    end_job(tx, row, ImportStatus.CANCELLED)
    return imports.get(tx, job_id)


def end_job(tx: Tx, row: ImportJob, status: ImportStatus, message: str | None = None) -> FileEnd:
    """End the job, as its row stands now, with `status`. No run begins, but one that waits for it goes on without."""
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
    """Status, reason and message of a file, also of one that is not yet told that its job was stopped."""
    if job.status in REASONS and file.status == FileStatus.PENDING:
        return FileStatus.SKIPPED, *REASONS[job.status]
    return file.status, file.reason, file.message


def skip_files(tx: Tx, job: Job) -> int:
    """Tell some files of a stopped job that they are skipped; returns how many, 0 when all know.

    What a job that no window made had claimed is to the ledger what it was before. What came with a window stays
    known: cancelled, it does not come again by itself.
    """
    row = model_or_none(ImportJob, tx.current(job))
    if row is None or row.status not in REASONS:
        return 0
    files = _list_unfinished(tx, row.id, held=True) or _list_unfinished(tx, row.id, held=False)
    if not files:
        tx.claim(job)
        return 0
    reason, message = REASONS[row.status]
    told = {"status": FileStatus.SKIPPED, "reason": reason, "message": message, "next_at": None}
    fenced = {**told, "revision": import_files.c.revision + 1}
    tx.execute(sa.update(import_files).where(import_files.c.id.in_([f.id for f in files])).values(fenced))
    claimed = [(file.key, file.version) for file in files if file.claimed]
    claims.release_versions(tx, row, claimed)
    return len(files)


def _list_unfinished(tx: Tx, job_id: str, *, held: bool) -> list[ImportFile]:
    """Some of its files that have not ended: those in the engine's hands, or those that were never put.

    The status stands in the text of the statement, where planners see that an index has it.
    """
    table = import_files
    pending = table.c.status == sa.literal(str(FileStatus.PENDING), literal_execute=True)
    put = table.c.next_at.is_not(None) if held else table.c.next_at.is_(None)
    chosen = sa.select(table).where(table.c.job_id == job_id, pending, put).limit(BATCH_FILES)
    return models_of(ImportFile, tx.all(chosen))
