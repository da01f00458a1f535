"""Import jobs, and one job with its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import Query, Response

from vvwatch.api.http.pagination import decode_cursor
from vvwatch.api.pages.access import Page, PageRequest, page_router
from vvwatch.api.pages.actions import Action, ActionForm, register_actions
from vvwatch.api.pages.lists import LISTED, After, Listing, Shown, to_listing, to_tabs
from vvwatch.api.routes.import_jobs import ImportSourceFile, to_source_file
from vvwatch.core.imports import TERMINAL, FileStatus
from vvwatch.store.catalog.catalog import is_uploads
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import job_queries
from vvwatch.store.imports.imports import ATTACHMENTS
from vvwatch.store.models.imports import ImportJob, ListedFile
from vvwatch.store.models.runs import Run
from vvwatch.store.runs import run_queries

router = page_router()

RETRY_FILE: Final = "retry-file"
_RETRY_JOB: Final = "retry-attachments"
_CANCEL: Final = "cancel-job"
_RETRIED: Final = frozenset((FileStatus.FAILED, FileStatus.SKIPPED))
_FILES: Final = (("", "All files"), ("failed", "Failed"), ("skipped", "Skipped"), ("imported", "Imported"))

register_actions(
    {
        _CANCEL: Action(
            "POST",
            "/import-jobs/{job_id}/cancel",
            "Cancel",
            "The import job was cancelled.",
            confirm="Cancel this import job? Imported media stay; its other files are skipped, and no run starts.",
        ),
        _RETRY_JOB: Action(
            "POST", "/import-jobs/{job_id}/retry", "Retry failed files", "The failed files are fetched again."
        ),
        RETRY_FILE: Action(
            "POST",
            "/import-jobs/{job_id}/files/{file_id}/retry",
            "Retry",
            "The object counts as new again: the next scan imports it in a job of its own.",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a job, and the button that imports it again."""

    file: ImportSourceFile
    retry: ActionForm | None


@dataclass(frozen=True, slots=True)
class JobPage:
    """A job, the run that followed it, and a page of its files."""

    job: ImportJob
    done: int
    seconds: float | None
    run: Run | None
    files: Listing[File]
    cancel: ActionForm | None
    retry: ActionForm | None


@router.get("/jobs")
async def show_jobs(page: Page, show: Shown = "", cursor: After = None) -> Response:
    """List import jobs, newest first."""
    rows = await page.context.database.read(job_queries.list_rows, show, decode_cursor(cursor), LISTED + 1)
    view = to_listing(rows, lambda row: row.id, cursor, to_tabs(show), {"show": show})
    return await page.render("jobs.html", view, "Import jobs")


@router.get("/jobs/{job_id}")
async def show_job(
    page: Page,
    job_id: str,
    status: Annotated[Literal["", "failed", "skipped", "imported"], Query()] = "",
    cursor: After = None,
) -> Response:
    """Show a job with its files and why they failed."""
    found = await page.context.database.read(_read_job, job_id, status, decode_cursor(cursor))
    view = _to_view(page, *found, status, cursor)
    return await page.render("job.html", view, f"Import job {job_id}")


def _read_job(
    tx: Tx, job_id: str, status: str, after: str | None
) -> tuple[ImportJob, Run | None, Sequence[ListedFile]]:
    job = job_queries.get(tx, job_id)
    run = run_queries.find(tx, job.run_id) if job.run_id else None
    wanted = FileStatus(status) if status else None
    return job, run, job_queries.list_files(tx, job_id, after, LISTED + 1, status=wanted)


def _to_view(
    page: PageRequest,
    job: ImportJob,
    run: Run | None,
    rows: Sequence[ListedFile],
    status: str,
    cursor: str | None,
) -> JobPage:
    listing = to_listing(
        rows, lambda row: row.key, cursor, to_tabs(status, "status", _FILES), {"status": status}
    )
    files = [_to_file(page, job, row) for row in listing.rows]
    has_ended, fetched = job.status in TERMINAL, job.source_kind == ATTACHMENTS
    ended_at = job.completed_at or page.context.clock.now()
    return JobPage(
        job=job,
        done=job.imported + job.failed + job.skipped,
        seconds=None if job.started_at is None else ended_at - job.started_at,
        run=run,
        files=Listing(files, listing.tabs, listing.more, listing.first),
        cancel=None if has_ended else page.action(_CANCEL, job_id=job.id),
        retry=page.action(_RETRY_JOB, job_id=job.id) if fetched and has_ended and job.failed else None,
    )


def _to_file(page: PageRequest, job: ImportJob, row: ListedFile) -> File:
    file = to_source_file(row, job)
    is_over, is_scanned = file.status in _RETRIED, not is_uploads(job.connector_id)
    retry = page.action(RETRY_FILE, job_id=job.id, file_id=file.file_id) if is_over and is_scanned else None
    return File(file, retry)
