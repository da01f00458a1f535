"""Retried failures need nobody, until they fail again."""

from __future__ import annotations

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.schema import import_files, import_jobs


def note_retried(tx: Tx, file_id: int | None) -> None:
    """The file of an import job, if it failed, is tried again; once is enough."""
    its = import_files.c.id == file_id, import_files.c.status == "failed", import_files.c.retried_at.is_(None)
    retried = sa.update(import_files).where(*its).values(retried_at=tx.now).returning(import_files.c.job_id)
    for job_id in tx.execute(retried).scalars().all():
        tx.update(import_jobs, job_id, retried=import_jobs.c.retried + 1)
