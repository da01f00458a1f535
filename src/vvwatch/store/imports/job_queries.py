"""Queries that show import jobs and their manifests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.store.db.database import Tx
from vvwatch.store.db.lists import Show, select_shown
from vvwatch.store.db.typed import Model, model_of, models_of
from vvwatch.store.models.imports import ImportedFile, ImportJob, ListedFile
from vvwatch.store.schema import import_files, import_jobs, media, troubles
from vvwatch.store.schema.columns import FAILED, SKIPPED
from vvwatch.store.schema.results import JOB_NEEDS_ATTENTION

_WHOLE: Final = 100
_BRIEF: Final = 10

_in_trouble = sa.and_(troubles.c.file_id == import_files.c.id, troubles.c.retry_at.is_not(None))
_files = sa.select(import_files, troubles.c.tries, troubles.c.retry_at).outerjoin(troubles, _in_trouble)
_outputs = sa.select(
    import_files,
    media.c.title.label("media_title"),
    media.c.status.label("media_status"),
    media.c.duration_seconds.label("media_duration_seconds"),
).join(media, media.c.id == import_files.c.media_id)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with the first `limit` files of each kind, and one more imported or failed one if there are more.

    `current_file` is the key of a file in progress.
    """

    job: ImportJob
    limit: int
    outputs: Sequence[ImportedFile]
    failed: Sequence[ListedFile]
    skipped: Sequence[ListedFile]
    current_file: str | None


def get(tx: Tx, job_id: str) -> ImportJob:
    """Return the job. Raises NotFound."""
    return model_of(ImportJob, tx.require(import_jobs, "import_job", job_id))


def get_view(tx: Tx, job_id: str) -> JobView:
    """Return the job with its first hundred files of each kind. Raises NotFound."""
    return _load_view(tx, get(tx, job_id), _WHOLE)


def list_newest(
    tx: Tx,
    *,
    status: str | None,
    index_id: str | None,
    connector_id: str | None = None,
    automation_only: bool,
    limit: int,
) -> list[JobView]:
    """Return jobs with their first ten files of each kind, newest first."""
    table = import_jobs
    wanted = [table.c.status == status] if status else []
    wanted += [table.c.index_id == index_id] if index_id else []
    wanted += [table.c.connector_id == connector_id] if connector_id else []
    wanted += [table.c.automation_id.is_not(None)] if automation_only else []
    found = tx.all(sa.select(table).where(*wanted).order_by(table.c.id.desc()).limit(limit))
    return [_load_view(tx, job, _BRIEF) for job in models_of(ImportJob, found)]


def list_rows(tx: Tx, show: Show, before_id: str | None, limit: int) -> list[ImportJob]:
    """Return jobs without their files, newest first, older than `before_id`."""
    shown = select_shown(import_jobs, show, JOB_NEEDS_ATTENTION, before_id)
    return models_of(ImportJob, tx.all(shown.limit(limit)))


def list_files(
    tx: Tx, job_id: str, after_key: str | None, limit: int, *, status: FileStatus | None = None
) -> list[ListedFile]:
    """Return files of a job in the order of their keys, from the one after `after_key`; all, or of one status."""
    return _list_by_key(tx, ListedFile, _files, job_id, status, after_key, limit)


def list_outputs(tx: Tx, job_id: str, after_key: str | None, limit: int) -> list[ImportedFile]:
    """Return imported files of a job with their media, by key, after `after_key`."""
    return _list_by_key(tx, ImportedFile, _outputs, job_id, FileStatus.IMPORTED, after_key, limit)


def _load_view(tx: Tx, job: ImportJob, limit: int) -> JobView:
    more = limit + 1
    return JobView(
        job,
        limit,
        list_outputs(tx, job.id, None, more) if job.imported else (),
        _list_by_key(tx, ListedFile, _files, job.id, FileStatus.FAILED, None, more) if job.failed else (),
        _list_by_key(tx, ListedFile, _files, job.id, FileStatus.SKIPPED, None, limit) if job.skipped else (),
        _find_current_file(tx, job.id) if job.status == ImportStatus.IMPORTING else None,
    )


def _find_current_file(tx: Tx, job_id: str) -> str | None:
    """Return the queued file that has been due longest: it is in progress, or next."""
    table = import_files
    begun = table.c.job_id == job_id, table.c.next_at.is_not(None)
    key: str | None = tx.execute(
        sa.select(table.c.key).where(*begun).order_by(table.c.next_at).limit(1)
    ).scalar()
    return key


_LISTED: Final = {FileStatus.FAILED: FAILED, FileStatus.SKIPPED: SKIPPED}


def _list_by_key(
    tx: Tx,
    model: type[Model],
    selection: sa.Select[Any],
    job_id: str,
    status: FileStatus | None,
    after_key: str | None,
    limit: int,
) -> list[Model]:
    """Order by key, which an index gives without sorting: that of all files, or of the failed or skipped ones."""
    wanted = [import_files.c.job_id == job_id]
    wanted += [import_files.c.status == _LISTED.get(status, status)] if status else []
    wanted += [import_files.c.key > after_key] if after_key is not None else []
    return models_of(model, tx.all(selection.where(*wanted).order_by(import_files.c.key).limit(limit)))
