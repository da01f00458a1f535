"""Start, estimate and cancel prompt runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import Request, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.wire import Body, Resource
from vvwatch.api.routes.prompt_runs import MT_PER_USD, PromptRun, to_response
from vvwatch.api.routes.run_options import Id, PromptId, RunOptions, check_options, processor_of, to_prompt
from vvwatch.core import budgets
from vvwatch.core.budgets import Payer
from vvwatch.core.keys import Scope
from vvwatch.core.media import RunSettings, with_lengths
from vvwatch.core.money import Forecast, Workload, sum_forecasts
from vvwatch.core.segments import segments_between
from vvwatch.errors import Conflict
from vvwatch.ports import Priority
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.runs import course, runs, spending, target_queries
from vvwatch.store.runs import run_queries as queries
from vvwatch.store.runs.target_queries import Target

router = resource_router("prompt runs")

_MAX_VIDEOS: Final = 10_000
_OPTIONS: Final = set(RunOptions.model_fields)

VideoIds = Annotated[list[Id], Field(min_length=1, max_length=_MAX_VIDEOS)]


class RunTarget(Body):
    """What to run over: an index, some media (of an index, if given), or the playground."""

    type: Literal["index", "videos", "playground"]
    index_id: Id | None = None
    video_ids: VideoIds | None = None

    @model_validator(mode="after")
    def _names_it(self) -> RunTarget:
        if self.type == "index" and self.index_id is None:
            raise PydanticCustomError("target", "index_id is required if type is index")
        if (self.type == "videos") != (self.video_ids is not None):
            raise PydanticCustomError("target", "video_ids are required if type is videos, and only then")
        return self

    def found(self, tx: Tx) -> Target:
        """Return the media; raises NotFound, or InvalidInput if there are none."""
        if self.video_ids is not None:
            return target_queries.resolve_videos(tx, self.video_ids, self.index_id)
        if self.type == "index" and self.index_id is not None:
            return target_queries.resolve_index(tx, self.index_id)
        return target_queries.resolve_playground(tx)


class RunBody(RunOptions):
    """A new run. Missing options come from the prompt's `execution_config`."""

    prompt_id: PromptId
    target: RunTarget


class EstimatedMedia(Resource):
    """Media of one type: their number, duration and segments, and the calls that these take.

    Calls, tokens and US dollars are maximums; `usd` is null if a price is unknown, which is not zero.
    """

    items: int
    seconds: float
    segments_at_least: int
    segments_at_most: int
    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None


class EstimateBreakdown(EstimatedMedia):
    """The work of a run, in total and by media type."""

    by_media_type: dict[str, EstimatedMedia]


class PromptRunCostEstimate(Resource):
    """The maximum cost of a run, in thousandths of a US dollar, and what its budgets have left.

    `estimated_mt` is 0 if a price is unknown (`breakdown.usd` is null), `current_balance_mt` if nothing limits the run.
    A run that exceeds a budget waits when it reaches it: `shortages` names each.
    """

    estimated_mt: float
    breakdown: EstimateBreakdown
    sufficient_balance: bool
    current_balance_mt: float
    processor: str
    shortages: list[str]


def start_run(
    tx: Tx, context: ApiContext, prompt_id: str, options: RunOptions, target: Target, **further: Any
) -> PromptRun:
    """Start a run of the prompt over the target; `further` goes to `runs.start`.

    Raises NotFound, InvalidInput for options or a prompt that the processor cannot run, Conflict for a deactivated
    prompt.
    """
    run_id = runs.start_run(
        tx,
        index_id=target.index_id,
        prompt_id=prompt_id,
        settings=settle_options(tx, context, prompt_id, options),
        media_ids=target.media_ids,
        priority=Priority.MANUAL,
        context=target.context,
        **further,
    )
    return to_response(queries.get_view(tx, run_id))


def report_requested(context: ApiContext, run_id: str, prompt_id: str, by: str) -> None:
    """Log who requested the run; runs that follow an import are logged with it."""
    context.telemetry.emit("run.requested", run=run_id, prompt=prompt_id, requested_by=by)


def settle_options(tx: Tx, context: ApiContext, prompt_id: str, options: RunOptions) -> dict[str, Any]:
    """Return all options of a run: sent ones, then the prompt's, then defaults. Raises like `start_run`."""
    prompt = catalog.get_prompt(tx, prompt_id)
    if not prompt.is_active:
        raise Conflict(f"prompt {prompt_id!r} is deactivated", "GET /prompts lists active prompts")
    sent = options.model_dump(include=_OPTIONS, exclude_unset=True)
    settings = RunOptions().model_dump() | (prompt.execution_config or {}) | sent
    check_options(settings)
    processor_of(context, settings["processing_model"], prompt_id).check_prompt(to_prompt(prompt))
    return with_lengths(settings)


@router.post("/prompt-runs/execute", status_code=202, response_model=PromptRun, **require(Scope.WRITE))
async def execute_prompt(context: Context, once: Idempotent, request: Request, body: RunBody) -> Response:
    """Run a prompt over imported media. With many media, it starts while the rest are still being added."""
    by = request.state.key_id

    def effect(tx: Tx) -> PromptRun:
        return start_run(tx, context, body.prompt_id, body, body.target.found(tx), executed_by=by)

    return await once(effect, lambda run: report_requested(context, run.run_id, body.prompt_id, by))


@router.post("/prompt-runs/estimate", **require(Scope.READ, errors=("conflict",)))
async def estimate_prompt_run(context: Context, body: RunBody) -> PromptRunCostEstimate:
    """Estimate the work and the cost of a run without starting it."""
    return await context.database.read(_estimate, context, body)


def _estimate(tx: Tx, context: ApiContext, body: RunBody) -> PromptRunCostEstimate:
    settings = RunSettings(**settle_options(tx, context, body.prompt_id, body))
    processor = processor_of(context, settings.processing_model, body.prompt_id)
    prompt = to_prompt(catalog.get_prompt(tx, body.prompt_id))
    parts = {}
    for amount in target_queries.count_amounts(tx, body.target.found(tx)):
        least, most = segments_between(amount, settings)
        work = Workload(amount.media_type, amount.count, amount.seconds, least, most)
        parts[amount.media_type] = work, processor.forecast(work, prompt, settings)
    return _check_budgets(tx, context, processor.info.name, parts)


def _check_budgets(
    tx: Tx, context: ApiContext, processor: str, parts: Mapping[str, tuple[Workload, Forecast]]
) -> PromptRunCostEstimate:
    """Compare the work with the budgets."""
    forecast = sum_forecasts(each for _, each in parts.values())
    breakdown = EstimateBreakdown(
        **_sum_up([work for work, _ in parts.values()], forecast),
        by_media_type={kind: EstimatedMedia(**_sum_up([work], each)) for kind, (work, each) in parts.items()},
    )
    spent = spending.read_spent(tx, budgets.list_scopes(Payer("", 0, processor), tx.now))
    known = context.budgets, processor, tx.now, spent
    missing = budgets.list_exceeded(*known, forecast, breakdown.items)
    return PromptRunCostEstimate(
        estimated_mt=(forecast.cost_usd or 0.0) * MT_PER_USD,
        breakdown=breakdown,
        sufficient_balance=not missing,
        current_balance_mt=(budgets.left_usd(*known) or 0.0) * MT_PER_USD,
        processor=processor,
        shortages=missing,
    )


def _sum_up(works: Sequence[Workload], forecast: Forecast) -> dict[str, Any]:
    return {
        "items": sum(work.items for work in works),
        "seconds": sum(work.seconds for work in works),
        "segments_at_least": sum(work.segments_at_least for work in works),
        "segments_at_most": sum(work.segments_at_most for work in works),
        "calls": forecast.calls,
        "input_tokens": forecast.input_tokens,
        "output_tokens": forecast.output_tokens,
        "usd": forecast.cost_usd,
    }


@router.post("/prompt-runs/{run_id}/cancel", response_model=PromptRun, **require(Scope.WRITE))
async def cancel_prompt_run(context: Context, once: Idempotent, request: Request, run_id: str) -> Response:
    """Cancel a run: running work finishes, nothing new starts. A run that has ended stays unchanged.

    It is `cancelled` when the last item has ended; until then `stop_state` shows the request. Its index's automation
    exports nothing of it.
    """
    before: list[str] = []

    def effect(tx: Tx) -> PromptRun:
        before[:] = [queries.get(tx, run_id).status]
        course.cancel(tx, run_id, request.state.key_id)
        return to_response(queries.get_view(tx, run_id))

    def tell(run: PromptRun) -> None:
        if run.status not in before:
            context.telemetry.emit("run.finished", run=run_id, status=run.status)

    return await once(effect, tell)
