"""Import jobs and their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import Query

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.pagination import Cursor, Items, cut_page, decode_cursor
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.keys import Scope
from vvwatch.core.objects import base_name
from vvwatch.errors import InvalidInput
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import cancellation, job_queries
from vvwatch.store.imports.imports import ATTACHMENTS
from vvwatch.store.imports.job_queries import JobView
from vvwatch.store.models import imports as rows

router = resource_router("import jobs")

_PHASES: Final = (ImportStatus.SCANNING, ImportStatus.IMPORTING)

FilesLimit = Annotated[int, Query(ge=1, le=1000)]


class Progress(Resource):
    """The progress of a job, in files."""

    total_files: int
    imported: int
    failed: int
    skipped: int
    bytes_transferred: int
    current_file: str | None
    parts_total: int
    parts_completed: int
    parts_failed: int


class Execution(Resource):
    """The prompt run that follows the import."""

    status: str
    run_id: str | None
    error_code: str | None
    error: str | None


class ImportOutput(Resource):
    """A media item that the job created."""

    file_id: str
    file_name: str
    source_ordinal: int
    part_index: int
    part_count: int
    source_start_seconds: float
    source_end_seconds: float
    video_id: str
    title: str
    status: str


class FailedFile(Resource):
    """A file whose import failed, and why."""

    file_id: str
    path: str
    error: str
    error_code: str | None


class SkippedFile(Resource):
    """A skipped file, and why."""

    file_id: str
    path: str
    reason: str
    message: str | None


class Failure(Resource):
    """Why a file could not be imported."""

    error_code: str | None
    message: str | None
    refresh_required: bool


class ImportSourceFile(Resource):
    """A file of the job. `next_retry_at`: when vvwatch retries it, after `retries` retries."""

    file_id: str
    file_name: str
    path: str
    version: str
    size_bytes: int
    source_ordinal: int
    status: str
    attempts: int
    part_count: int | None
    parts_completed: int | None
    parts_failed: int | None
    failure: Failure | None
    skip_reason: str | None
    message: str | None
    video_id: str | None
    retries: int
    next_retry_at: str | None


class ImportJob(Resource):
    """An import job. `video_ids`, `failed_files` and `skipped_files` hold the first hundred of each, in lists ten."""

    job_id: str
    status: str
    phase: str | None
    source_kind: str
    connector_id: str | None
    target_index_id: str
    automation_id: str | None
    window_id: str | None
    source_prefix: str
    file_pattern: str
    recursive: bool
    exclude: list[str]
    min_size_bytes: int | None
    max_size_bytes: int | None
    progress: Progress
    outputs: Items[ImportOutput]
    execution: Execution
    video_ids: list[str]
    failed_files: list[FailedFile]
    failed_files_next_cursor: str | None
    skipped_files: list[SkippedFile]
    error_message: str | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    updated_at: str | None


def to_response(view: JobView) -> ImportJob:
    """Return the job as a response."""
    job = view.job
    outputs = _to_outputs(view.outputs, view.limit, job.imported)
    failed, failed_cursor = cut_page(view.failed, view.limit, lambda row: row.key)
    return ImportJob.of(
        job,
        job_id=job.id,
        phase=job.status if job.status in _PHASES else None,
        target_index_id=job.index_id,
        exclude=job.exclude_patterns or [],
        progress=_to_progress(job, view.current_file),
        outputs=outputs,
        execution=_to_execution(job),
        video_ids=[item.video_id for item in outputs.items],
        failed_files=[_to_failed_file(row) for row in failed],
        failed_files_next_cursor=failed_cursor,
        skipped_files=[_to_skipped_file(row) for row in view.skipped],
    )


def _to_progress(job: rows.ImportJob, current_file: str | None) -> Progress:
    return Progress.of(
        job,
        current_file=current_file,
        parts_total=job.total_files - job.skipped,
        parts_completed=job.imported,
        parts_failed=job.failed,
    )


def _to_execution(job: rows.ImportJob) -> Execution:
    return Execution(status=job.execution_status, run_id=job.run_id, error_code=None, error=None)


def _to_outputs(files: Sequence[rows.ImportedFile], limit: int, total: int) -> Items[ImportOutput]:
    here, next_cursor = cut_page(files, limit, lambda row: row.key)
    return Items(items=[_to_output(row) for row in here], next_cursor=next_cursor, total=total)


def _to_output(row: rows.ImportedFile) -> ImportOutput:
    return ImportOutput(
        file_id=str(row.id),
        file_name=base_name(row.key),
        source_ordinal=row.ordinal,
        part_index=0,
        part_count=1,
        source_start_seconds=0.0,
        source_end_seconds=row.media_duration_seconds or 0.0,
        video_id=row.media_id,
        title=row.media_title,
        status=row.media_status,
    )


def _to_failed_file(row: rows.ListedFile) -> FailedFile:
    why = row.message or row.reason or "it could not be imported"
    return FailedFile(file_id=str(row.id), path=row.key, error=why, error_code=row.reason)


def _to_skipped_file(row: rows.ListedFile) -> SkippedFile:
    return SkippedFile(file_id=str(row.id), path=row.key, reason=row.reason or "skipped", message=row.message)


def to_source_file(row: rows.ListedFile, job: rows.ImportJob) -> ImportSourceFile:
    """Return a file of the job as a response."""
    status, reason, message = cancellation.describe_file(job, row)
    failed, skipped = status == FileStatus.FAILED, status == FileStatus.SKIPPED
    failure = Failure(error_code=reason, message=message, refresh_required=job.source_kind == ATTACHMENTS)
    return ImportSourceFile(
        file_id=str(row.id),
        file_name=base_name(row.key),
        path=row.key,
        version=row.version,
        size_bytes=row.size_bytes,
        source_ordinal=row.ordinal,
        status=status,
        attempts=row.attempts,
        part_count=None if skipped else 1,
        parts_completed=None if skipped else int(row.status == FileStatus.IMPORTED),
        parts_failed=None if skipped else int(failed),
        failure=failure if failed else None,
        skip_reason=reason if skipped else None,
        message=message,
        video_id=row.media_id if status == FileStatus.IMPORTED else None,
        retries=row.tries or 0,
        next_retry_at=to_iso(row.retry_at),
    )


@router.get("/import-jobs", **require(Scope.READ))
async def list_import_jobs(
    context: Context,
    status: Annotated[str | None, Query(max_length=20, description="in upper or lower case")] = None,
    index_id: Annotated[str | None, Query()] = None,
    automation_only: Annotated[bool, Query()] = False,
    connector_id: Annotated[str | None, Query(description="an extension")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 200,
) -> list[ImportJob]:
    """List import jobs, newest first."""
    found = await context.database.read(
        job_queries.list_newest,
        status=_parse_status(status),
        index_id=index_id,
        connector_id=connector_id,
        automation_only=automation_only,
        limit=limit,
    )
    return [to_response(view) for view in found]


def _parse_status(text: str | None) -> ImportStatus | None:
    try:
        return ImportStatus(text.lower()) if text else None
    except ValueError:
        known = ", ".join(ImportStatus)
        raise InvalidInput(f"no import job has the status {text!r}", f"one of {known}") from None


@router.get("/import-jobs/{job_id}", **require(Scope.READ))
async def get_import_job(context: Context, job_id: str) -> ImportJob:
    """Return an import job."""
    return to_response(await context.database.read(job_queries.get_view, job_id))


@router.get("/import-jobs/{job_id}/files", **require(Scope.READ))
async def list_import_files(
    context: Context,
    job_id: str,
    failed_only: Annotated[bool, Query()] = False,
    limit: FilesLimit = 100,
    cursor: Cursor = None,
) -> Items[ImportSourceFile]:
    """List the files of a job by path. Of the files that a one-time job skipped, it lists the first thousand and counts
    all.
    """
    job, files = await context.database.read(
        _read_files, job_id, decode_cursor(cursor), limit + 1, failed_only=failed_only
    )
    here, next_cursor = cut_page(files, limit, lambda row: row.key)
    total = job.failed if failed_only else job.total_files - job.unlisted
    return Items(items=[to_source_file(row, job) for row in here], next_cursor=next_cursor, total=total)


def _read_files(
    tx: Tx, job_id: str, after: str | None, limit: int, *, failed_only: bool
) -> tuple[rows.ImportJob, list[rows.ListedFile]]:
    job = job_queries.get(tx, job_id)
    status = FileStatus.FAILED if failed_only else None
    return job, job_queries.list_files(tx, job_id, after, limit, status=status)


@router.get("/import-jobs/{job_id}/outputs", **require(Scope.READ))
async def list_import_outputs(
    context: Context, job_id: str, limit: FilesLimit = 100, cursor: Cursor = None
) -> Items[ImportOutput]:
    """List the media of a job by the path of their files."""
    files, total = await context.database.read(_read_outputs, job_id, decode_cursor(cursor), limit + 1)
    return _to_outputs(files, limit, total)


def _read_outputs(tx: Tx, job_id: str, after: str | None, limit: int) -> tuple[list[rows.ImportedFile], int]:
    job = job_queries.get(tx, job_id)
    return job_queries.list_outputs(tx, job_id, after, limit), job.imported
