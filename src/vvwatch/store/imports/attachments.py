"""Attachment jobs: what could not be fetched is fetched again, perhaps from where it is to be had now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from vvwatch.core import imports as machine
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.errors import Conflict, InvalidInput
from vvwatch.store.catalog import catalog
from vvwatch.store.db import fairness
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import imports
from vvwatch.store.schema import import_files, import_jobs


def retry(tx: Tx, job_id: str, refreshed: Sequence[Mapping[str, Any]] | None) -> sa.Row[Any]:
    """Let every failed file of the job be tried again; returns the job, which is under way again.

    Each of `refreshed` has the `file_id` that its file has in the job or had when the job was made, and what of its
    origin is new. Raises NotFound (job, index), Conflict while the job is under way and where nothing failed, and
    InvalidInput for a file that has not failed.
    """
    job = tx.require(import_jobs, "import_job", job_id)
    catalog.get_index(tx, job.index_id)
    if job.status not in (ImportStatus.COMPLETED, ImportStatus.FAILED) or not job.failed:
        what = (
            f"is {job.status}" if job.status not in machine.TERMINAL or job.failed else "has no failed file"
        )
        raise Conflict(
            f"import job {job_id!r} {what}", "only what has ended, with failed files, is tried again"
        )
    failed = tx.all(
        sa.select(import_files).where(
            import_files.c.job_id == job_id, import_files.c.status == FileStatus.FAILED
        )
    )
    _refresh(tx, job_id, failed, refreshed or ())
    again = {
        "status": FileStatus.PENDING,
        "version": "",  # it is fetched again
        "attempts": 0,
        "reason": None,
        "message": None,
        "next_at": None,
        "revision": import_files.c.revision + 1,
    }
    mine = import_files.c.job_id == job_id, import_files.c.status == FileStatus.FAILED
    tx.execute(sa.update(import_files).where(*mine).values(again))
    tx.update(
        import_jobs,
        job_id,
        status=ImportStatus.IMPORTING,
        attempts=job.attempts + 1,
        failed=job.failed - len(failed),
        error_message=None,
        completed_at=None,
        updated_at=tx.now,
    )
    row = imports.get(tx, job_id)
    fairness.enqueue_next(tx, fairness.FILES, row)
    return row


def _refresh(
    tx: Tx, job_id: str, failed: Sequence[sa.Row[Any]], refreshed: Sequence[Mapping[str, Any]]
) -> None:
    by_id = {str(file.id): file for file in failed}
    by_id |= {
        str(file.origin["file_id"]): file for file in failed if file.origin and "file_id" in file.origin
    }
    for new in refreshed:
        file = by_id.get(str(new["file_id"]))
        if file is None:
            raise InvalidInput(
                f"import job {job_id!r} has no failed file {new['file_id']!r}",
                "GET its files with failed_only=true",
            )
        fresh = {name: value for name, value in new.items() if name != "file_id" and value is not None}
        tx.update(import_files, file.id, origin={**(file.origin or {}), **fresh})
