"""Prompt runs and their results."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import Query, Request
from pydantic import Field

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.pagination import Cursor, Limit, Page, decode_cursor, decode_number, to_page
from vvwatch.api.http.thumbnails import show_thumbnails
from vvwatch.api.http.wire import Marker, Resource, SegmentTranscript, to_iso
from vvwatch.core.budgets import to_usd
from vvwatch.core.keys import Scope
from vvwatch.core.media import RunSettings
from vvwatch.core.processors import Transcription, explain_undone
from vvwatch.core.runs import TERMINAL, ItemStatus
from vvwatch.store.models.runs import Run, RunItemWithMedia, ScopeSpending, SegmentResult
from vvwatch.store.runs import run_queries
from vvwatch.store.runs.run_queries import RunTally, RunView
from vvwatch.store.runs.transcripts import Said
from vvwatch.workflow.pipeline import artifact

router = resource_router("prompt runs")

_NOT_DONE: Final = (
    "requested features that the processor lacks: `transcription`, `image_embedding`, with the reason"
)
MT_PER_USD: Final = 1_000
"""This API's unit of account (MT) is a thousandth of a US dollar."""
_MT: Final = "the cost of its calls, in thousandths of a US dollar"
_KINDS: Final = ("video", "audio", "image")
_ENDS: Final = (ItemStatus.COMPLETED, ItemStatus.FAILED, ItemStatus.PARTIAL, ItemStatus.CANCELLED)


class StopState(Resource):
    """A stop request: who sent it when, and when all running work had ended."""

    requested_at: str | None = None
    requested_by: str | None = None
    mode: str | None = None
    observed_at: str | None = None
    completed_at: str | None = None


class RunCost(Resource):
    """The cost of model calls. `unpriced_calls` have no known price; `usd` is then a minimum.

    `reserved_usd` is the maximum cost of running calls.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced_calls: int = 0
    reserved_usd: float = 0.0


class PromptRun(Resource):
    """A prompt run. Counters count media items by type and outcome."""

    run_id: str
    prompt_id: str
    prompt_name: str
    prompt_type: str
    prompt_version: int
    executed_at: str | None
    executed_by: str
    status: str
    run_context: dict[str, Any]
    import_job_id: str | None
    total_videos: int
    completed_videos: int
    failed_videos: int
    partial_videos: int
    cancelled_videos: int
    total_audios: int
    completed_audios: int
    failed_audios: int
    partial_audios: int
    cancelled_audios: int
    total_images: int
    completed_images: int
    failed_images: int
    partial_images: int
    cancelled_images: int
    total_segments: int
    completed_segments: int
    field_extraction_failures: int
    transcription_failures: int
    image_embedding_failures: int
    field_extraction_succeeded: bool | None
    transcription_succeeded: bool | None
    image_embedding_succeeded: bool | None
    error_message: str | None
    video_segmentation_type: str
    audio_segmentation_type: str
    image_segmentation_type: str
    video_segment_duration: int | None
    audio_segment_duration: int | None
    created_new_segments: bool
    processing_model: str | None
    total_video_seconds: float
    enable_transcription: bool
    enable_image_embedding: bool
    not_done: Annotated[dict[str, str], Field(description=_NOT_DONE)]
    video_level_enabled: bool
    video_level_total_items: int
    video_level_completed_items: int
    video_level_failed_items: int
    video_level_partial_items: int
    stop_state: StopState
    cost: RunCost
    billing_estimated_mt: float
    billing_actual_mt: Annotated[float, Field(description=_MT)]
    billing_status: str | None
    billing_error: str | None
    marker: Marker
    started_at: str | None
    completed_at: str | None
    updated_at: str | None


class SegmentRunResult(Resource):
    """The result for one segment; times in seconds from the start of the media item."""

    result_type: str = "segment"
    result_id: str
    segment_id: str
    video_id: str
    run_id: str
    prompt_id: str
    prompt_run_id: str
    video_name: str
    source_index_id: str | None
    executed_at: str | None
    start_time: float
    end_time: float
    metadata: dict[str, Any]
    metadata_text: str
    processing_warning: str | None
    field_extraction_succeeded: bool
    field_extraction_error: str | None
    transcription_succeeded: bool | None = None
    transcription_error: str | None = None
    image_embedding_succeeded: bool | None = None
    image_embedding_error: str | None = None
    transcript: SegmentTranscript | None = None
    thumbnail_available: bool = False
    thumbnail_uri: str | None = None
    gif_available: bool = False
    marker: Marker = Marker()
    metadata_markers: dict[str, Marker] = Field(default_factory=dict)


class PromptRunVideoResult(Resource):
    """The result for a media item as a whole. `damage` names what is wrong with its file."""

    result_type: str = "video"
    result_id: str
    run_id: str
    prompt_id: str
    prompt_run_id: str
    video_id: str
    video_name: str
    source_index_id: str | None
    executed_at: str | None
    status: str
    metadata: dict[str, Any]
    metadata_text: str
    processing_warning: str | None
    successful_segment_count: int
    failed_segment_count: int
    error_code: str | None
    error_message: str | None
    damage: list[str]
    warnings: list[str]
    started_at: str | None
    completed_at: str | None
    marker: Marker = Marker()


def to_response(view: RunView) -> PromptRun:
    """Return the run as a response."""
    run = view.run
    return PromptRun(
        run_id=run.id,
        prompt_id=run.prompt_id,
        prompt_name=run.prompt["name"],
        prompt_type="custom",
        prompt_version=run.prompt_version,
        executed_at=to_iso(run.created_at),
        executed_by=run.executed_by,
        status=run.status,
        run_context=run.context or {"type": "index", "index_id": run.index_id},
        import_job_id=run.import_job_id or (run.context or {}).get("import_job_id"),
        **_count_by_type(view.tally),
        **_count_segments(run, view.tally),
        error_message=run.error_message,
        **asdict(RunSettings(**run.settings)),
        not_done=run.not_done or {},
        image_segmentation_type="image",
        created_new_segments=run.total_segments > 0,
        total_video_seconds=view.tally.seconds,
        **_count_video_level(run, view.tally.whole_failed),
        stop_state=_to_stop_state(run),
        **_to_billing(_to_cost(view.spent)),
        marker=Marker(),
        started_at=to_iso(run.started_at),
        completed_at=to_iso(run.completed_at),
        updated_at=to_iso(run.updated_at),
    )


def _to_cost(spent: ScopeSpending | None) -> RunCost:
    if spent is None:
        return RunCost()
    return RunCost(
        calls=spent.calls,
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        usd=to_usd(spent.cost_nanousd),
        unpriced_calls=spent.unpriced_calls,
        reserved_usd=to_usd(spent.reserved_nanousd),
    )


def describe_unpriced(unknown: int, calls: int) -> str:
    """Return the note for a sum that misses the cost of some calls."""
    return f"the cost of {unknown} of {calls} calls is unknown: the sum is a minimum"


def _to_billing(cost: RunCost) -> dict[str, Any]:
    return {
        "cost": cost,
        "billing_estimated_mt": 0.0,
        "billing_actual_mt": cost.usd * MT_PER_USD,
        "billing_status": None,
        "billing_error": describe_unpriced(cost.unpriced_calls, cost.calls) if cost.unpriced_calls else None,
    }


def _to_stop_state(run: Run) -> StopState:
    if run.stop is None:
        return StopState()
    return StopState(
        requested_at=to_iso(run.stop["requested_at"]),
        requested_by=run.stop["requested_by"],
        mode=run.stop["mode"],
        observed_at=to_iso(run.stop["observed_at"]),
        completed_at=to_iso(run.completed_at),
    )


def _count_by_type(tally: RunTally) -> dict[str, Any]:
    """Return `total_videos`, `completed_videos`, … for each media type."""
    counters: dict[str, Any] = {}
    for kind in _KINDS:
        items = {status: count for (its_kind, status), count in tally.items.items() if its_kind == kind}
        counters[f"total_{kind}s"] = sum(items.values())
        counters |= {f"{end.value}_{kind}s": items.get(end.value, 0) for end in _ENDS}
    return counters


def _count_segments(run: Run, tally: RunTally) -> dict[str, Any]:
    """Count segments; each has one operation, filling the fields. None are filled if the item failed as a whole.

    A media item is transcribed as a whole, so transcriptions count by media item.
    """
    failures = run.total_segments - run.completed_segments
    ended = run.status in TERMINAL
    return {
        "total_segments": run.total_segments,
        "completed_segments": run.completed_segments,
        "field_extraction_failures": failures,
        "field_extraction_succeeded": failures == run.failed_items == 0 if ended else None,
        "transcription_failures": tally.untranscribed,
        "image_embedding_failures": 0,
        **{
            name: value
            for name, value in explain_undone(run.not_done, _to_transcription(run, tally)).items()
            if name.endswith("_succeeded")
        },
    }


def _to_transcription(run: Run, tally: RunTally) -> Transcription | None:
    """Return whether all items of an ended run have a transcript; None if none should have one."""
    if run.status not in TERMINAL or not tally.transcribed + tally.untranscribed:
        return None
    return Transcription(not tally.untranscribed)


def _count_video_level(run: Run, whole_failed: int) -> dict[str, Any]:
    """Count video-level results; they are partial for damaged media and for media with failed segments."""
    enabled = run.prompt["video_level"] is not None
    return {
        "video_level_enabled": enabled,
        "video_level_total_items": run.total_items if enabled else 0,
        "video_level_completed_items": run.completed_items if enabled else 0,
        "video_level_failed_items": run.failed_items + whole_failed if enabled else 0,
        "video_level_partial_items": run.partial_items - whole_failed if enabled else 0,
    }


@router.get("/prompt-runs", **require(Scope.READ))
async def list_prompt_runs(
    context: Context, limit: Annotated[int, Query(ge=1, le=200)] = 200
) -> list[PromptRun]:
    """List prompt runs, newest first."""
    return [to_response(view) for view in await context.database.read(run_queries.list_newest, limit)]


@router.get("/indexes/{index_id}/prompt-runs", **require(Scope.READ))
async def list_index_prompt_runs(
    context: Context, index_id: str, limit: Limit = 50, cursor: Cursor = None
) -> Page[PromptRun]:
    """List the prompt runs of an index, newest first."""
    found = await context.database.read(run_queries.list_page, index_id, decode_cursor(cursor), limit + 1)
    return to_page(found, limit, to_response, lambda view: view.run.id)


@router.get("/prompt-runs/{run_id}", **require(Scope.READ))
async def get_prompt_run(context: Context, run_id: str) -> PromptRun:
    """Return a prompt run."""
    return to_response(await context.database.read(run_queries.get_view, run_id))


@router.get("/prompt-runs/{run_id}/results", **require(Scope.READ))
async def list_results(
    context: Context,
    request: Request,
    run_id: str,
    video_id: Annotated[str, Query(min_length=1)],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[SegmentRunResult]:
    """List the results of a run for one media item, segment by segment."""
    after = decode_number(cursor)
    first = -1 if after is None else after
    found = await context.database.read(run_queries.list_item_segments, run_id, video_id, first, limit + 1)
    page = to_page(
        found.segments,
        limit,
        lambda row: to_segment_result(found.run, found.item, row, found.said),
        lambda row: row.ordinal,
    )
    return await show_thumbnails(request, page)


def to_segment_result(
    run: Run, item: RunItemWithMedia, segment: SegmentResult, said: Said
) -> SegmentRunResult:
    """Return what a run found in a segment as a response."""
    return SegmentRunResult(**artifact.segment_document(run, item, segment, said), prompt_run_id=run.id)


@router.get("/prompt-runs/{run_id}/videos/{video_id}/video-result", **require(Scope.READ))
async def get_video_result(context: Context, run_id: str, video_id: str) -> PromptRunVideoResult:
    """Return the result of a run for a media item as a whole."""
    found = await context.database.read(run_queries.get_item, run_id, video_id)
    return to_video_result(found.run, found.item)


def to_video_result(run: Run, item: RunItemWithMedia) -> PromptRunVideoResult:
    """Return what a run found in an item as a whole, as a response."""
    warning = "; ".join(item.warnings or ()) or None
    document = artifact.video_result_document(run, item)
    return PromptRunVideoResult(**document, prompt_run_id=run.id, processing_warning=warning)
