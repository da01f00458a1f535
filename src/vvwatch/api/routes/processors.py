"""Processors: state, today's usage and budgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from fastapi import Path

from vvwatch.api.http.auditing import Audited
from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.core import budgets
from vvwatch.core.budgets import BudgetState
from vvwatch.core.keys import Scope
from vvwatch.core.processors import SPEECH_ENDPOINT, ProcessorInfo
from vvwatch.errors import NotFound
from vvwatch.store.runs import processor_states as queries
from vvwatch.store.runs.processor_states import Figures
from vvwatch.workflow.pipeline.pauses import Pauses
from vvwatch.workflow.upkeep.findings import pause_remedy

router = resource_router("processors")


class ProcessorDay(Resource):
    """Usage since the day began (UTC). `unpriced_calls` have no known price; the cost is then a minimum."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced_calls: int


class ProcessorBudget(Resource):
    """An active budget: its `table` and `option` in the configuration, and its limit `most` in cost or calls.

    `used` and `left` are null if each item or run has its own; reservations of running calls count as used. It resets
    at `until`.
    """

    table: str
    option: str
    most: float
    used: float | None
    left: float | None
    until: str | None


class Processor(Resource):
    """A processor, `active` or `paused`: since when, until when (null: until it is fixed), why, and the fix.

    Its id is its name in the configuration. `models` are globs for the `processing_model` values that it accepts.
    """

    processor_id: str
    name: str
    type: str
    models: Sequence[str]
    state: str
    paused_at: str | None
    until: str | None
    reason: str | None
    fix: str | None
    calls_in_flight: int
    today: ProcessorDay
    budgets: Sequence[ProcessorBudget]


@router.get("/processors", **extension("List the processors", Scope.READ))
async def list_processors(context: Context) -> list[Processor]:
    """List all processors in the order of the configuration, with their state and usage.

    The endpoint that transcribes is the last of them, where there is one.
    """
    return await _list_processors(context, _find_infos(context).values())


@router.post("/processors/{processor_id}/resume", **extension("Resume a paused processor", Scope.WRITE))
async def resume_processor(
    context: Context,
    audited: Audited,
    processor_id: Annotated[str, Path(description="its name in the configuration")],
) -> Processor:
    """Resume a paused processor. Waiting work is due at once; a processor that is not paused stays unchanged."""
    infos = _find_infos(context)
    info = infos.get(processor_id)
    if info is None:
        known = ", ".join(infos)
        raise NotFound("processor", processor_id, f"available: {known}")
    await Pauses(context.database, context.telemetry, {}).resume(processor_id, audited.write)
    [shown] = await _list_processors(context, [info])
    return shown


def _find_infos(context: ApiContext) -> dict[str, ProcessorInfo]:
    """Return the processors, and the endpoint that transcribes for all of them."""
    found = dict(context.database.processors.infos)
    if SPEECH_ENDPOINT in context.dependencies:
        found[SPEECH_ENDPOINT] = ProcessorInfo(SPEECH_ENDPOINT, "transcription")
    return found


async def _list_processors(context: ApiContext, infos: Iterable[ProcessorInfo]) -> list[Processor]:
    infos, now = list(infos), context.clock.now()
    scopes = {scope for info in infos for scope in budgets.period_scopes(info.name, now)}
    found = await context.database.read(queries.read_figures, [info.name for info in infos], scopes)
    return [_to_response(context, info, found, now) for info in infos]


def _to_response(context: ApiContext, info: ProcessorInfo, found: Figures, now: float) -> Processor:
    pause, today = found.paused.get(info.name), found.today.get(info.name)
    in_flight = {**context.calls_in_flight(), **found.in_flight}
    spent = {
        scope: budgets.Spent(row.calls, row.cost_nanousd, row.reserved_nanousd)
        for scope, row in found.spent.items()
    }
    return Processor(
        processor_id=info.name,
        name=info.name,
        type=info.type,
        models=info.models,
        state="active" if pause is None else "paused",
        paused_at=None if pause is None else to_iso(pause.paused_at),
        until=None if pause is None else to_iso(pause.until),
        reason=None if pause is None else pause.message,
        fix=None if pause is None else pause_remedy(pause),
        calls_in_flight=in_flight.get(info.name, 0),
        today=ProcessorDay(
            calls=0 if today is None else today.calls,
            input_tokens=0 if today is None else today.input_tokens,
            output_tokens=0 if today is None else today.output_tokens,
            cost_usd=0.0 if today is None else budgets.to_usd(today.cost_nanousd),
            unpriced_calls=0 if today is None else today.unpriced_calls,
        ),
        budgets=[_to_budget(each) for each in budgets.budget_states(context.budgets, info.name, now, spent)],
    )


def _to_budget(found: BudgetState) -> ProcessorBudget:
    left = None if found.used is None else max(found.most - found.used, 0.0)
    return ProcessorBudget.of(found, left=left, until=to_iso(found.until))
