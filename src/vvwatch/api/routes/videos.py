"""Media items, which the v2 API calls videos whatever their type."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import Field

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.pagination import Cursor, Limit, Page, decode_cursor, to_page
from vvwatch.api.http.wire import Body, Marker, Resource, to_iso
from vvwatch.api.routes import prompt_runs
from vvwatch.api.routes.prompt_runs import PromptRun
from vvwatch.api.routes.segments import Id
from vvwatch.core.identities import segment_id
from vvwatch.core.keys import Scope
from vvwatch.core.objects import StorageObject, media_type
from vvwatch.core.runs import WHOLE_FAILED, ItemStatus
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import media_queries
from vvwatch.store.imports.media_queries import MediaView
from vvwatch.store.models.imports import ImportJob, Media
from vvwatch.store.models.runs import ItemWithRun, SegmentState
from vvwatch.store.runs import run_queries

router = resource_router("videos")


_MAX_SEGMENTS: Final = 1_000
_MAX_SEGMENTS_IN_BATCH: Final = 100
"""How many segments of each run are listed, for one media item and for several."""


class SegmentProcessing(Resource):
    """The state of one segment in a prompt run; times in seconds from the start."""

    segment_id: str
    video_id: str
    status: str
    start_time: float
    end_time: float
    started_at: str | None
    completed_at: str | None
    updated_at: str | None
    error_message: str | None
    failure_stage: str | None
    attempt_id: str | None = None


class VideoLevelProcessing(Resource):
    """The video-level progress of a prompt run on a media item."""

    status: str
    result_available: bool
    successful_segment_count: int
    failed_segment_count: int
    started_at: str | None
    completed_at: str | None
    updated_at: str | None
    error_message: str | None
    attempt_id: str | None = None


class RunProcessing(Resource):
    """The progress of a prompt run on a media item."""

    run_id: str
    prompt_id: str | None
    status: str
    total_segments: int
    pending_segments: int
    processing_segments: int
    successful_segments: int
    failed_segments: int
    created_at: str | None
    updated_at: str | None
    error_message: str | None
    attempt_id: str | None = None
    video_level: VideoLevelProcessing | None
    segments: list[SegmentProcessing]


class Video(Resource):
    """A media item.

    `processing_status` has its prompt runs, newest first; lists omit their segments. `metadata_keys` are the keys of
    the schemas of runs with results.
    """

    video_id: str
    index_id: str
    title: str
    video_uri: str
    status: str
    media_type: str
    duration_seconds: float | None
    size_bytes: int
    source_connector_id: str | None
    source_key: str
    source_version: str
    import_job_id: str
    probe: dict[str, Any] | None
    facts: dict[str, Any] | None
    processing_status: list[RunProcessing] | None
    metadata_keys: list[str] | None
    marker: Marker
    created_at: str | None
    updated_at: str | None


class VideoWithDetails(Video):
    """A media item with preview images: there are none here."""

    gif_data: str | None = None
    first_thumbnail: str | None = None


class VideoStatus(Resource):
    """The status of a media item and of each of its runs."""

    video_id: str
    status: str
    processing_status: list[RunProcessing]


class BatchBody(Body):
    """The ids of media items."""

    video_ids: Annotated[list[Id], Field(min_length=1, max_length=100)]


def to_response(
    row: Media, processing: list[RunProcessing] | None = None, keys: list[str] | None = None
) -> Video:
    """Return the media item as a response."""
    return Video.of(
        row,
        video_id=row.id,
        video_uri=row.uri,
        source_connector_id=None if catalog.is_uploads(row.connector_id) else row.connector_id,
        source_key=row.key,
        source_version=row.version,
        processing_status=processing,
        metadata_keys=keys,
        marker=Marker(),
    )


def future_video(media_id: str, job: ImportJob, file: StorageObject, *, title: str, uri: str) -> Video:
    """Return the media item that an import job will create from an upload."""
    return Video(
        video_id=media_id,
        index_id=job.index_id,
        title=title,
        video_uri=uri,
        status="not_processed",
        media_type=media_type(file.key) or "video",
        duration_seconds=None,
        size_bytes=file.size_bytes,
        source_connector_id=None,
        source_key=file.key,
        source_version=file.version,
        import_job_id=job.id,
        probe=None,
        facts=None,
        processing_status=None,
        metadata_keys=None,
        marker=Marker(),
        created_at=to_iso(job.created_at),
        updated_at=to_iso(job.created_at),
    )


def _to_processing(view: MediaView, item: ItemWithRun) -> RunProcessing:
    """Return the progress of a run; no segment is pending, since they are known only when the item ends."""
    return RunProcessing.of(
        item,
        prompt_id=item.run_prompt_id,
        total_segments=item.segment_count,
        pending_segments=0,
        processing_segments=0,
        successful_segments=item.segment_count - item.failed_segment_count,
        failed_segments=item.failed_segment_count,
        created_at=to_iso(item.run_created_at),
        updated_at=to_iso(item.completed_at or item.started_at),
        error_message=_error_of(item),
        video_level=_to_video_level(item) if view.prompts[item.run_id]["video_level"] else None,
        segments=[_to_segment(item, row) for row in view.segments.get(item.id, ())],
    )


def _error_of(item: ItemWithRun) -> str | None:
    return None if item.status == ItemStatus.COMPLETED else item.error_message


def _has_results(item: ItemWithRun) -> bool:
    return item.status in (ItemStatus.COMPLETED, ItemStatus.PARTIAL)


def _to_video_level(item: ItemWithRun) -> VideoLevelProcessing:
    is_missing = item.error_code == WHOLE_FAILED
    return VideoLevelProcessing.of(
        item,
        status=ItemStatus.FAILED if is_missing else item.status,
        result_available=_has_results(item) and not is_missing,
        successful_segment_count=item.segment_count - item.failed_segment_count,
        updated_at=to_iso(item.completed_at or item.started_at),
        error_message=_error_of(item),
    )


def _to_segment(item: ItemWithRun, row: SegmentState) -> SegmentProcessing:
    ended_at = to_iso(item.completed_at)
    return SegmentProcessing.of(
        row,
        segment_id=segment_id(item.id, row.ordinal),
        video_id=item.media_id,
        status="completed" if row.error is None else "failed",
        started_at=to_iso(item.started_at),
        completed_at=ended_at,
        updated_at=ended_at,
        error_message=row.error,
        failure_stage=None if row.error is None else "field_extraction",
    )


def _with_details(view: MediaView) -> Video:
    return to_response(view.row, [_to_processing(view, item) for item in view.items], _prompt_keys(view))


def _prompt_keys(view: MediaView) -> list[str]:
    schemas = (view.prompts[item.run_id]["json_schema"] for item in view.items if _has_results(item))
    return sorted({key for schema in schemas for key in schema.get("properties", {})})


@router.get("/videos/{video_id}", **require(Scope.READ))
async def get_video(context: Context, video_id: str) -> Video:
    """Return a media item with its prompt runs, newest first."""
    return _with_details(await context.database.read(media_queries.get_kept_view, video_id, _MAX_SEGMENTS))


@router.get("/indexes/{index_id}/videos", **require(Scope.READ))
async def list_videos(
    context: Context, index_id: str, limit: Limit = 50, cursor: Cursor = None
) -> Page[Video]:
    """List the media of an index, newest first."""
    rows = await context.database.read(media_queries.list_page, index_id, decode_cursor(cursor), limit + 1)
    return to_page(rows, limit, _with_details, lambda view: view.row.id)


@router.get("/playground/videos", **require(Scope.READ))
async def list_playground_videos(context: Context, limit: Limit = 50, cursor: Cursor = None) -> Page[Video]:
    """List the media of the playground, newest first: those uploaded without an index."""
    rows = await context.database.read(media_queries.list_playground, decode_cursor(cursor), limit + 1)
    return to_page(rows, limit, _with_details, lambda view: view.row.id)


@router.get("/videos/{video_id}/prompt-runs", **require(Scope.READ))
async def list_video_prompt_runs(
    context: Context, video_id: str, limit: Annotated[int, Query(ge=1, le=200)] = 200
) -> list[PromptRun]:
    """List the prompt runs of a media item, newest first."""
    found = await context.database.read(_list_runs, video_id, limit)
    return [prompt_runs.to_response(view) for view in found]


def _list_runs(tx: Tx, video_id: str, limit: int) -> list[run_queries.RunView]:
    return [run_queries.get_view(tx, run_id) for run_id in media_queries.list_run_ids(tx, video_id, limit)]


@router.post("/videos/batch", **require(Scope.READ))
async def batch_videos(context: Context, body: BatchBody) -> list[VideoWithDetails]:
    """Return several media items in the order of the request, each once. Unknown ones are omitted."""
    found = await context.database.read(media_queries.list_kept_views, body.video_ids, _MAX_SEGMENTS_IN_BATCH)
    return [VideoWithDetails(**_with_details(view).model_dump()) for view in found]


@router.post("/videos/batch/status", **require(Scope.READ))
async def batch_status(context: Context, body: BatchBody) -> list[VideoStatus]:
    """Return the status of several media items in the order of the request, each once. Unknown ones are omitted."""
    found = await context.database.read(media_queries.list_kept_views, body.video_ids, _MAX_SEGMENTS_IN_BATCH)
    return [
        VideoStatus(
            video_id=view.row.id,
            status=view.row.status,
            processing_status=[_to_processing(view, item) for item in view.items],
        )
        for view in found
    ]
