"""Attachments: import files from other hosts, each from a URL that is valid for a while."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Response
from pydantic import Field

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.wire import Body, Visible
from vvwatch.api.routes import import_jobs
from vvwatch.api.routes.import_jobs import ImportJob
from vvwatch.api.routes.uploads import Destination, IndexId, Title, find_destination, require_one_index
from vvwatch.core.keys import Scope
from vvwatch.core.uploads import title_of
from vvwatch.errors import DeliveryRefused, InvalidInput
from vvwatch.senders.guard import Guard
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import attachments
from vvwatch.store.imports import job_queries as queries
from vvwatch.store.imports.attachments import Attachment

router = resource_router("uploads")


class AttachmentFile(Body):
    """A file to fetch. `file_name` or `mime_type` decides its format, else the URL or the host's response."""

    download_url: Annotated[str, Field(min_length=1, max_length=4096)]
    file_id: Annotated[str, Field(min_length=1, max_length=255), Visible]
    file_name: Annotated[str | None, Field(max_length=1024)] = None
    mime_type: Annotated[str | None, Field(max_length=255)] = None


class AttachmentsBody(Body):
    """Files to fetch, by default into the playground; without a title each takes its file's name."""

    files: Annotated[list[AttachmentFile], Field(min_length=1, max_length=100)]
    index_id: IndexId | None = None
    index_name: Annotated[str, Field(min_length=1, max_length=255), Visible] | None = None
    title: Title | None = None


class AttachmentsJob(ImportJob):
    """The import job, and where its media go."""

    destination: Destination


@router.post("/workflow/attachments", status_code=202, response_model=AttachmentsJob, **require(Scope.WRITE))
async def import_attachments(context: Context, once: Idempotent, body: AttachmentsBody) -> Response:
    """Fetch files from other hosts and import them. An unavailable one fails with `attachment_download_failed`."""
    require_one_index(body.index_id, body.index_name)
    wanted = _to_attachments(context, body)

    def effect(tx: Tx) -> AttachmentsJob:
        goes_to = find_destination(tx, body.index_id, body.index_name)
        connector = context.uploads.connector(tx)
        job_id = tx.new_id("job")
        attachments.create(tx, context.box, job_id, goes_to.index_id, connector.id, wanted)
        job = import_jobs.to_response(queries.get_view(tx, job_id))
        return AttachmentsJob(**job.model_dump(), destination=goes_to)

    return await once(effect)


def _to_attachments(context: ApiContext, body: AttachmentsBody) -> list[tuple[Attachment, str]]:
    """Return the files to fetch and their titles. Raises InvalidInput for a forbidden URL or a duplicate id."""
    guard = _address_guard(context)
    if len({file.file_id for file in body.files}) < len(body.files):
        raise InvalidInput("files: two have the same file_id", "give each its own file_id")
    return [
        (_to_attachment(guard, file), _title_of(body, number)) for number, file in enumerate(body.files, 1)
    ]


def _to_attachment(guard: Guard, file: AttachmentFile) -> Attachment:
    _require_address(guard, file.file_id, file.download_url)
    return Attachment(file.file_id, file.download_url, file.file_name or "", file.mime_type or "")


def _require_address(guard: Guard, file_id: str, url: str) -> None:
    try:
        guard.parse_url(url)
    except (DeliveryRefused, ValueError) as error:
        what = error.message if isinstance(error, DeliveryRefused) else "the URL is invalid"
        raise InvalidInput(f"download_url of file {file_id!r}: {what}", "give a complete https URL") from None


def require_addresses(context: ApiContext, refreshed: Sequence[Mapping[str, Any]]) -> None:
    """Check the URLs of files that are fetched again. Raises InvalidInput for a forbidden one."""
    for file in refreshed:
        _require_address(_address_guard(context), file["file_id"], file["download_url"])


def _address_guard(context: ApiContext) -> Guard:
    return Guard(context.settings.attachment_policy, "attachments")


def _title_of(body: AttachmentsBody, number: int) -> str:
    file = body.files[number - 1]
    if body.title is None:
        return title_of(file.file_name or file.file_id)
    return body.title if len(body.files) == 1 else f"{body.title[:240]} ({number})"
