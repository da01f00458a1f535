"""Import jobs: a closed window becomes a job, each of its files ends once, the last one ends the job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import imports as machine
from vvwatch.core.filters import Reason, explain_reason
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.media import Probe
from vvwatch.core.objects import base_name
from vvwatch.core.retries import Patience
from vvwatch.core.selection import SkippedObject
from vvwatch.core.state_machine import check_transition
from vvwatch.errors import ObjectArchived, ObjectChanged
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store.catalog import catalog
from vvwatch.store.db import fairness
from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import Overtaken, by_locks
from vvwatch.store.db.typed import model_of, model_or_none
from vvwatch.store.delivery.events import announce
from vvwatch.store.imports import unreadable
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.imports import ImportFile, ImportJob
from vvwatch.store.runs import fact_updates, runs
from vvwatch.store.schema import (
    import_automations,
    import_files,
    import_jobs,
    media,
)
from vvwatch.store.watching import ledger

ATTACHMENTS: Final = "attachments"
"""The `source_kind` of jobs whose files are fetched from URLs."""

GONE: Final = "gone"
"""The reason of a skipped file whose object was deleted before its import."""

_PROGRESS_STEPS = 4
_FOUND_AGAIN = (ObjectChanged.code, GONE, ObjectArchived.code)


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """How one file of an import ended. `reason` is for machines, `message` for people.

    `patience`: it failed because of its object and is retried automatically, this often.
    """

    status: FileStatus
    reason: str | None = None
    message: str | None = None
    probe: Probe | None = None
    uri: str = ""
    patience: Patience | None = None
    facts: dict[str, Any] | None = None
    sidecar_read_at: float | None = None  # when a sidecar was looked for; None: nobody did


@dataclass(frozen=True, slots=True)
class FileEnd:
    """The effect of ending a file: the job's id, and its final status if this was the last file."""

    job_id: str
    job_status: ImportStatus | None
    run_id: str | None
    imported: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file of a job whose manifest is complete from the start.

    A file to fetch has an empty `version`; `origin` says from where. `title` is that of its media.
    """

    key: str
    version: str
    size_bytes: int
    modified_at: float | None = None
    origin: dict[str, Any] | None = None
    title: str | None = None


def create_sealed(
    tx: Tx,
    *,
    job_id: str,
    index_id: str,
    connector_id: str,
    source_kind: str,
    files: Sequence[NewFile],
    title: str = "",
    prompt_preset: dict[str, Any] | None = None,
    concurrency: int = runs.CONCURRENCY,
) -> ImportJob:
    """Create an import job with exactly these files (at least one, each key once) and start it; return it.

    `source_kind` is upload, attachments or register. `title` is that of the media of files without one.
    """
    tx.insert(
        import_jobs,
        id=job_id,
        index_id=index_id,
        connector_id=connector_id,
        source_kind=source_kind,
        status=ImportStatus.IMPORTING,
        priority=Priority.MANUAL,
        concurrency=concurrency,
        prompt_preset=prompt_preset,
        execution_status="pending" if prompt_preset else "not_requested",
        total_files=len(files),
        created_at=tx.now,
        started_at=tx.now,
        updated_at=tx.now,
    )
    rows = [
        {
            **asdict(file),
            "job_id": job_id,
            "ordinal": ordinal,
            "title": file.title or title or None,
            "status": FileStatus.PENDING,
        }
        for ordinal, file in enumerate(files)
    ]
    tx.execute(sa.insert(import_files), rows)
    if not catalog.is_uploads(connector_id):
        unreadable.forget(tx, ledger.ensure_scope(tx, index_id, connector_id), [file.key for file in files])
    job = get(tx, job_id)
    fairness.enqueue_next(tx, fairness.FILES, job)
    announce(tx, "import_job.started", job.id, job.index_id, event_data(job))
    return job


@dataclass(frozen=True, slots=True)
class FileWork:
    """One file to import, with everything needed for that.

    `attempt` is the number of this attempt, without those that ended because this machine was short of something.
    """

    file: ImportFile
    job: ImportJob
    connector: Connector
    facts: dict[str, Any] | None = None  # what its automation reads about files

    @property
    def attempt(self) -> int:
        return self.file.attempts - self.file.waits + 1


def begin_file(tx: Tx, job: Job) -> FileWork | None:
    """Return the work; only read it, since an import has no external effect. None for a stale job or ended import.

    The end of an attempt counts it. The files of an ended import are updated separately.
    """
    file = model_or_none(ImportFile, tx.current(job))
    if file is None or file.status != FileStatus.PENDING:
        return None
    import_job = get(tx, file.job_id)
    if import_job.status in machine.TERMINAL:
        return None
    wanted = sa.select(import_automations.c.facts).where(import_automations.c.id == import_job.automation_id)
    facts = tx.execute(wanted).scalar() if import_job.automation_id else None
    return FileWork(file, import_job, catalog.read_connector(tx, import_job.connector_id), facts)


@by_locks
def retry_file(
    tx: Tx,
    job: Job,
    at: float,
    message: str,
    failures: int = 0,
    since: float | None = None,
    *,
    waits_for: str | None = None,
) -> None:
    """Retry the file later; `message` says why.

    `failures` in a row, the first at `since`, were its object's own: the store delivered others. `waits_for` is the
    code of this machine's shortage, which is no attempt at the file.
    """
    pending = tx.current(job)
    found = None if pending is None else tx.guard(import_jobs, pending.job_id)
    import_job = model_or_none(ImportJob, found)
    if import_job is None or import_job.status in machine.TERMINAL:
        return
    waits = import_files.c.waits + int(waits_for is not None)
    counted = {"failures": failures, "failing_since": since, "waits": waits}
    columns = {"reason": waits_for, "message": message}
    row = tx.claim(job, attempts=import_files.c.attempts + 1, **columns, **counted)
    if row is not None:
        tx.enqueue(Kind.IMPORT_FILE, row.id, row.revision, at)
        fairness.enqueue_next(tx, fairness.FILES, import_job)


@by_locks
def finish_file(tx: Tx, job: Job, outcome: FileOutcome) -> FileEnd | None:
    """End the file: media, failed or skipped. The last one ends the job and starts its run.

    Does nothing if the job has ended meanwhile, for example by a cancellation. A file may have the id of its media
    reserved.
    """
    pending = model_or_none(ImportFile, tx.current(job))
    if pending is None or get(tx, pending.job_id).status in machine.TERMINAL:
        return None
    check_transition(pending.status, outcome.status)
    media_id = None
    if outcome.status is FileStatus.IMPORTED:
        media_id = pending.media_id or tx.new_id("vid")
    columns = {"status": outcome.status, "reason": outcome.reason, "message": outcome.message}
    claimed = tx.claim(job, **columns, media_id=media_id, attempts=import_files.c.attempts + 1)
    if claimed is None:  # it ended since it was read
        return None
    file = model_of(ImportFile, claimed)
    if media_id is not None and outcome.probe is not None:
        _create_media(tx, media_id, file, outcome.probe, outcome)
    import_job = _count_file(tx, file, outcome.status)
    _read_sidecar_again(tx, import_job, file, outcome)
    if outcome.reason in _FOUND_AGAIN:
        _make_eligible(tx, import_job, file)
    if outcome.patience is not None:
        unreadable.record_failure(tx, import_job, file, outcome.patience)
    if import_job.imported + import_job.failed + import_job.skipped < import_job.total_files:
        fairness.enqueue_next(tx, fairness.FILES, import_job)
        _announce_progress(tx, import_job)
        return FileEnd(import_job.id, None, None)
    return finish_job(tx, import_job)


def _read_sidecar_again(tx: Tx, job: ImportJob, file: ImportFile, outcome: FileOutcome) -> None:
    """Read the sidecar of a new media item once more if one was seen since the import looked for it."""
    if file.media_id is not None and outcome.sidecar_read_at is not None and job.automation_id:
        since = outcome.sidecar_read_at
        fact_updates.request_if_observed(tx, job.automation_id, file.media_id, file.key, since)


def _make_eligible(tx: Tx, job: ImportJob, file: ImportFile) -> None:
    """Forget a replaced, missing or archived version: the next scan takes what it finds there as new."""
    ledger.forget_version(tx, job.index_id, job.connector_id, file.key, file.version)
    if job.automation_id:
        if file.reason == ObjectArchived.code:
            _await_restore(tx, job.automation_id, file)
        automation = tx.guard(import_automations, job.automation_id)
        if automation is not None and automation.enabled and not automation.paused:
            tx.nudge(Kind.SCAN, automation, tx.now)


def _await_restore(tx: Tx, automation_id: str, file: ImportFile) -> None:
    reason = Reason.ARCHIVED
    seen = SkippedObject(file.key, file.version, file.size_bytes, reason, explain_reason(reason))
    ledger.record_observations(tx, automation_id, [seen], reported_in=file.job_id)


def _create_media(tx: Tx, media_id: str, file: ImportFile, probe: Probe, outcome: FileOutcome) -> None:
    import_job = get(tx, file.job_id)
    title = file.title or base_name(file.key)
    tx.insert(
        media,
        id=media_id,
        index_id=import_job.index_id,
        connector_id=import_job.connector_id,
        import_file_id=file.id,
        import_job_id=import_job.id,
        title=title,
        uri=outcome.uri,
        key=file.key,
        version=file.version,
        size_bytes=file.size_bytes,
        media_type=probe.media_type,
        duration_seconds=probe.duration_seconds,
        probe=asdict(probe),
        facts=outcome.facts,
        created_at=tx.now,
        updated_at=tx.now,
    )
    data = {
        "video_id": media_id,
        "index_id": import_job.index_id,
        "title": title,
        "media_type": probe.media_type,
        "status": "not_processed",
        "job_id": import_job.id,
        **({} if outcome.facts is None else {"facts": outcome.facts}),
    }
    announce(tx, "media.created", media_id, import_job.index_id, data)


def _count_file(tx: Tx, file: ImportFile, status: FileStatus) -> ImportJob:
    """Return the job with one more ended file. All who end one of its files lock it here, as late as possible.

    Raises Overtaken if the job has ended since it was read.
    """
    column = import_jobs.c[status.value]
    size = file.size_bytes if status is FileStatus.IMPORTED else 0
    news = {import_jobs.c.dismissed_at: None} if status is FileStatus.FAILED else {}
    row = tx.execute(
        sa.update(import_jobs)
        .where(import_jobs.c.id == file.job_id, import_jobs.c.status.not_in(machine.TERMINAL))
        .values(
            {
                column: column + 1,
                import_jobs.c.bytes_transferred: import_jobs.c.bytes_transferred + size,
                import_jobs.c.updated_at: tx.now,
                **news,
            }
        )
        .returning(import_jobs)
    ).first()
    if row is None:
        raise Overtaken
    return model_of(ImportJob, row)


def _announce_progress(tx: Tx, job: ImportJob) -> None:
    done = job.imported + job.failed + job.skipped
    step = _PROGRESS_STEPS * done // job.total_files
    if step and step > _PROGRESS_STEPS * (done - 1) // job.total_files:
        announce(
            tx, "import_job.progress", f"{_describe_progress(job)}:{step}", job.index_id, event_data(job)
        )


def _describe_progress(job: ImportJob) -> str:
    """Return the subject of its events: the job, with a number for each retry."""
    retried = job.source_kind == ATTACHMENTS and job.attempts
    return f"{job.id}:{job.attempts}" if retried else job.id


def finish_job(tx: Tx, job: ImportJob) -> FileEnd:
    """End a job whose files have all ended, and start its run."""
    status, event_type = machine.job_outcome(job.total_files, job.imported, job.failed, job.skipped)
    check_transition(job.status, status)
    error = None
    if status is ImportStatus.FAILED:
        error = f"none of {job.failed} files could be imported; first: {_find_first_failure(tx, job.id)}"
    run_id = runs.start_after_import(tx, job)
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
    ended = get(tx, job.id)
    announce(tx, event_type, _describe_progress(job), job.index_id, event_data(ended))
    return FileEnd(job.id, status, run_id, ended.imported, ended.failed, ended.skipped)


def _find_first_failure(tx: Tx, job_id: str) -> str:
    row = tx.first(
        sa.select(import_files)
        .where(import_files.c.job_id == job_id, import_files.c.status == FileStatus.FAILED)
        .order_by(import_files.c.ordinal)
    )
    return f"{row.key}: {row.message}" if row is not None else ""


def get(tx: Tx, job_id: str) -> ImportJob:
    """Return the job, which exists."""
    return model_of(ImportJob, tx.execute(sa.select(import_jobs).where(import_jobs.c.id == job_id)).one())


def event_data(job: ImportJob) -> dict[str, Any]:
    """Return the webhook payload of an import job."""
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
