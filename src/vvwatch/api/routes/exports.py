"""Exports: results as one document, for download or delivered to a connector."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Query, Request, Response
from pydantic import Field

from vvwatch.api.http.auth import PREFIX, extension, require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.links import EXPORT, create_link, secure_origin
from vvwatch.api.http.streams import StreamedFile, content_disposition, file_chunks
from vvwatch.api.http.wire import USER_ID, Body, Resource
from vvwatch.api.routes.export_options import ExportOptionsBody, ExportOptionsShown, to_shown
from vvwatch.api.routes.segments import Id
from vvwatch.core.exports import USUAL_OPTIONS, ExportStatus, QueueStatus
from vvwatch.core.keys import Scope
from vvwatch.core.objects import base_name
from vvwatch.errors import Conflict, InvalidInput, NotFound
from vvwatch.store.db.database import Tx
from vvwatch.store.delivery import exports as export_store
from vvwatch.store.delivery.exports import Destination
from vvwatch.store.imports import retrying
from vvwatch.store.models.delivery import Export as ExportRow

router = resource_router("exports")

Text = Annotated[str, Field(max_length=1024)]


class ExportBody(Body):
    """Where results go; without a connector they can be downloaded."""

    destination_connector_id: Id | None = None
    destination_subpath: Text | None = None
    result_scope: Literal["all", "matches"] = "all"
    options: ExportOptionsBody | None = None

    def destination(self) -> Destination:
        """Raises InvalidInput for a `result_scope` that does not exist here, and for options that cannot be."""
        if self.result_scope != "all":
            raise InvalidInput(
                "result_scope 'matches' needs a run that selects media, which this server does not have",
                "omit it: all results are exported",
            )
        options = self.options.to_options() if self.options else USUAL_OPTIONS
        return Destination(self.destination_connector_id, self.destination_subpath or None, options)


class IndexExportBody(ExportBody):
    """Which results go where; without runs, those of all finished runs."""

    prompt_run_ids: Annotated[list[Id], Field(max_length=1000)] | None = None


class ExportParams(Resource):
    """The parameters of an export. Clients accept these four keys and no other."""

    prompt_run_ids: list[str] | None
    destination_connector_id: str | None
    destination_base_path: str | None
    destination_subpath: str | None


class ExportPart(Resource):
    """A downloadable part, itself a whole document; the first is at `download_url`."""

    number: int
    size_bytes: int
    sha256: str
    download_url: str


class ExportedFile(Resource):
    """A file of an export with options: its key in the connector, or its name in the file for download."""

    name: str
    format: str
    content_type: str
    size_bytes: int
    sha256: str
    connector_id: str | None = None


class Export(Resource):
    """An export. Size and digest are those of its file; of a document in several parts, of the first.

    With options they are those of the manifest, or of the file for download; `files` has the first 100 files.
    """

    export_id: str
    user_id: str
    export_type: str
    target_id: str
    index_id: str | None
    run_id: str | None
    automation_id: str | None
    status: str
    queue_status: str | None
    attempts: int
    max_attempts: int
    created_at: str | None
    available_at: str | None
    started_at: str | None
    completed_at: str | None
    updated_at: str | None
    destination_type: str
    destination_connector_id: str | None
    destination_base_path: str | None
    destination_subpath: str | None
    destination_uri: str | None
    gcs_uri: str | None
    download_url: str | None
    file_size_bytes: int | None
    sha256: str | None
    parts: list[ExportPart] | None
    options: ExportOptionsShown | None
    files: list[ExportedFile] | None
    result_scope: str = "all"
    error_message: str | None
    last_error: str | None
    export_params: ExportParams | None


class CreatedExport(Resource):
    """An export that has started."""

    export_id: str
    status: str


class DownloadUrl(Resource):
    """A URL that needs no key; null if there is none. Clients accept these five keys and no other."""

    export_id: str
    status: str
    destination_type: str
    destination_connector_id: str | None
    download_url: str | None


def to_response(row: ExportRow) -> Export:
    """Return the export as a response."""
    downloadable = _is_downloadable(row)
    return Export.of(
        row,
        export_id=row.id,
        user_id=USER_ID,
        gcs_uri=f"vvwatch://exports/{row.id}.json" if downloadable else row.destination_uri,
        download_url=_download_path(row) if downloadable else None,
        parts=_to_parts(row) if downloadable else None,
        options=to_shown(row.options),
        files=None if row.files is None else [ExportedFile(**each) for each in row.files],
        export_params=_to_params(row),
    )


def _is_downloadable(row: ExportRow) -> bool:
    done = row.status == ExportStatus.COMPLETED and row.queue_status == QueueStatus.SUCCEEDED
    return bool(done and row.destination_type == "download")


def _download_path(row: ExportRow) -> str:
    return f"{PREFIX}/exports/{quote(row.id, safe='')}/download"


def _to_parts(row: ExportRow) -> list[ExportPart]:
    whole = {"size_bytes": row.file_size_bytes or 0, "sha256": row.sha256 or ""}
    return [
        ExportPart(number=number, download_url=f"{_download_path(row)}?part={number}", **part)
        for number, part in enumerate(row.parts or [whole], 1)
    ]


def _to_params(row: ExportRow) -> ExportParams:
    restricted = row.export_type == "index" and row.run_id is not None
    return ExportParams.of(row, prompt_run_ids=[row.run_id] if restricted else row.prompt_run_ids)


@router.post(
    "/exports/index/{index_id}", status_code=202, response_model=CreatedExport, **require(Scope.WRITE)
)
async def export_index(once: Idempotent, index_id: str, body: IndexExportBody | None = None) -> Response:
    """Export the results of an index: of all finished runs, or of the given ones."""
    wanted = body or IndexExportBody()
    to, run_ids = wanted.destination(), wanted.prompt_run_ids
    return await once(lambda tx: _to_created(export_store.request_index(tx, index_id, run_ids, to)))


@router.post(
    "/exports/prompt-run/{run_id}", status_code=202, response_model=CreatedExport, **require(Scope.WRITE)
)
async def export_prompt_run(once: Idempotent, run_id: str, body: ExportBody | None = None) -> Response:
    """Export the results of a prompt run when it has ended."""
    to = (body or ExportBody()).destination()
    return await once(lambda tx: _to_created(export_store.request_run(tx, run_id, to)))


def _to_created(row: ExportRow) -> CreatedExport:
    return CreatedExport(export_id=row.id, status=row.status)


@router.get("/exports", **require(Scope.READ))
async def list_exports(context: Context, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> list[Export]:
    """List exports, newest first."""
    return [to_response(row) for row in await context.database.read(export_store.list_newest, limit)]


@router.get("/exports/{export_id}", **require(Scope.READ))
async def get_export(context: Context, export_id: str) -> Export:
    """Return an export."""
    return to_response(await context.database.read(export_store.get, export_id))


_Part = Query(ge=1, description="the part, of a document in several")
_Token = Query(description="replaces a key, for this export only: see download-url")
_DOCUMENT: dict[str, Any] = {
    "description": "The document, or this part of it",
    "content": {
        "application/json": {"schema": {"type": "object"}},
        "application/zip": {"schema": {"type": "string"}},
    },
}


@router.get(
    "/exports/{export_id}/download",
    response_class=Response,
    responses={200: _DOCUMENT},
    **require(Scope.READ, errors=("conflict", "resource_export_part_not_found")),
)
async def download_export(
    context: Context,
    export_id: str,
    part: Annotated[int, _Part] = 1,
    token: Annotated[str | None, _Token] = None,  # noqa: ARG001  # checked by the route's guard
) -> Response:
    """Download a completed export that is not delivered to a connector: the whole document, or one part."""
    row = await context.database.read(export_store.get, export_id)
    if not _is_downloadable(row):
        raise Conflict(f"export {export_id!r} cannot be downloaded", _why_not_ready(row))
    found = _to_parts(row)
    if part > len(found):
        raise NotFound("export_part", str(part), f"export {export_id!r} has {len(found)}")
    path = await context.document(row, part)
    name, content_type = _describe_download(row, path.name)
    headers = {
        "Content-Type": content_type,
        "Content-Disposition": content_disposition(name),
        "Cache-Control": "private, no-store",
    }
    return StreamedFile(file_chunks(path), found[part - 1].size_bytes, headers)


def _describe_download(row: ExportRow, document: str) -> tuple[str, str]:
    """Return the name and the content type of the file: the document, the only file, or a zip file of several."""
    if row.files is None:
        return document, "application/json"
    if [each["sha256"] for each in row.files] == [row.sha256]:
        return base_name(row.files[0]["name"]), row.files[0]["content_type"]
    return f"{row.id}.zip", "application/zip"


def _why_not_ready(row: ExportRow) -> str:
    if row.destination_type == "connector":
        return f"it is delivered to connector {row.destination_connector_id}: see its destination_uri"
    return f"it is {row.status}: wait until it completes"


@router.post("/exports/{export_id}/download-url", **require(Scope.READ))
async def mint_download_url(context: Context, request: Request, export_id: str) -> DownloadUrl:
    """Return a URL that downloads a completed export without a key for 15 minutes.

    It is null if the export has not completed or is delivered to a connector, or if the URL would use plain http: see
    `[api] download_urls`.
    """
    row = await context.database.read(export_store.get, export_id)
    origin = secure_origin(request) if _is_downloadable(row) else None
    return DownloadUrl(
        export_id=row.id,
        status=row.status,
        destination_type=row.destination_type,
        destination_connector_id=row.destination_connector_id,
        download_url=None if origin is None else create_link(request, origin, PREFIX, EXPORT, row.id).url,
    )


@router.post(
    "/exports/{export_id}/retry",
    status_code=202,
    response_model=Export,
    **extension("Retry a failed export", Scope.WRITE),
)
async def retry_export(once: Idempotent, export_id: str) -> Response:
    """Build and deliver a failed export again, under its earlier name."""
    return await once(lambda tx: _retry(tx, export_id))


def _retry(tx: Tx, export_id: str) -> Export:
    retrying.retry_export(tx, export_id)
    return to_response(export_store.get(tx, export_id))
