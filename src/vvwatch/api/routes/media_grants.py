"""Addresses at which anyone can download the original of a media item, for an hour."""

from __future__ import annotations

from typing import Any, Final, Literal

import sqlalchemy as sa
from fastapi import Request

from vvwatch.api.http.auth import PREFIX, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.links import MEDIA, create_link, linked_origin
from vvwatch.api.http.wire import Body, Resource, to_iso
from vvwatch.api.routes.media_contents import file_name
from vvwatch.api.routes.segments import Id
from vvwatch.core.content_types import content_type
from vvwatch.store.imports import original_queries

router = resource_router("workflow")


class MediaGrantBody(Body):
    """Which media item is wanted, perhaps because of a run or a segment of it, and what for."""

    video_id: Id
    run_id: Id | None = None
    segment_id: Id | None = None
    intent: Literal["download"] = "download"


class MediaGrant(Resource):
    """An address that needs no key, until `expires_at`, and what stands there: the whole original."""

    url: str
    filename: str
    mime_type: str
    video_id: str
    run_id: str | None
    segment_id: str | None
    intent: str
    media_type: str
    size_bytes: int
    expires_at: str


def create_grant(request: Request, row: sa.Row[Any], *, run_id: str | None = None) -> MediaGrant:
    """The address at which the original of a media row can be had for a while, by whoever has the address."""
    made = create_link(request, linked_origin(request), PREFIX, MEDIA, row.id)
    return MediaGrant(
        url=made.url,
        filename=file_name(row),
        mime_type=content_type(row.key),
        video_id=row.id,
        run_id=run_id,
        segment_id=None,
        intent="download",
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        expires_at=to_iso(made.expires_at) or "",
    )


_WHOLE_FILE: Final = (
    "leave segment_id out for the whole file, and use the segment's start_time and end_time in it"
)


@router.post("/workflow/media-grants")
async def grant_media(context: Context, request: Request, body: MediaGrantBody) -> MediaGrant:
    """An address at which the original of a media item can be downloaded without a key for an hour.

    A run that is named must have to do with it, and changes nothing else. Of a segment there is no file: it is refused,
    for the whole under a segment's name would be taken for the segment.
    """
    wanted = body.video_id, body.run_id, body.segment_id
    row = await context.database.read(original_queries.require_original, *wanted)
    if body.segment_id is not None:
        raise ApiError(404, "not_available", "a segment by itself cannot be downloaded", _WHOLE_FILE)
    return create_grant(request, row, run_id=body.run_id)
