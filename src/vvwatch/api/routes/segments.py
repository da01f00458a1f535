"""Segments of media with the results of their prompt runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Final

import anyio.to_thread
from fastapi import Query, Request
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.pagination import Cursor, Limit, Page, decode_cursor, to_page
from vvwatch.api.http.thumbnails import show_thumbnails, with_thumbnails
from vvwatch.api.http.wire import Body, Marker, Resource, SegmentTranscript, to_iso
from vvwatch.core.identities import segment_id, segment_of
from vvwatch.core.keys import Scope
from vvwatch.core.processors import explain_undone
from vvwatch.errors import InvalidInput
from vvwatch.store.db.database import Tx
from vvwatch.store.models.runs import FoundSegment
from vvwatch.store.runs import segment_queries
from vvwatch.store.runs.segment_queries import MediaSegments, SegmentPosition
from vvwatch.store.runs.transcripts import NOTHING_KNOWN, Said, load_said

router = resource_router("videos")

_MAX_TOGETHER: Final = 10_000
_LARGEST: Final = 2**63 - 1

Id = Annotated[str, Field(min_length=1, max_length=200)]


class Segment(Resource):
    """A prompt run's result for one segment; times in seconds from the start of the media item."""

    segment_id: str
    video_id: str
    start_time: float
    end_time: float
    gcs_uri: str | None = None
    thumbnail_gcs_uri: str | None = None
    gif_gcs_uri: str | None = None
    thumbnail_uri: str | None = None
    gif_uri: str | None = None
    processed: bool
    processing_failed: bool
    segment_status: str
    failure_stage: str | None
    failure_message: str | None
    attempt_id: str | None = None
    status_source: str | None = None
    metadata: dict[str, Any] | None
    metadata_text: str | None
    created_at: str | None
    processed_at: str | None
    error_message: str | None
    processing_warning: str | None
    thumbnail_data: str | None = None
    thumbnail_available: bool = False
    gif_data: str | None = None
    gif_available: bool = False
    from_run_id: str
    marker: Marker = Marker()
    metadata_markers: dict[str, Marker] = Field(default_factory=dict)
    field_extraction_succeeded: bool
    transcription_succeeded: bool | None = None
    image_embedding_succeeded: bool | None = None
    field_extraction_error: str | None
    transcription_error: str | None = None
    image_embedding_error: str | None = None
    transcript: SegmentTranscript | None = None


class Target(Body):
    """A media item, and optionally the run; by default the latest run with results."""

    video_id: Id
    run_id: Id | None = None


class SegmentsBody(Body):
    """Media items, either as ids or each with a run."""

    video_ids: Annotated[list[Id], Field(min_length=1, max_length=50)] | None = None
    targets: Annotated[list[Target], Field(min_length=1, max_length=50)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> SegmentsBody:
        if (self.video_ids is None) == (self.targets is None):
            raise PydanticCustomError("targets", "give either video_ids or targets")
        return self

    def list_targets(self) -> dict[tuple[str, str | None], None]:
        """Return each target once, in the order of the request."""
        if self.targets is not None:
            return {(target.video_id, target.run_id): None for target in self.targets}
        return {(video_id, None): None for video_id in self.video_ids or ()}


class VideoSegments(Resource):
    """The segments of one media item; `run_id` is the requested run."""

    video_id: str
    run_id: str | None
    segments: list[Segment]


def to_response(row: FoundSegment, said: Said) -> Segment:
    """Return the segment of an item in which this is `said` as a response."""
    words = said.between(row.start_time, row.end_time)
    found_at = to_iso(row.found_at)
    return Segment(
        segment_id=segment_id(row.run_item_id, row.ordinal),
        video_id=row.media_id,
        start_time=row.start_time,
        end_time=row.end_time,
        processed=row.error is None,
        processing_failed=row.error is not None,
        segment_status="completed" if row.error is None else "failed",
        failure_stage=None if row.error is None else "field_extraction",
        failure_message=row.error,
        metadata=row.metadata or {},
        metadata_text=row.metadata_text,
        created_at=found_at,
        processed_at=found_at,
        error_message=row.error,
        processing_warning=row.warning,
        from_run_id=row.run_id,
        field_extraction_succeeded=row.error is None,
        field_extraction_error=row.error,
        **explain_undone(row.not_done, said.outcome),
        transcript=None if words is None else SegmentTranscript(**words),
    )


@router.get("/videos/{video_id}/segments", **require(Scope.READ))
async def list_segments(
    context: Context,
    request: Request,
    video_id: str,
    run_id: Annotated[str | None, Query(description="only results of this run")] = None,
    latest_run: Annotated[bool, Query(description="only the latest run; false: all runs")] = True,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Segment]:
    """List a media item's segments, newest run first, by start time; a run's results appear when it has finished the
    item.
    """
    after = parse_cursor(cursor)
    wanted = video_id, run_id or None, latest_run, after, limit + 1
    rows, said = await context.database.read(read_page, *wanted)
    page = to_page(to_segments(rows, said), limit, lambda segment: segment, cursor_of)
    return await show_thumbnails(request, page)


def read_page(tx: Tx, *wanted: Any) -> tuple[Sequence[FoundSegment], Mapping[int, Said]]:
    """Return segments as `segment_queries.list_page`, and what is said in their items."""
    rows = segment_queries.list_page(tx, *wanted)
    return rows, load_said(tx, list({row.run_item_id for row in rows}))


def to_segments(rows: Sequence[FoundSegment], said: Mapping[int, Said]) -> list[Segment]:
    """Return segments as responses."""
    return [to_response(row, said.get(row.run_item_id, NOTHING_KNOWN)) for row in rows]


def cursor_of(segment: Segment) -> str:
    """Return the position of a segment in lists."""
    item_id, ordinal = segment_of(segment.segment_id) or (0, 0)
    return f"{item_id}.{ordinal}"


def parse_cursor(cursor: str | None) -> SegmentPosition | None:
    """Return the position in a cursor; raises ApiError (400)."""
    text = decode_cursor(cursor)
    if text is None:
        return None
    numbers = text.split(".")
    if len(numbers) != 2 or not all(map(_is_number, numbers)):
        raise ApiError(400, "invalid_cursor", "the cursor belongs to another list", "start without a cursor")
    return SegmentPosition(*map(int, numbers))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= _LARGEST


@router.post("/videos/batch/segments", **require(Scope.READ))
async def batch_segments(context: Context, request: Request, body: SegmentsBody) -> list[VideoSegments]:
    """Return the segments of several media items. Unknown ones are omitted."""
    found, said = await context.database.read(_read_many, body.list_targets())
    if sum(len(each.rows) for each in found) > _MAX_TOGETHER:
        hint = "request fewer, or each one's /videos/{id}/segments, which has pages"
        raise InvalidInput(f"these have more than {_MAX_TOGETHER} segments together", hint)
    groups = await anyio.to_thread.run_sync(_group_by_video, found, said)
    shown = iter(await with_thumbnails(request, [each for group in groups for each in group.segments]))
    return [
        group.model_copy(update={"segments": list(islice(shown, len(group.segments)))}) for group in groups
    ]


def _read_many(
    tx: Tx, targets: Mapping[tuple[str, str | None], None]
) -> tuple[Sequence[MediaSegments], Mapping[int, Said]]:
    found = segment_queries.list_many(tx, targets, _MAX_TOGETHER + 1)
    return found, load_said(tx, list({row.run_item_id for each in found for row in each.rows}))


def _group_by_video(found: Sequence[MediaSegments], said: Mapping[int, Said]) -> list[VideoSegments]:
    """Group segments by media item, in a thread: there may be thousands."""
    return [
        VideoSegments(
            video_id=each.media_id,
            run_id=each.run_id,
            segments=to_segments(each.rows, said),
        )
        for each in found
    ]
