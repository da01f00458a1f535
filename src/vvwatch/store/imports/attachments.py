"""Attachments: files that are fetched from a URL before they are imported; the URL is a secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from vvwatch.core import imports as machine
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.objects import StorageObject
from vvwatch.core.uploads import file_name
from vvwatch.errors import Conflict, InvalidInput
from vvwatch.ports import Job, Kind
from vvwatch.store.catalog import catalog
from vvwatch.store.db import fairness, sealing
from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.db.typed import model_of, models_of
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import NewFile
from vvwatch.store.models.imports import ImportFile, ImportJob
from vvwatch.store.schema import import_files, import_jobs

UNNAMED: Final = "attachment"
"""The name of a file until the response shows its format."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file on another host: its URL, which may expire, and its name and type there."""

    file_id: str
    download_url: str = field(repr=False)
    file_name: str = ""
    mime_type: str = ""


def seal_origin(tx: Tx, box: SecretBox, attachment: Attachment) -> dict[str, Any]:
    """Return the record of a file's origin."""
    return {
        "file_id": attachment.file_id,
        "file_name": attachment.file_name,
        "mime_type": attachment.mime_type,
        "sealed_url": sealing.seal(tx, box, attachment.download_url).decode(),
    }


def seal_refreshed(tx: Tx, box: SecretBox, refreshed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the new parts of an `origin`, with `download_url` sealed."""
    own = {name: value for name, value in refreshed.items() if name != "download_url"}
    return {**own, "sealed_url": sealing.seal(tx, box, refreshed["download_url"]).decode()}


def open_attachment(box: SecretBox, known: dict[str, Any]) -> Attachment:
    """Return the attachment of an `origin`. Raises StoreError if another key sealed it."""
    url = box.open(known["sealed_url"].encode())
    return Attachment(known["file_id"], url, known["file_name"], known["mime_type"])


def choose_file_name(attachment: Attachment, content_type: str = "") -> str | None:
    """Return the name for its file; None if neither its names nor its types show a format."""
    last = unquote(urlsplit(attachment.download_url).path).rpartition("/")[2]
    for name, kind in ((attachment.file_name or last, attachment.mime_type), (last, content_type)):
        try:
            return file_name(name, kind)
        except InvalidInput:
            continue
    return None


def create(
    tx: Tx,
    box: SecretBox,
    job_id: str,
    index_id: str,
    connector_id: str,
    wanted: Sequence[tuple[Attachment, str]],
) -> ImportJob:
    """Create an import job that fetches these, each with a title; return it."""
    files = [
        NewFile(
            key=f"{job_id}/{ordinal}/{choose_file_name(each) or UNNAMED}",
            version="",
            size_bytes=0,
            origin=seal_origin(tx, box, each),
            title=title,
        )
        for ordinal, (each, title) in enumerate(wanted)
    ]
    return imports.create_sealed(
        tx,
        job_id=job_id,
        index_id=index_id,
        connector_id=connector_id,
        source_kind=imports.ATTACHMENTS,
        files=files,
        concurrency=1,  # a hanging host must not occupy all slots of this machine
    )


def is_awaited(tx: Tx, job: Job) -> bool:
    """Return whether this job still fetches the file: the file that another placed must stay."""
    return tx.current(job) is not None


def note_fetched(tx: Tx, job: Job, obj: StorageObject) -> None:
    """Record the fetched file `obj` and queue its import in the same attempt. Does nothing for a stale job."""
    where = {"key": obj.key, "version": obj.version}
    what = {"size_bytes": obj.size_bytes, "modified_at": obj.modified_at}
    row = tx.claim(job, **where, **what)
    if row is not None:
        tx.enqueue(Kind.IMPORT_FILE, row.id, row.revision, tx.now, job.priority)


def retry(tx: Tx, job_id: str, refreshed: Sequence[Mapping[str, Any]] | None) -> ImportJob:
    """Retry every failed file of the job; return the job, which is running again.

    Each of `refreshed` has the `file_id` that its file has in the job or had when the job was created, and the new
    parts of its origin. Raises NotFound (job, index), Conflict while the job runs and if nothing failed, and
    InvalidInput for a file that has not failed.
    """
    job = model_of(ImportJob, tx.require(import_jobs, "import_job", job_id))
    catalog.get_index(tx, job.index_id)
    if job.status not in (ImportStatus.COMPLETED, ImportStatus.FAILED) or not job.failed:
        what = (
            f"is {job.status}" if job.status not in machine.TERMINAL or job.failed else "has no failed file"
        )
        raise Conflict(f"import job {job_id!r} {what}", "only an ended job with failed files can be retried")
    mine = import_files.c.job_id == job_id, import_files.c.status == FileStatus.FAILED
    failed = models_of(ImportFile, tx.all(sa.select(import_files).where(*mine)))
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
    tx: Tx, job_id: str, failed: Sequence[ImportFile], refreshed: Sequence[Mapping[str, Any]]
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
