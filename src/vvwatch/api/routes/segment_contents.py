"""Segments as files: cut from the original at key frames, while they are downloaded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import Query, Response

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.errors import STORAGE_ERRORS, ApiError
from vvwatch.api.http.links import CLIP
from vvwatch.api.http.streams import StreamedFile, content_disposition
from vvwatch.api.routes.media_contents import Original, translate_errors
from vvwatch.core.content_types import content_type
from vvwatch.core.keys import Scope
from vvwatch.core.objects import base_name
from vvwatch.errors import MediaError
from vvwatch.store.imports import media_queries
from vvwatch.store.imports.media_queries import SegmentSource
from vvwatch.store.models.imports import Media
from vvwatch.workflow.pipeline.clips import Clips, OpenClip

router = resource_router("videos")

CUT: Final = "cut at key frames"
_SLACK_SECONDS: Final = 0.05
_Token = Query(description="replaces a key, for this segment only: see media-grants")
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The segment. X-Clip-Start and X-Clip-End are its real times in the original, in seconds",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    410: {"description": "The original is gone"},
}


@router.get(
    CLIP.path,
    response_class=Response,
    responses=_BYTES,
    **extension(
        "A segment as a file",
        Scope.READ,
        errors=("not_available", "media_changed", "media_archived", "media_gone", *STORAGE_ERRORS),
    ),
)
async def get_segment_content(
    context: Context,
    segment_id: str,
    token: Annotated[str | None, _Token] = None,  # noqa: ARG001  # checked by the route's guard
) -> Response:
    """Return a segment of a video or sound without coding it again: from the key frame at or before its start.

    The file is in the container of the original, or in Matroska if that cannot hold it.
    """
    found = await context.database.read(media_queries.find_segment_source, segment_id)
    if context.clips is None or found.row.media_type == "image":
        raise ApiError(404, "not_available", "a picture has no segments", "download the whole file")
    original = await Original.of(context, found.row.id)
    return _ClipResponse(context.clips, original, found)


class _ClipResponse(StreamedFile):
    """Cuts the clip, and then sends its head: only then are its name and its size known."""

    def __init__(self, clips: Clips, original: Original, found: SegmentSource) -> None:
        super().__init__(self._open_chunks(), 0, {"Content-Security-Policy": "sandbox"})
        self._clips = clips
        self._original = original
        self._found = found

    @asynccontextmanager
    async def _open_chunks(self) -> AsyncIterator[AsyncIterator[bytes]]:
        row, span = self._found.row, (self._found.start_time, self._found.end_time)
        with translate_errors(row.id):
            try:
                async with self._clips.open(self._original.storage, row, span) as clip:
                    self._describe(row, clip)
                    yield clip.chunks()
            except MediaError as error:
                message = f"the segment cannot be cut out: {error.message}"
                raise ApiError(404, "not_available", message, error.hint) from error

    def _describe(self, row: Media, clip: OpenClip) -> None:
        name = clip_name(row, self._found.start_time, self._found.end_time, clip.clip.ending)
        self.headers.update(
            {
                "Content-Length": str(clip.size_bytes),
                "Content-Type": content_type(name),
                "Content-Disposition": content_disposition(name),
                "Cache-Control": "private, no-store",
                "X-Clip-Cut": CUT,
                "X-Clip-Start": f"{clip.clip.start_time:.3f}",
                "X-Clip-End": f"{clip.clip.end_time:.3f}",
            }
        )


def clip_name(row: Media, start: float, end: float, ending: str) -> str:
    """Return the name of a segment's file, such as `film_00-12.5_00-20.0.mp4`."""
    stem = base_name(row.key).rpartition(".")[0] or base_name(row.key) or row.id
    return f"{stem}_{_to_name(start)}_{_to_name(end)}.{ending}"


def _to_name(seconds: float) -> str:
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    front = f"{hours:02}-" if hours else ""
    return f"{front}{minutes:02}-{tenths // 10:02}.{tenths % 10}"


def is_whole(found: SegmentSource) -> bool:
    """Return whether the segment is all of its original."""
    row = found.row
    ends = row.duration_seconds is not None and found.end_time >= row.duration_seconds - _SLACK_SECONDS
    return row.media_type == "image" or (found.start_time <= 0 and ends)
