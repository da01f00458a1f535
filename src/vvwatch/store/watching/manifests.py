"""Manifests of import jobs, filled while a window is open or a listing runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.objects import StorageObject
from vvwatch.core.windows import CloseReason
from vvwatch.ports import Priority
from vvwatch.store.db import fairness
from vvwatch.store.db.database import Tx, is_one_of, upsert
from vvwatch.store.delivery.events import announce
from vvwatch.store.imports import imports
from vvwatch.store.models.watching import ImportAutomation, Window
from vvwatch.store.schema import import_files, import_jobs, observations

_MOST_REPORTED = 1_000
_OF_VERSION = ("version", "size_bytes", "modified_at")
_COLUMNS = ("job_id", "ordinal", "key", *_OF_VERSION, "status")

_range = (
    sa.select(import_files.c.key, import_files.c.size_bytes)
    .where(
        import_files.c.job_id == sa.bindparam("job_id"),
        import_files.c.key.between(sa.bindparam("lowest"), sa.bindparam("highest")),
    )
    .limit(sa.bindparam("most"))
)
_among = sa.select(import_files.c.key, import_files.c.size_bytes).where(
    import_files.c.job_id == sa.bindparam("job_id"), is_one_of(import_files.c.key)
)


@cache
def _upsert_file(dialect: str) -> Any:
    """Insert a file; a newer version replaces the one of its key."""
    insert = upsert(dialect, import_files)
    newer = {name: insert.excluded[name] for name in _OF_VERSION}
    return insert.on_conflict_do_update(index_elements=["job_id", "key"], set_=newer)


def add_files(tx: Tx, job_id: str, found: Sequence[StorageObject], first_ordinal: int) -> tuple[int, int]:
    """Add objects to the manifest of a future job; a newer version replaces the one of its key.

    Rows are final: starting the job touches none of them. Returns how many files and bytes the manifest grew by.
    """
    keys = [obj.key for obj in found]
    wanted = set(keys)
    there = tx.pairs_among(_range, _among, {"job_id": job_id}, keys)
    sizes = {key: size for key, size in there if key in wanted}
    rows = [
        (job_id, first_ordinal + position, *obj[:4], FileStatus.PENDING.value)
        for position, obj in enumerate(found)
    ]
    tx.insert_tuples(_upsert_file(tx.conn.dialect.name), _COLUMNS, rows)
    return len(found) - len(sizes), sum(obj.size_bytes for obj in found) - sum(sizes.values())


def create_import_job(tx: Tx, automation: ImportAutomation, window: Window) -> None:
    """Create the import job of a closed window, with one piece of work per file of its manifest.

    It lists what the automation declined since its last job as skipped, as many as fit one transaction; the next job
    lists the rest.
    """
    skipped = _report_observations(tx, automation.id, window.import_job_id, window.object_count)
    tx.insert(
        import_jobs,
        id=window.import_job_id,
        index_id=automation.index_id,
        connector_id=automation.connector_id,
        automation_id=automation.id,
        window_id=window.id,
        source_prefix=automation.source_prefix,
        file_pattern=automation.file_pattern,
        recursive=automation.recursive,
        exclude_patterns=automation.exclude_patterns,
        min_size_bytes=automation.min_size_bytes,
        max_size_bytes=automation.max_size_bytes,
        status=ImportStatus.IMPORTING,
        priority=Priority.MANUAL if window.reason == CloseReason.MANUAL else Priority.NORMAL,
        concurrency=automation.concurrency,
        prompt_preset=automation.prompt_preset,
        execution_status="pending" if automation.prompt_preset else "not_requested",
        total_files=window.object_count + skipped,
        skipped=skipped,
        created_at=tx.now,
        started_at=tx.now,
        updated_at=tx.now,
    )
    job = imports.get(tx, window.import_job_id)
    fairness.enqueue_next(tx, fairness.FILES, job)
    announce(tx, "import_job.started", job.id, job.index_id, imports.event_data(job))


def _report_observations(tx: Tx, automation_id: str, job_id: str, first_ordinal: int) -> int:
    unreported = tx.all(
        sa.select(observations)
        .where(observations.c.automation_id == automation_id, observations.c.job_id.is_(None))
        .order_by(observations.c.key)
        .limit(_MOST_REPORTED)
    )
    if not unreported:
        return 0
    rows = [
        {
            "job_id": job_id,
            "ordinal": first_ordinal + position,
            "key": row.key,
            "version": row.version,
            "size_bytes": row.size_bytes,
            "status": FileStatus.SKIPPED,
            "reason": row.reason,
            "message": row.detail,
        }
        for position, row in enumerate(unreported)
    ]
    added = len(tx.insert_new(import_files, rows))
    reported = (
        observations.c.automation_id == automation_id,
        observations.c.job_id.is_(None),
        observations.c.key <= unreported[-1].key,
    )
    tx.execute(sa.update(observations).where(*reported).values(job_id=job_id))
    return added
