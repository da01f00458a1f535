"""Links that download the original of a media item without a key for an hour."""

from __future__ import annotations

from typing import Final, Literal

from fastapi import Request

from vvwatch.api.http.auth import PREFIX, require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.links import MEDIA, create_link, linked_origin
from vvwatch.api.http.wire import Body, Resource, to_iso
from vvwatch.api.routes.media_contents import file_name
from vvwatch.api.routes.segments import Id
from vvwatch.core.content_types import content_type
from vvwatch.core.keys import Scope
from vvwatch.store.imports import media_queries
from vvwatch.store.models.imports import Media

router = resource_router("workflow")


class MediaGrantBody(Body):
    """The media item, optionally with a run or a segment of it."""

    video_id: Id
    run_id: Id | None = None
    segment_id: Id | None = None
    intent: Literal["download"] = "download"


class MediaGrant(Resource):
    """A URL of the whole original that needs no key until `expires_at`."""

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


def create_grant(request: Request, row: Media, *, run_id: str | None = None) -> MediaGrant:
    """Return a link to the original of a media row."""
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
    "omit segment_id to download the whole file, and use the segment's start_time and end_time in it"
)


@router.post("/workflow/media-grants", **require(Scope.READ, errors=("not_available",)))
async def grant_media(context: Context, request: Request, body: MediaGrantBody) -> MediaGrant:
    """Return a URL that downloads the original of a media item without a key for an hour.

    A given run must include the item, and changes nothing else. A segment has no file of its own and is refused: the
    whole file would be mistaken for it.
    """
    wanted = body.video_id, body.run_id, body.segment_id
    row = await context.database.read(media_queries.require_original, *wanted)
    if body.segment_id is not None:
        raise ApiError(404, "not_available", "a single segment cannot be downloaded", _WHOLE_FILE)
    return create_grant(request, row, run_id=body.run_id)
