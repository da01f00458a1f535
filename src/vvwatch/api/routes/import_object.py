"""Import one object of a connector, given by its URI."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from fastapi import Response
from pydantic import Field

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.errors import STORAGE_ERRORS, ApiError
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.wire import Body
from vvwatch.api.routes import import_jobs
from vvwatch.api.routes.import_jobs import ImportJob
from vvwatch.api.routes.resolve_uri import key_at_any, plain_addresses
from vvwatch.api.routes.uploads import IndexId, Title
from vvwatch.core.keys import Scope
from vvwatch.core.locations import check_key
from vvwatch.core.objects import StorageObject, media_type
from vvwatch.core.uploads import FORMATS
from vvwatch.errors import InvalidInput, ObjectNotFound
from vvwatch.providers.registry import PROVIDERS
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import import_object, one_time
from vvwatch.store.imports import job_queries as queries
from vvwatch.store.models.catalog import Connector

router = resource_router("videos")


class VideoBody(Body):
    __doc__ = f"""An object: {", ".join(each.uri for each in PROVIDERS.values())}.

    Without `source_connector_id`, the oldest import connector that reaches it is used.
    """

    title: Title
    video_uri: Annotated[str, Field(min_length=1, max_length=8192)]
    index_id: IndexId
    source_connector_id: Annotated[str | None, Field(min_length=1, max_length=200)] = None


@router.post(
    "/videos",
    status_code=202,
    response_model=ImportJob,
    **require(Scope.WRITE, errors=("resource_object_not_found", *STORAGE_ERRORS)),
)
async def create_video(context: Context, once: Idempotent, body: VideoBody) -> Response:
    """Import one object of a connector into an index. It must exist and be a media file."""
    if (given := await once.find_earlier_response()) is not None:
        return given
    connector, key = await _locate(context, body)
    await context.database.read(one_time.require_usable, connector.id, body.index_id)
    obj = await _find_object(context, connector, key)

    def effect(tx: Tx) -> ImportJob:
        job = import_object.create(tx, body.index_id, connector.id, obj, body.title)
        return import_jobs.to_response(queries.get_view(tx, job.id))

    return await once(effect)


async def _locate(context: ApiContext, body: VideoBody) -> tuple[Connector, str]:
    """Return the connector and the object's key. Raises InvalidInput if no connector reaches it."""
    addresses = await anyio.to_thread.run_sync(plain_addresses, body.video_uri)
    for row in await _list_candidates(context, body.source_connector_id):
        if key := await key_at_any(context, row, addresses):
            check_key(key)
            if media_type(key) is None:
                raise InvalidInput(f"video_uri: {key!r} has no known format", f"one of: {FORMATS}")
            return row, key
    which = (
        f"connector {body.source_connector_id!r} does not reach"
        if body.source_connector_id
        else "no connector imports from"
    )
    raise InvalidInput(
        f"video_uri: {which} {body.video_uri!r}",
        "create a connector with the scope import for its bucket, container or folder",
    )


async def _list_candidates(context: ApiContext, connector_id: str | None) -> list[Connector]:
    if connector_id is not None:
        return [await context.database.read(catalog.get_connector, connector_id)]
    rows = await context.database.read(catalog.list_connectors)
    return [row for row in rows if "import" in row.scopes and row.status != catalog.DISABLED]


async def _find_object(context: ApiContext, connector: Connector, key: str) -> StorageObject:
    """Return the object from the store. Raises ApiError (404) if it is missing, InvalidInput if it is unusable."""
    storage = await context.open_storage(connector)
    try:
        obj = await storage.stat(key)
    except ObjectNotFound as error:
        what = f"connector {connector.id!r} has no object {key!r}"
        raise ApiError(404, "resource_object_not_found", what, error.hint) from error
    if obj.archived or not obj.size_bytes:
        what = "is archived" if obj.archived else "is empty"
        raise InvalidInput(f"the object {key!r} {what}", "restore it first" if obj.archived else "")
    return obj
