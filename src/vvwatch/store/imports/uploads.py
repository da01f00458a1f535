"""Uploads: import jobs of files on this node."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from vvwatch.core.imports import TERMINAL
from vvwatch.store.catalog.deleted import is_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import import_files, import_jobs, media


def reserve_media(tx: Tx, job_id: str) -> list[str]:
    """Return ids for the future media of a job's files, in the order of the files."""
    files = tx.all(
        sa.select(import_files.c.id).where(import_files.c.job_id == job_id).order_by(import_files.c.ordinal)
    )
    reserved = [(row.id, tx.new_id("vid")) for row in files]
    for file_id, media_id in reserved:
        tx.update(import_files, file_id, media_id=media_id)
    return [media_id for _, media_id in reserved]


def is_known(tx: Tx, job_id: str) -> bool:
    """Return whether the job exists."""
    return tx.first(sa.select(import_jobs.c.id).where(import_jobs.c.id == job_id)) is not None


def list_needed_keys(tx: Tx, job_ids: Sequence[str]) -> set[str]:
    """Return the keys below these jobs that are needed: of media that are not deleted, and of running imports."""
    there = sa.select(media.c.key).where(
        media.c.import_job_id.in_(job_ids), is_not_deleted(media.c.id), is_not_deleted(media.c.index_id)
    )
    arriving = (
        sa.select(import_files.c.key)
        .join(import_jobs, import_jobs.c.id == import_files.c.job_id)
        .where(import_jobs.c.id.in_(job_ids), import_jobs.c.status.not_in(TERMINAL))
    )
    return set(tx.execute(sa.union(there, arriving)).scalars())
