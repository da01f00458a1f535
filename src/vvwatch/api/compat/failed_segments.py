"""List the failures of a prompt run and retry them.

Each failed segment has an id. `seg_<item>_whole` stands for a media item that failed as a whole, or whose video-level
result is missing, and is retried like a segment. If all segments of an item failed, either id retries it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query, Response
from pydantic import Field

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.pagination import Cursor, cut_page, decode_number
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.api.routes.prompt_runs import MT_PER_USD, describe_unpriced
from vvwatch.core.budgets import to_usd
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.keys import Scope
from vvwatch.core.runs import SEGMENTS_FAILED, WHOLE_FAILED, ItemStatus, Results, RetryStatus
from vvwatch.store.db.database import Tx
from vvwatch.store.models.runs import RunItem, SegmentResult
from vvwatch.store.models.runs import SegmentRetry as StoredRetry
from vvwatch.store.runs import result_queries as queries
from vvwatch.store.runs import segment_retries
from vvwatch.store.runs.result_queries import FailedItem

router = resource_router("prompt runs")

_EXTRACTION: Final = "field_extraction"
_TRANSCRIPTION: Final = "transcription"
_PROCESSING: Final = "processing"
_LONGEST_ANSWER: Final = 2_000
_VIDEO_LEVEL: Final = "video_level"
_SEGMENT_FAILED: Final = "segment_failed"


class OperationCounts(Resource):
    """Failures per operation; `processing` counts items that failed as a whole or lack their video-level result.

    `transcription` counts items without a transcript: a failed transcription fails nothing else, so such an item is
    listed only if something else failed too.
    """

    field_extraction: int = 0
    transcription: int = 0
    image_embedding: int = 0
    processing: int = 0


class FailedSegment(Resource):
    """A failed segment; times in seconds. Without times it stands for a whole media item.

    `failure_stage` is then `processing` if the item failed, `video_level` if only the video-level result is missing.
    """

    segment_id: str
    failed_operations: list[str]
    field_extraction_error: str | None
    transcription_error: str | None = None
    image_embedding_error: str | None = None
    failure_stage: str
    failure_message: str | None
    failure_code: str | None
    answer_text: Annotated[str | None, Field(description="the model's answer, shortened")] = None
    retryable: bool
    start_time: float | None
    end_time: float | None
    projection_only: bool = False


class FailedVideo(Resource):
    """The failures of one media item. Old runs may drop segments; the count remains."""

    video_id: str
    failed_segments: int
    operation_counts: OperationCounts
    segments: list[FailedSegment]


class FailedSegments(Resource):
    """The failures of a run. The counts cover the run, `videos` one page."""

    run_id: str
    status: str
    videos_with_failures: int
    failed_segments: int
    operation_counts: OperationCounts
    videos: list[FailedVideo]
    next_cursor: Annotated[str | None, Field(description="the cursor of the next page of `videos`")]


class SegmentRetryStatus(Resource):
    """The progress of a retry: `pending`, `processing`, `completed` or `failed`."""

    run_id: str
    retry_id: str
    status: str
    video_id: str
    segment_id: str
    created_at: str
    started_at: str | None
    completed_at: str | None
    error: str | None
    billing_estimated_mt: float = 0.0
    billing_actual_mt: float = 0.0
    billing_status: str | None = None
    billing_error: str | None = None
    field_extraction_succeeded: bool | None
    transcription_succeeded: bool | None = None
    image_embedding_succeeded: bool | None = None


class SegmentRetry(SegmentRetryStatus):
    """A retry that has started."""

    message: str
    idempotency_key: str | None = None


@router.get("/prompt-runs/{run_id}/failed-segments", **require(Scope.READ))
async def list_failed_segments(
    context: Context,
    run_id: str,
    limit: Annotated[int, Query(ge=1, le=1000, description="maximum number of media items")] = 1000,
    cursor: Cursor = None,
) -> FailedSegments:
    """List the failures of a run by media item."""
    found = await context.database.read(queries.list_failures, run_id, decode_number(cursor) or 0, limit + 1)
    here, next_cursor = cut_page(found.items, limit, lambda each: each.item.id)
    retryable = found.run.results == Results.KEPT
    return FailedSegments(
        run_id=run_id,
        status=found.run.status,
        videos_with_failures=found.item_count,
        failed_segments=found.segment_count + found.whole_count,
        operation_counts=OperationCounts(
            field_extraction=found.segment_count,
            transcription=found.untranscribed,
            processing=found.whole_count,
        ),
        videos=[to_video(each, retryable=retryable) for each in here],
        next_cursor=next_cursor,
    )


def to_video(found: FailedItem, *, retryable: bool) -> FailedVideo:
    """Return the failures of an item as a response; they are `retryable` while the results of their run are kept."""
    item = found.item
    wholes: list[FailedSegment] = []
    if item.status == ItemStatus.FAILED and item.error_code != SEGMENTS_FAILED:
        wholes = [_whole_item(item, _PROCESSING, retryable=retryable)]
        segments, counts = [], OperationCounts(processing=1)
    else:
        stands = retryable and item.status != ItemStatus.CANCELLED
        if item.error_code == WHOLE_FAILED:
            wholes = [_whole_item(item, _VIDEO_LEVEL, retryable=stands)]
        segments = [_to_segment(row, found.transcription_error, retryable=stands) for row in found.segments]
        counts = OperationCounts(field_extraction=item.failed_segment_count, processing=len(wholes))
    counts = counts.model_copy(update={"transcription": int(found.transcription_error is not None)})
    return FailedVideo(
        video_id=item.media_id,
        failed_segments=counts.field_extraction + counts.processing,
        operation_counts=counts,
        segments=[*wholes, *segments],
    )


def _to_segment(row: SegmentResult, transcription_error: str | None, *, retryable: bool) -> FailedSegment:
    return FailedSegment(
        segment_id=segment_id(row.run_item_id, row.ordinal),
        failed_operations=[_EXTRACTION, *([_TRANSCRIPTION] if transcription_error else [])],
        field_extraction_error=row.error,
        transcription_error=transcription_error,
        failure_stage=_EXTRACTION,
        failure_message=row.error,
        failure_code=_SEGMENT_FAILED,
        answer_text=row.metadata_text[:_LONGEST_ANSWER] or None,
        retryable=retryable,
        start_time=row.start_time,
        end_time=row.end_time,
    )


def _whole_item(item: RunItem, stage: str, *, retryable: bool) -> FailedSegment:
    return FailedSegment(
        segment_id=segment_id(item.id, WHOLE),
        failed_operations=[_PROCESSING],
        field_extraction_error=None,
        failure_stage=stage,
        failure_message=item.error_message,
        failure_code=item.error_code,
        retryable=retryable,
        start_time=None,
        end_time=None,
    )


@router.post(
    "/prompt-runs/{run_id}/videos/{video_id}/segments/{segment_id}/retry",
    status_code=202,
    response_model=SegmentRetry,
    **require(Scope.WRITE, errors=("model_not_configured",)),
)
async def retry_segment(once: Idempotent, run_id: str, video_id: str, segment_id: str) -> Response:
    """Process a failed segment again, or with `seg_…_whole` everything that failed of an item.

    The new result replaces the failure and nothing else; the counts and the status of the run follow.
    """
    return await once(lambda tx: _request_retry(tx, run_id, video_id, segment_id))


def _request_retry(tx: Tx, run_id: str, video_id: str, segment_id: str) -> SegmentRetry:
    row = segment_retries.request(tx, run_id, video_id, segment_id)
    return SegmentRetry(
        **_retry_fields(row, run_id, video_id, segment_id), message="the segment is processed again"
    )


def _retry_fields(row: StoredRetry, run_id: str, video_id: str, segment_id: str) -> dict[str, Any]:
    ended = row.status in (RetryStatus.COMPLETED, RetryStatus.FAILED)
    return {
        "run_id": run_id,
        "retry_id": row.id,
        "status": row.status,
        "video_id": video_id,
        "segment_id": segment_id,
        "created_at": to_iso(row.created_at),
        "started_at": to_iso(row.started_at),
        "completed_at": to_iso(row.completed_at),
        "error": row.error_message if row.status == RetryStatus.FAILED else None,
        "field_extraction_succeeded": row.status == RetryStatus.COMPLETED if ended else None,
    }


@router.get(
    "/prompt-runs/{run_id}/videos/{video_id}/segments/{segment_id}/retries/{retry_id}", **require(Scope.READ)
)
async def get_segment_retry(
    context: Context, run_id: str, video_id: str, segment_id: str, retry_id: str
) -> SegmentRetryStatus:
    """Return the progress of a retry."""
    return await context.database.read(_read_retry, run_id, video_id, segment_id, retry_id)


def _read_retry(tx: Tx, run_id: str, video_id: str, segment_id: str, retry_id: str) -> SegmentRetryStatus:
    row = segment_retries.find(tx, run_id, video_id, segment_id, retry_id)
    calls, unknown, cost = queries.sum_retry_calls(tx, row)
    return SegmentRetryStatus(
        **_retry_fields(row, run_id, video_id, segment_id),
        billing_actual_mt=to_usd(cost) * MT_PER_USD,
        billing_error=describe_unpriced(unknown, calls) if unknown else None,
    )
