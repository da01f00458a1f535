"""Links that download the original of a media item without a key for an hour."""

from __future__ import annotations

from typing import Literal

from fastapi import Request

from vvwatch.api.http.auth import PREFIX, require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.links import CLIP, MEDIA, create_link, linked_origin
from vvwatch.api.http.wire import Body, Resource, to_iso
from vvwatch.api.routes.media_contents import file_name
from vvwatch.api.routes.segment_contents import CUT, clip_name, is_whole
from vvwatch.api.routes.segments import Id
from vvwatch.core.content_types import content_type
from vvwatch.core.keys import Scope
from vvwatch.core.objects import extension
from vvwatch.processors.media.clips import choose_ending
from vvwatch.store.imports import media_queries
from vvwatch.store.imports.media_queries import SegmentSource
from vvwatch.store.models.imports import Media

router = resource_router("workflow")


class MediaGrantBody(Body):
    """The media item, optionally with a run or a segment of it."""

    video_id: Id
    run_id: Id | None = None
    segment_id: Id | None = None
    intent: Literal["download"] = "download"


class MediaGrant(Resource):
    """A URL of the original, or of a segment of it, that needs no key until `expires_at`.

    A segment's file begins at the key frame at or before its `start_time`, which `cut` says; `size_bytes` is unknown
    until it is cut.
    """

    url: str
    filename: str
    mime_type: str
    video_id: str
    run_id: str | None
    segment_id: str | None
    intent: str
    media_type: str
    size_bytes: int | None
    expires_at: str
    start_time: float | None = None
    end_time: float | None = None
    cut: str | None = None


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


def _create_segment_grant(
    request: Request, segment_id: str, found: SegmentSource, run_id: str | None
) -> MediaGrant:
    """Return a link to a segment; to the original if that is the same."""
    row, times = found.row, {"start_time": found.start_time, "end_time": found.end_time}
    if is_whole(found):
        whole = create_grant(request, row, run_id=run_id)
        return whole.model_copy(update={"segment_id": segment_id, **times})
    made = create_link(request, linked_origin(request), PREFIX, CLIP, segment_id)
    name = clip_name(row, found.start_time, found.end_time, choose_ending(extension(row.key)))
    return MediaGrant(
        url=made.url,
        filename=name,
        mime_type=content_type(name),
        video_id=row.id,
        run_id=run_id,
        segment_id=segment_id,
        intent="download",
        media_type=row.media_type,
        size_bytes=None,
        expires_at=to_iso(made.expires_at) or "",
        **times,
        cut=CUT,
    )


@router.post("/workflow/media-grants", **require(Scope.READ))
async def grant_media(context: Context, request: Request, body: MediaGrantBody) -> MediaGrant:
    """Return a URL that downloads the original of a media item, or one segment of it, without a key for an hour.

    A given run must include the item, and changes nothing else. A segment is cut when it is downloaded, without coding
    it again; a picture and a segment as long as its original are the original.
    """
    wanted = body.video_id, body.run_id, body.segment_id
    row = await context.database.read(media_queries.require_original, *wanted)
    if body.segment_id is not None:
        found = await context.database.read(media_queries.find_segment_source, body.segment_id)
        return _create_segment_grant(request, body.segment_id, found, body.run_id)
    return create_grant(request, row, run_id=body.run_id)
