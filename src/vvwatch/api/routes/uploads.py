"""Uploads: store the file of a request on this machine and import it with a job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import anyio
from anyio import to_thread
from fastapi import Request, Response
from pydantic import Field

from vvwatch.api.http.auth import PREFIX, require, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.forms import FileForm
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.wire import Body, Resource, Visible
from vvwatch.api.routes import import_jobs, videos
from vvwatch.api.routes.import_jobs import ImportJob
from vvwatch.api.routes.videos import Video
from vvwatch.core.imports import TERMINAL
from vvwatch.core.keys import Scope
from vvwatch.core.objects import StorageObject
from vvwatch.core.uploads import FORMATS, file_name, title_of
from vvwatch.errors import InvalidInput, SpoolFull
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import imports, media_queries, uploads
from vvwatch.store.imports import job_queries as queries
from vvwatch.store.imports.imports import NewFile
from vvwatch.store.models import imports as rows

router = resource_router("uploads")

_ERRORS: Final = ("request_timeout", "insufficient_storage")

BODIES: Final = (f"POST {PREFIX}/videos/upload", f"POST {PREFIX}/workflow/upload")
"""The routes that take a file; their bodies may have up to `max_upload_bytes`."""

_POLL_SECONDS: Final = 0.1

Title = Annotated[str, Field(min_length=1, max_length=255), Visible]
IndexId = Annotated[str, Field(min_length=1, max_length=200)]


class VideoForm(Body):
    """The fields that accompany a file."""

    title: Title
    index_id: IndexId | None = None


class WorkflowForm(Body):
    """The optional fields that accompany a file. Without an index it goes to the playground."""

    title: Title | None = None
    index_id: IndexId | None = None
    index_name: Annotated[str, Field(min_length=1, max_length=255), Visible] | None = None


class Destination(Resource):
    """Where media go; `index_created` says whether the request created the index."""

    type: Literal["playground", "index"]
    index_id: str
    index_name: str
    index_created: bool


class WorkflowUpload(ImportJob):
    """The import job, its future media item, and where that goes."""

    video: Video
    destination: Destination


@dataclass(frozen=True, slots=True)
class _Upload:
    """An uploaded file for a job."""

    job_id: str
    form: FileForm
    file: StorageObject


def _form_schema(model: type[Body]) -> dict[str, Any]:
    """Return the OpenAPI description of a form with a file."""
    schema = model.model_json_schema()
    file = {"type": "string", "format": "binary", "description": f"A media file, one of: {FORMATS}"}
    schema["properties"] = {"file": file, **schema["properties"]}
    schema["required"] = ["file", *schema.get("required", ())]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@router.post(
    "/videos/upload",
    status_code=202,
    response_model=ImportJob,
    **require(Scope.WRITE, errors=_ERRORS, **_form_schema(VideoForm)),
)
async def upload_video(request: Request, context: Context, once: Idempotent) -> Response:
    """Upload a media file into an index, or the playground. The import job creates its media item."""
    async with _receive(request, context) as upload:
        form = upload.form.fields(VideoForm)

        def effect(tx: Tx) -> ImportJob:
            index = find_destination(tx, form.index_id, None)
            _create_import(tx, context, upload, index.index_id, form.title)
            return import_jobs.to_response(queries.get_view(tx, upload.job_id))

        return await once.of(upload.form.content())(effect)


@router.post(
    "/workflow/upload",
    status_code=201,
    response_model=WorkflowUpload,
    **require(Scope.WRITE, errors=_ERRORS, **_form_schema(WorkflowForm)),
)
async def upload_to_workflow(request: Request, context: Context, once: Idempotent) -> Response:
    """Upload a media file into an index, created if its name is new, or into the playground.

    The response waits a short time for the import; the `video` exists when its job has ended.
    """
    async with _receive(request, context) as upload:
        form = upload.form.fields(WorkflowForm)
        require_one_index(form.index_id, form.index_name)

        def effect(tx: Tx) -> WorkflowUpload:
            goes_to = find_destination(tx, form.index_id, form.index_name)
            title = form.title or title_of(upload.form.name)
            media_id = _create_import(tx, context, upload, goes_to.index_id, title)
            job = queries.get_view(tx, upload.job_id)
            item = _future_video(context, upload.file, media_id, job.job, title)
            return WorkflowUpload(
                **import_jobs.to_response(job).model_dump(), video=item, destination=goes_to
            )

        async def then(made: WorkflowUpload) -> WorkflowUpload:
            return await _await_import(context, made)

        return await once.of(upload.form.content()).run_both(effect, then)


async def _await_import(context: ApiContext, made: WorkflowUpload) -> WorkflowUpload:
    """Return the response once the import has ended; unchanged if that takes too long."""
    with anyio.move_on_after(context.settings.upload_wait_seconds):
        while (now := await context.database.read(_read_ended, made)) is None:
            await context.clock.sleep(_POLL_SECONDS)
        return now
    return made


def _read_ended(tx: Tx, made: WorkflowUpload) -> WorkflowUpload | None:
    job = queries.get_view(tx, made.job_id)
    if job.job.status not in TERMINAL:
        return None
    found = media_queries.list_kept_views(tx, [made.video.video_id])
    item = videos.to_response(found[0].row) if found else made.video
    return WorkflowUpload(
        **import_jobs.to_response(job).model_dump(), video=item, destination=made.destination
    )


@asynccontextmanager
async def _receive(request: Request, context: ApiContext) -> AsyncIterator[_Upload]:
    """Store the file of a request on disk; it is deleted with the block unless a job uses it."""
    kept = context.uploads
    async with kept.job() as job_id, kept.arriving() as arriving:
        form = FileForm(arriving, file_name)
        try:
            await to_thread.run_sync(kept.folder.room.require, _declared_bytes(request))
            await form.read(request)
            file = await kept.place(arriving, f"{job_id}/0/{form.name}")
        except SpoolFull as error:
            raise ApiError(507, "insufficient_storage", error.message, error.hint) from error
        yield _Upload(job_id, form, file)


def _declared_bytes(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def require_one_index(index_id: str | None, index_name: str | None) -> None:
    """Raise InvalidInput if both are given."""
    if index_id and index_name:
        raise InvalidInput("index_id and index_name are both given", "give one of them, or neither")


def find_destination(tx: Tx, index_id: str | None, index_name: str | None) -> Destination:
    """Return the index of this id or name, creating it by name if needed; the playground without either.

    Raises NotFound for the id.
    """
    created = False
    if index_id:
        row = catalog.get_index(tx, index_id)
    elif index_name:
        row, created = catalog.ensure_index_named(tx, index_name)
    else:
        row = catalog.ensure_playground(tx)
    kind: Literal["playground", "index"] = "playground" if row.is_default else "index"
    return Destination(type=kind, index_id=row.id, index_name=row.name, index_created=created)


def _create_import(tx: Tx, context: ApiContext, upload: _Upload, index_id: str, title: str) -> str:
    """Create the import job; return the id of the future media item."""
    file = upload.file
    imports.create_sealed(
        tx,
        job_id=upload.job_id,
        index_id=index_id,
        connector_id=context.uploads.connector(tx).id,
        source_kind="upload",
        files=[NewFile(file.key, file.version, file.size_bytes, file.modified_at, title=title)],
    )
    return uploads.reserve_media(tx, upload.job_id)[0]


def _future_video(
    context: ApiContext, file: StorageObject, media_id: str, job: rows.ImportJob, title: str
) -> Video:
    """Return the future media item."""
    uri = context.uploads.folder.uri(file.key)
    return videos.future_video(media_id, job, file, title=title, uri=uri)
