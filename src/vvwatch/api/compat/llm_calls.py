"""List the model calls of a run, with their usage and known cost."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from pydantic import Field

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import Resource
from vvwatch.core.budgets import to_usd
from vvwatch.core.identities import segment_id
from vvwatch.core.keys import Scope
from vvwatch.store.models.runs import LlmCall as StoredCall
from vvwatch.store.models.runs import Run
from vvwatch.store.runs import result_queries

router = resource_router("prompt runs")


class LlmCall(Resource):
    """A model call. If `segment_id` is null, it covered the whole media item.

    `status` is `started`, `completed` or `failed`; `attempts` counts retries. Prompts and answers are not kept.
    """

    llm_call_id: str
    prompt_run_id: str
    prompt_id: str
    video_id: str | None
    segment_id: str | None
    user_id: str
    processor: str
    model: str
    purpose: str
    status: str
    attempts: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost_usd: Annotated[float | None, Field(description="null if the price is unknown, which is not zero")]
    video_seconds: float
    segment_start_time: float | None
    segment_end_time: float | None
    invoked_at: str | None
    completed_at: str | None
    duration_ms: int | None
    error_message: str | None


@router.get("/prompt-runs/{run_id}/llm-calls", **require(Scope.READ))
async def list_llm_calls(
    context: Context,
    request: Request,
    response: Response,
    run_id: str,
    limit: Annotated[int, Query(ge=1, le=10_000, description="maximum number of calls")] = 10_000,
    after: Annotated[
        str | None, Query(max_length=100, description="continue after this `llm_call_id`")
    ] = None,
) -> list[LlmCall]:
    """List the model calls of a run in the order in which they began. They are deleted with the run's results.

    If there are more, the `Link` header has the URL of the next page.
    """
    run, rows = await context.database.read(result_queries.list_calls, run_id, after, limit + 1)
    if len(rows) > limit:
        query = urlencode({"limit": limit, "after": rows[limit - 1].id})
        response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return [_to_response(run, row) for row in rows[:limit]]


def _to_response(run: Run, row: StoredCall) -> LlmCall:
    begun, ended = row.invoked_at, row.completed_at
    start, end = row.start_time, row.end_time
    return LlmCall.of(
        row,
        llm_call_id=row.id,
        prompt_run_id=row.run_id,
        prompt_id=run.prompt_id,
        video_id=row.media_id,
        segment_id=None if row.ordinal < 0 else segment_id(row.run_item_id, row.ordinal),
        user_id=run.executed_by,
        total_tokens=row.input_tokens + row.output_tokens,
        cost_usd=None if row.cost_nanousd is None else to_usd(row.cost_nanousd),
        video_seconds=0.0 if start is None or end is None else max(end - start, 0.0),
        segment_start_time=start,
        segment_end_time=end,
        duration_ms=None if ended is None or begun is None else max(round((ended - begun) * 1000), 0),
        error_message=row.error,
    )
