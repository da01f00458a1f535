"""Import jobs: a closed window becomes a job, each of its files ends once, the last one ends the job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from vvwatch.core import imports as machine
from vvwatch.core.filters import Reason, explain
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.media import Probe
from vvwatch.core.objects import StorageObject, base_name
from vvwatch.core.windows import CloseReason
from vvwatch.errors import ObjectArchived, ObjectChanged, ObjectNotFound
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store import ledger, runs, shares
from vvwatch.store.database import Tx, one_of, upsert
from vvwatch.store.events import announce
from vvwatch.store.schema import (
    connectors,
    import_automations,
    import_files,
    import_jobs,
    media,
    observations,
)

_PROGRESS_STEPS = 4
_MOST_REPORTED = 10_000
_FOUND_AGAIN = (ObjectChanged.code, ObjectNotFound.code, ObjectArchived.code)


_range = (
    sa.select(import_files.c.key, import_files.c.size_bytes)
    .where(
        import_files.c.job_id == sa.bindparam("job_id"),
        import_files.c.key.between(sa.bindparam("lowest"), sa.bindparam("highest")),
    )
    .limit(sa.bindparam("most"))
)
_among = sa.select(import_files.c.key, import_files.c.size_bytes).where(
    import_files.c.job_id == sa.bindparam("job_id"), one_of(import_files.c.key)
)


@cache
def _joining(dialect: str) -> Any:
    """Insert a file, or let a newer version take its key's place."""
    insert = upsert(dialect, import_files)
    newer = {name: insert.excluded[name] for name in ("version", "size_bytes", "modified_at")}
    return insert.on_conflict_do_update(index_elements=["job_id", "key"], set_=newer)


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """How one file of an import ended. `reason` is for machines, `message` for people."""

    status: FileStatus
    reason: str | None = None
    message: str | None = None
    probe: Probe | None = None
    uri: str = ""


@dataclass(frozen=True, slots=True)
class FileEnd:
    """What ending a file brought about: the job's id, and its final status when this was the last file."""

    job_id: str
    job_status: ImportStatus | None
    run_id: str | None
    imported: int = 0
    failed: int = 0
    skipped: int = 0


def gather(tx: Tx, job_id: str, found: Sequence[StorageObject], first_ordinal: int) -> tuple[int, int]:
    """Add objects to the manifest of a job to come; a newer version takes its key's place.

    Returns how many files and bytes the manifest grew by.
    """
    keys = [obj.key for obj in found]
    wanted = set(keys)
    there = tx.pairs_among(_range, _among, {"job_id": job_id}, keys)
    sizes = {key: size for key, size in there if key in wanted}
    rows = [
        (job_id, first_ordinal + position, obj.key, obj.version, obj.size_bytes, obj.modified_at)
        for position, obj in enumerate(found)
    ]
    tx.insert_tuples(
        _joining(tx.conn.dialect.name),
        ("job_id", "ordinal", "key", "version", "size_bytes", "modified_at"),
        rows,
    )
    return len(found) - len(sizes), sum(obj.size_bytes for obj in found) - sum(sizes.values())


def create_from_window(tx: Tx, automation: sa.Row[Any], window: sa.Row[Any]) -> None:
    """The window's objects become an import job with exactly that manifest, one piece of work per file.

    What the automation declined since its last job is listed as skipped, each with its reason.
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
    waiting = import_files.c.job_id == window.import_job_id, import_files.c.status == FileStatus.WAITING
    tx.execute(sa.update(import_files).where(*waiting).values(status=FileStatus.PENDING))
    job = _job(tx, window.import_job_id)
    shares.feed(tx, shares.FILES, job)
    announce(tx, "import_job.started", job.id, job.index_id, event_data(job))


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


@dataclass(frozen=True, slots=True)
class FileWork:
    """One file to import, with all that is needed to do it."""

    file: sa.Row[Any]
    job: sa.Row[Any]
    connector: sa.Row[Any]


def begin_file(tx: Tx, job: Job) -> FileWork | None:
    """Note the attempt and return the work; None when the job is stale or the import has ended."""
    file = tx.touch(job, attempts=import_files.c.attempts + 1)
    if file is None or file.status != FileStatus.PENDING:
        return None
    import_job = _job(tx, file.job_id)
    if import_job.status in machine.TERMINAL:
        tx.claim(job)
        return None
    connector = tx.first(sa.select(connectors).where(connectors.c.id == import_job.connector_id))
    assert connector is not None  # noqa: S101  # connectors in use are not deleted
    return FileWork(file, import_job, connector)


def retry_file(tx: Tx, job: Job, at: float, message: str) -> None:
    """Look at the file again later; `message` says why."""
    row = tx.claim(job, message=message)
    if row is not None:
        tx.put(Kind.IMPORT_FILE, row.id, row.revision, at)
        shares.feed(tx, shares.FILES, _job(tx, row.job_id))


def finish_file(tx: Tx, job: Job, outcome: FileOutcome) -> FileEnd | None:
    """End the file: media, failed or skipped. The last one ends the job and starts its run."""
    media_id = tx.new_id("vid") if outcome.status is FileStatus.IMPORTED else None
    file = tx.claim(
        job, status=outcome.status, reason=outcome.reason, message=outcome.message, media_id=media_id
    )
    if file is None:
        return None
    machine.check_transition(FileStatus.PENDING, outcome.status)
    if media_id is not None and outcome.probe is not None:
        _create_media(tx, media_id, file, outcome.probe, outcome.uri)
    import_job = _count(tx, file, outcome.status)
    if outcome.reason in _FOUND_AGAIN:
        _make_eligible(tx, import_job, file)
    if import_job.imported + import_job.failed + import_job.skipped < import_job.total_files:
        shares.feed(tx, shares.FILES, import_job)
        _announce_progress(tx, import_job)
        return FileEnd(import_job.id, None, None)
    return _finish_job(tx, import_job)


def _make_eligible(tx: Tx, job: sa.Row[Any], file: sa.Row[Any]) -> None:
    """What was replaced, away or archived was never imported: what stands there at the next scan counts as new."""
    ledger.forget(tx, job.index_id, job.connector_id, file.key, file.version)
    if job.automation_id:
        if file.reason == ObjectArchived.code:
            _await_restore(tx, job.automation_id, file)
        automation = tx.first(
            sa.select(import_automations).where(import_automations.c.id == job.automation_id)
        )
        if automation is not None and automation.enabled and not automation.paused:
            tx.nudge(Kind.SCAN, automation, tx.now)


def _await_restore(tx: Tx, automation_id: str, file: sa.Row[Any]) -> None:
    seen = {
        "key": file.key,
        "version": file.version,
        "reason": Reason.ARCHIVED,
        "detail": explain(Reason.ARCHIVED),
        "size_bytes": file.size_bytes,
    }
    ledger.observe(tx, automation_id, [seen], reported_in=file.job_id)


def _create_media(tx: Tx, media_id: str, file: sa.Row[Any], probe: Probe, uri: str) -> None:
    import_job = _job(tx, file.job_id)
    tx.insert(
        media,
        id=media_id,
        index_id=import_job.index_id,
        connector_id=import_job.connector_id,
        import_file_id=file.id,
        import_job_id=import_job.id,
        title=base_name(file.key),
        uri=uri,
        key=file.key,
        version=file.version,
        size_bytes=file.size_bytes,
        media_type=probe.media_type,
        duration_seconds=probe.duration_seconds,
        probe=asdict(probe),
        created_at=tx.now,
        updated_at=tx.now,
    )
    data = {
        "video_id": media_id,
        "index_id": import_job.index_id,
        "title": base_name(file.key),
        "media_type": probe.media_type,
        "status": "not_processed",
        "job_id": import_job.id,
    }
    announce(tx, "media.created", media_id, import_job.index_id, data)


def _count(tx: Tx, file: sa.Row[Any], status: FileStatus) -> sa.Row[Any]:
    column = import_jobs.c[status.value]
    size = file.size_bytes if status is FileStatus.IMPORTED else 0
    row = tx.execute(
        sa.update(import_jobs)
        .where(import_jobs.c.id == file.job_id)
        .values(
            {
                column: column + 1,
                import_jobs.c.bytes_transferred: import_jobs.c.bytes_transferred + size,
                import_jobs.c.updated_at: tx.now,
            }
        )
        .returning(import_jobs)
    )
    return row.one()


def _announce_progress(tx: Tx, job: sa.Row[Any]) -> None:
    done = job.imported + job.failed + job.skipped
    step = _PROGRESS_STEPS * done // job.total_files
    if step and step > _PROGRESS_STEPS * (done - 1) // job.total_files:
        announce(tx, "import_job.progress", f"{job.id}:{step}", job.index_id, event_data(job))


def _finish_job(tx: Tx, job: sa.Row[Any]) -> FileEnd:
    status, event_type = machine.outcome(job.total_files, job.imported, job.failed, job.skipped)
    machine.check_transition(job.status, status)
    error = None
    if status is ImportStatus.FAILED:
        error = f"none of {job.failed} files could be imported; first: {_first_failure(tx, job.id)}"
    run_id = runs.start_for_import(tx, job) if job.imported and job.prompt_preset else None
    tx.update(
        import_jobs,
        job.id,
        status=status,
        error_message=error,
        completed_at=tx.now,
        updated_at=tx.now,
        run_id=run_id,
        execution_status="submitted" if run_id else "not_requested",
    )
    if run_id and job.automation_id:
        tx.update(import_automations, job.automation_id, last_run_id=run_id)
    ended = _job(tx, job.id)
    announce(tx, event_type, job.id, job.index_id, event_data(ended))
    return FileEnd(job.id, status, run_id, ended.imported, ended.failed, ended.skipped)


def _first_failure(tx: Tx, job_id: str) -> str:
    row = tx.first(
        sa.select(import_files)
        .where(import_files.c.job_id == job_id, import_files.c.status == FileStatus.FAILED)
        .order_by(import_files.c.ordinal)
    )
    return f"{row.key}: {row.message}" if row is not None else ""


def _job(tx: Tx, job_id: str) -> sa.Row[Any]:
    return tx.execute(sa.select(import_jobs).where(import_jobs.c.id == job_id)).one()


def event_data(job: sa.Row[Any]) -> dict[str, Any]:
    """What webhooks are told of an import job."""
    return {
        "job_id": job.id,
        "index_id": job.index_id,
        "connector_id": job.connector_id,
        "automation_id": job.automation_id,
        "status": job.status,
        "run_id": job.run_id,
        "progress": {
            "total_files": job.total_files,
            "imported": job.imported,
            "failed": job.failed,
            "skipped": job.skipped,
            "bytes_transferred": job.bytes_transferred,
        },
        "error_message": job.error_message,
    }
