"""All results of a prompt run, for clients of the short workflow API.

The hosted API can filter results by a prompt's selection; this server has none.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal

from fastapi import Query, Request

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.pagination import Cursor, Page, decode_cursor, to_page
from vvwatch.api.http.thumbnails import show_thumbnails
from vvwatch.api.http.wire import Resource
from vvwatch.api.routes.prompt_runs import (
    PromptRunVideoResult,
    SegmentRunResult,
    to_segment_result,
    to_video_result,
)
from vvwatch.core.keys import Scope
from vvwatch.store.models.runs import Run
from vvwatch.store.runs import result_queries
from vvwatch.store.runs.result_queries import Result, ResultPosition, Results

router = resource_router("prompt runs")

_READERS: Final = {"segment": result_queries.list_segments, "video": result_queries.list_videos}


class SelectionSummary(Resource):
    """The result of a prompt's selection filter; always empty here."""

    status: str = "not_configured"
    selected_media_count: int = 0
    selected_video_count: int = 0
    selected_segment_count: int = 0


class WorkflowResults(Resource):
    """The results of a run. `filtered` is null: there are no selection filters."""

    run_id: str
    status: str
    result_level: Literal["segment", "video"]
    selection_summary: SelectionSummary
    filtered: Page[SegmentRunResult] | Page[PromptRunVideoResult] | None
    unfiltered: Page[SegmentRunResult] | Page[PromptRunVideoResult] | None


@router.get("/workflow/runs/{run_id}/results", **require(Scope.READ))
async def list_workflow_results(
    context: Context,
    request: Request,
    run_id: str,
    result_level: Annotated[
        Literal["segment", "video"], Query(description="results per segment or per media item")
    ] = "segment",
    view: Annotated[
        Literal["filtered", "unfiltered", "both"], Query(description="which results to return")
    ] = "both",
    limit: Annotated[int, Query(ge=1, le=50)] = 50,
    video_id: Annotated[str | None, Query(max_length=200, description="only this media item")] = None,
    filtered_cursor: Cursor = None,
    unfiltered_cursor: Cursor = None,
) -> WorkflowResults:
    """List the results of a run so far."""
    _parse_cursor(filtered_cursor)
    after = _parse_cursor(unfiltered_cursor)
    reader = _READERS[result_level]
    found = await context.database.read(reader, run_id, video_id or None, after, limit + 1)
    page = None if view == "filtered" else _to_page(found, result_level, limit)
    if page is not None:
        page = await show_thumbnails(request, page)
    return WorkflowResults(
        run_id=run_id,
        status=found.run.status,
        result_level=result_level,
        selection_summary=SelectionSummary(),
        filtered=None,
        unfiltered=page,
    )


def _to_page(found: Results, level: str, limit: int) -> Page[SegmentRunResult] | Page[PromptRunVideoResult]:
    if level == "video":
        return to_page(
            found.results, limit, lambda result: to_video_result(found.run, result.item), _to_cursor
        )
    return to_page(found.results, limit, lambda result: _to_segment(found.run, result), _to_cursor)


def _to_segment(run: Run, result: Result) -> SegmentRunResult:
    assert result.segment is not None  # noqa: S101  # only whole items are listed without one
    return to_segment_result(run, result.item, result.segment, result.said)


def _to_cursor(result: Result) -> str:
    return json.dumps(result.place)


def _parse_cursor(cursor: str | None) -> ResultPosition | None:
    """Return the position in a cursor; raises ApiError (400)."""
    text = decode_cursor(cursor)
    if text is None:
        return None
    try:
        media_id, ordinal = json.loads(text)
        media_id.encode()  # JSON may hold a lone surrogate
    except (ValueError, TypeError, AttributeError, RecursionError):
        media_id, ordinal = "", None
    if type(ordinal) is not int or not -1 <= ordinal <= 2**53:
        raise ApiError(400, "invalid_cursor", "the cursor belongs to another list", "start without a cursor")
    return ResultPosition(media_id, ordinal)
