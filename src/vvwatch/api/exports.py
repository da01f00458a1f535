"""Exports: results as one document, for download or delivered to a connector."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import sqlalchemy as sa
from fastapi import Query, Response
from fastapi.responses import FileResponse

from vvwatch.api.auth import PREFIX, extension, resource_router
from vvwatch.api.context import Context
from vvwatch.api.idempotency import Idempotent
from vvwatch.api.wire import USER_ID, Resource, moment
from vvwatch.core.exports import ExportStatus
from vvwatch.errors import Conflict
from vvwatch.store import retrying
from vvwatch.store.database import Tx
from vvwatch.store.queries import exports

router = resource_router("exports")


class ExportParams(Resource):
    """What was asked for. Clients accept these four keys and no other."""

    prompt_run_ids: list[str] | None
    destination_connector_id: str | None
    destination_base_path: str | None
    destination_subpath: str | None


class Export(Resource):
    """An export."""

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
    error_message: str | None
    last_error: str | None
    export_params: ExportParams | None


def shown(row: sa.Row[Any]) -> Export:
    """The export as it is answered."""
    downloadable = _is_downloadable(row)
    return Export(
        export_id=row.id,
        user_id=USER_ID,
        export_type=row.export_type,
        target_id=row.target_id,
        index_id=row.index_id,
        run_id=row.run_id,
        automation_id=row.automation_id,
        status=row.status,
        queue_status=row.queue_status,
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        created_at=moment(row.created_at),
        available_at=moment(row.available_at),
        started_at=moment(row.started_at),
        completed_at=moment(row.completed_at),
        updated_at=moment(row.updated_at),
        destination_type=row.destination_type,
        destination_connector_id=row.destination_connector_id,
        destination_base_path=row.destination_base_path,
        destination_subpath=row.destination_subpath,
        destination_uri=row.destination_uri,
        gcs_uri=f"vvwatch://exports/{row.id}.json" if downloadable else row.destination_uri,
        download_url=f"{PREFIX}/exports/{quote(row.id, safe='')}/download" if downloadable else None,
        file_size_bytes=row.file_size_bytes,
        sha256=row.sha256,
        error_message=row.error_message,
        last_error=row.last_error,
        export_params=_params(row),
    )


def _is_downloadable(row: sa.Row[Any]) -> bool:
    return bool(row.status == ExportStatus.COMPLETED and row.destination_type == "download")


def _params(row: sa.Row[Any]) -> ExportParams:
    restricted = row.export_type == "index" and row.run_id is not None
    return ExportParams(
        prompt_run_ids=[row.run_id] if restricted else None,
        destination_connector_id=row.destination_connector_id,
        destination_base_path=row.destination_base_path,
        destination_subpath=row.destination_subpath,
    )


@router.get("/exports")
async def list_exports(context: Context, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> list[Export]:
    """Exports, newest first."""
    return [shown(row) for row in await context.database.read(exports.newest, limit)]


@router.get("/exports/{export_id}")
async def get_export(context: Context, export_id: str) -> Export:
    """One export."""
    return shown(await context.database.read(exports.get, export_id))


@router.get("/exports/{export_id}/download", response_class=FileResponse)
async def download_export(context: Context, export_id: str) -> FileResponse:
    """The document of a completed export that is not delivered to a connector."""
    row = await context.database.read(exports.get, export_id)
    if not _is_downloadable(row):
        raise Conflict(f"export {export_id!r} cannot be downloaded", _why_not(row))
    path = await context.document(row)
    return FileResponse(path, media_type="application/json", filename=f"{row.id}.json")


def _why_not(row: sa.Row[Any]) -> str:
    if row.destination_type == "connector":
        return f"it goes to connector {row.destination_connector_id}: see its destination_uri"
    return f"it is {row.status}: wait until it has completed"


@router.post(
    "/exports/{export_id}/retry",
    status_code=202,
    response_model=Export,
    **extension("Try a failed export again"),
)
async def retry_export(once: Idempotent, export_id: str) -> Response:
    """Build and deliver a failed export again, under the name it had."""
    return await once(lambda tx: _retried(tx, export_id))


def _retried(tx: Tx, export_id: str) -> Export:
    retrying.retry_export(tx, export_id)
    return shown(exports.get(tx, export_id))
