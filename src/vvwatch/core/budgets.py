"""Budgets: which scopes count money, how much each allows, and whether one more call fits.

Money is counted in whole billionths of a US dollar, so sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from vvwatch.core.money import Forecast
from vvwatch.errors import BudgetHeld, BudgetReached, ItemBudgetReached

_NANOS: Final = 1_000_000_000
_DAY_SECONDS: Final = 86_400
_CALLS: Final = "per_day_calls"


def to_nanos(usd: float | None) -> int | None:
    """Return US dollars as billionths; None stays None."""
    return None if usd is None else round(usd * _NANOS)


def to_usd(nanos: int) -> float:
    """Return billionths as US dollars."""
    return nanos / _NANOS


@dataclass(frozen=True, slots=True)
class Budget:
    """The most to spend, in US dollars and calls; None: no limit."""

    per_item_usd: float | None = None
    per_run_usd: float | None = None
    per_day_usd: float | None = None
    per_month_usd: float | None = None
    per_day_calls: int | None = None

    @property
    def limits_money(self) -> bool:
        """Whether any limit is in US dollars, so that every call must have a price."""
        return any(
            each is not None
            for each in (self.per_item_usd, self.per_run_usd, self.per_day_usd, self.per_month_usd)
        )


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budget over all processors, and those of single ones."""

    overall: Budget = Budget()
    by_processor: Mapping[str, Budget] = field(default_factory=dict)

    def of(self, processor: str) -> tuple[tuple[str, str, Budget], ...]:
        """Return the budgets of a processor: whose spending each limits (empty: all), its table, and itself."""
        own = self.by_processor.get(processor, Budget())
        return ("", "[processing.budget]", self.overall), (
            processor,
            f"[processors.{processor}.budget]",
            own,
        )

    def limit_money(self, processor: str) -> bool:
        """Whether calls of this processor must have a price."""
        return any(budget.limits_money for *_, budget in self.of(processor))


NO_BUDGETS: Final = Budgets()


@dataclass(frozen=True, slots=True)
class Payer:
    """The run and item that a call is made for."""

    run_id: str
    item_id: int
    processor: str


def run_scope(run_id: str) -> str:
    """Return the name under which the spending of a run is counted."""
    return f"run:{run_id}"


def item_scope(item_id: int) -> str:
    """Return the name under which the spending of an item of a run is counted."""
    return f"item:{item_id}"


def day_scope(at: float, processor: str = "") -> str:
    """Return the name of a UTC day, of all processors or of one."""
    return f"day:{_format_date(at // _DAY_SECONDS)}" + (f":{processor}" if processor else "")


def month_scope(at: float, processor: str = "") -> str:
    """Return the name of a UTC month, of all processors or of one."""
    return f"month:{_format_date(at // _DAY_SECONDS)[:7]}" + (f":{processor}" if processor else "")


@lru_cache(maxsize=100)
def _format_date(day: float) -> str:
    return _to_utc(day * _DAY_SECONDS).strftime("%Y-%m-%d")


def list_scopes(payer: Payer, at: float) -> tuple[str, ...]:
    """Return every scope that counts a call begun at this moment."""
    own = payer.processor
    periods = day_scope(at), day_scope(at, own), month_scope(at), month_scope(at, own)
    return (item_scope(payer.item_id), run_scope(payer.run_id), *periods)


def _to_utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def day_ends_at(at: float) -> float:
    """Return when the UTC day of this moment ends, in epoch seconds."""
    return (_to_utc(at).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)).timestamp()


def month_ends_at(at: float) -> float:
    """Return when the UTC month of this moment ends, in epoch seconds."""
    first = _to_utc(at).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1).timestamp()


@dataclass(slots=True)
class Spent:
    """The use of a scope: calls begun, billionths spent, and billionths reserved for calls in flight."""

    calls: int = 0
    cost: int = 0
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class _Limit:
    scope: str
    option: str
    table: str
    per: str
    most: float
    until: float | None


def _list_limits(budgets: Budgets, payer: Payer, at: float) -> Iterator[_Limit]:
    for own, table, budget in budgets.of(payer.processor):
        day, month = (day_scope(at, own), day_ends_at(at)), (month_scope(at, own), month_ends_at(at))
        for option, per, (scope, until), most in (
            ("per_item_usd", "item", (item_scope(payer.item_id), None), budget.per_item_usd),
            ("per_run_usd", "run", (run_scope(payer.run_id), None), budget.per_run_usd),
            ("per_day_usd", "day", day, budget.per_day_usd),
            ("per_month_usd", "month", month, budget.per_month_usd),
            (_CALLS, "day", day, budget.per_day_calls),
        ):
            if most is not None:
                yield _Limit(scope, option, table, per, most, until)


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget in force: its configuration key, its limit, and its use.

    `used` is None where each item or run has its own. `until` is when its period ends.
    """

    table: str
    option: str
    most: float
    used: float | None
    until: float | None


def period_scopes(processor: str, at: float) -> tuple[str, ...]:
    """Return the day and month scopes that the budgets of a processor limit."""
    return day_scope(at), day_scope(at, processor), month_scope(at), month_scope(at, processor)


def budget_states(
    budgets: Budgets, processor: str, at: float, spent: Mapping[str, Spent]
) -> list[BudgetState]:
    """Return the state of a processor's budgets; `spent` may omit unused scopes."""
    found = []
    for limit in _list_limits(budgets, Payer("", 0, processor), at):
        used = None
        if limit.until is not None:
            so_far = spent.get(limit.scope, Spent())
            is_calls = limit.option == "per_day_calls"
            used = float(so_far.calls) if is_calls else to_usd(so_far.cost + so_far.reserved)
        found.append(BudgetState(limit.table, limit.option, limit.most, used, limit.until))
    return found


def find_refusal(
    budgets: Budgets, payer: Payer, at: float, spent: Mapping[str, Spent], estimate_usd: float | None
) -> BudgetReached | BudgetHeld | None:
    """Return why a call that costs at most `estimate_usd` may not begin now; None when it fits every budget.

    `spent` holds each scope of the payer. A call of unknown price fits no budget in US dollars. Calls in flight count
    with their highest cost, so a call that only they exclude may fit once they end.
    """
    if estimate_usd is None and budgets.limit_money(payer.processor):
        return _price_unknown(payer.processor)
    held, needed = None, to_nanos(estimate_usd) or 0
    for limit in _list_limits(budgets, payer, at):
        found = spent[limit.scope]
        if limit.option == _CALLS:
            if found.calls + 1 > limit.most:
                return _calls_exhausted(limit)
        elif found.cost + needed > (to_nanos(limit.most) or 0):
            return _limit_reached(limit, found, estimate_usd or 0.0)
        elif found.cost + found.reserved + needed > (to_nanos(limit.most) or 0):
            held = held or _all_held(limit, found, estimate_usd or 0.0)
    return held


_HELD_SECONDS: Final = 5.0  # calls end within seconds; more of them may have begun by then


def _price_unknown(processor: str) -> BudgetReached:
    return BudgetReached(
        f"a budget in US dollars is in force, and nobody knows what the model of processor {processor!r} costs",
        f"write its price into [processors.{processor}.prices], 0 if it costs nothing, and restart",
    )


def _calls_exhausted(limit: _Limit) -> BudgetReached:
    return BudgetReached(
        f"the budget of {limit.most:,} calls a day is used up ({limit.table} {limit.option})",
        f"wait for the next day (UTC), or raise {limit.option} in {limit.table}",
        limit.until,
    )


def _limit_reached(limit: _Limit, found: Spent, estimate: float) -> BudgetReached:
    used = f"{to_usd(found.cost):.4f} spent"
    wait = "" if limit.until is None else f"wait for the next {limit.per} (UTC), or "
    error = ItemBudgetReached if limit.per == "item" else BudgetReached
    return error(
        f"the budget of {limit.most:g} US dollars per {limit.per} is reached: {used}, and the next call may cost "
        f"{estimate:.4f} ({limit.table} {limit.option})",
        f"{wait}raise {limit.option} in {limit.table}",
        limit.until,
    )


def _all_held(limit: _Limit, found: Spent, estimate: float) -> BudgetHeld:
    return BudgetHeld(
        f"what is left of the budget of {limit.most:g} US dollars per {limit.per} is held for calls under way: "
        f"{to_usd(found.cost):.4f} spent, {to_usd(found.reserved):.4f} held, and the next call may cost {estimate:.4f} "
        f"({limit.table} {limit.option})",
        f"it resumes automatically when they have ended; a higher {limit.option}, or a lower max_output_tokens of the "
        "processor, lets more calls be made at once",
        _HELD_SECONDS,
    )


def list_exceeded(
    budgets: Budgets, processor: str, at: float, spent: Mapping[str, Spent], forecast: Forecast, items: int
) -> list[str]:
    """Return sentences on the budgets that a run of `items` items would reach; empty when it fits.

    A run that reaches a budget waits; it is not refused. `spent` holds the scopes of the day and the month.
    """
    if forecast.cost_usd is None and forecast.calls and budgets.limit_money(processor):
        return [_price_unknown(processor).message]
    found = []
    for limit in _list_limits(budgets, Payer("", 0, processor), at):
        used = spent.get(limit.scope, Spent())
        needs = _forecast_need(limit, forecast, items)
        left = limit.most - (used.calls if limit.option == _CALLS else to_usd(used.cost + used.reserved))
        if needs > left:
            what = f"{limit.option} in {limit.table} is {limit.most:g}"
            found.append(f"{what}: {max(left, 0.0):g} is left, and {needs:g} may be needed")
    return found


def _forecast_need(limit: _Limit, forecast: Forecast, items: int) -> float:
    if limit.option == _CALLS:
        return forecast.calls
    cost = forecast.cost_usd or 0.0
    return cost / max(items, 1) if limit.per == "item" else cost


def left_usd(budgets: Budgets, processor: str, at: float, spent: Mapping[str, Spent]) -> float | None:
    """Return how many US dollars one run may still cost; None without a limit."""
    left = []
    for limit in _list_limits(budgets, Payer("", 0, processor), at):
        if limit.option != _CALLS and limit.per != "item":
            used = spent.get(limit.scope, Spent())
            left.append(limit.most - to_usd(used.cost + used.reserved))
    return max(min(left), 0.0) if left else None
