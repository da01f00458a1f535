"""Where money is counted, when its periods end, and what a budget leaves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vvwatch.core import budgets
from vvwatch.core.budgets import Budget, Budgets, Payer, Spent
from vvwatch.core.money import Forecast, sum_forecasts
from vvwatch.errors import BudgetHeld, BudgetReached, ItemBudgetReached

PAYER = Payer("run_1", 7, "gpt")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "day_ends", "month_ends"),
    [
        ("2026-11-30T23:59:59.999", "2026-12-01", "2026-12-01"),
        ("2026-12-01T00:00:00", "2026-12-02", "2027-01-01"),
        ("2024-02-28T12:00:00", "2024-02-29", "2024-03-01"),
        ("2026-12-31T00:00:01", "2027-01-01", "2027-01-01"),
    ],
)
def test_days_and_months_are_those_of_the_calendar(now: str, day_ends: str, month_ends: str) -> None:
    assert budgets.day_ends_at(at(now)) == at(day_ends)
    assert budgets.month_ends_at(at(now)) == at(month_ends)


def test_a_call_is_counted_in_its_item_run_day_and_month() -> None:
    assert budgets.list_scopes(PAYER, at("2026-11-30T23:59:59")) == (
        "item:7",
        "run:run_1",
        "day:2026-11-30",
        "day:2026-11-30:gpt",
        "month:2026-11",
        "month:2026-11:gpt",
    )


@pytest.mark.parametrize(
    ("spent", "estimate", "fits"),
    [
        (Spent(0, 0, 0), 1.0, True),
        (Spent(0, 0, 1), 1.0, False),
        (Spent(0, 500_000_000, 400_000_000), 0.1, True),
        (Spent(0, 500_000_000, 400_000_001), 0.1, False),
        (Spent(0, 1_000_000_000, 0), 0.0, True),
        (Spent(0, 1_000_000_001, 0), 0.0, False),
    ],
)
def test_a_call_fits_to_the_last_billionth(spent: Spent, estimate: float, fits: bool) -> None:
    now = at("2026-11-30")
    found = dict.fromkeys(budgets.list_scopes(PAYER, now), Spent()) | {"day:2026-11-30": spent}
    refused = budgets.find_refusal(Budgets(Budget(per_day_usd=1.0)), PAYER, now, found, estimate)
    assert (refused is None) is fits
    if isinstance(refused, BudgetReached):
        assert refused.until == at("2026-12-01")


@pytest.mark.parametrize(
    ("of_item", "of_day", "said"),
    [
        (Spent(1, 0, 950_000_000), Spent(), BudgetHeld),
        (Spent(1, 950_000_000, 0), Spent(), ItemBudgetReached),
        (Spent(1, 0, 950_000_000), Spent(1, 950_000_000, 0), BudgetReached),
        (Spent(1, 500_000_000, 300_000_000), Spent(1, 500_000_000, 300_000_000), None),
    ],
)
def test_what_is_only_held_is_no_budget_that_is_used_up(
    of_item: Spent, of_day: Spent, said: type[Exception] | None
) -> None:
    """A call that may cost a dime costs a penny: a day must not end because many are under way."""
    now = at("2026-11-30")
    found = dict.fromkeys(budgets.list_scopes(PAYER, now), Spent())
    found |= {"item:7": of_item, "day:2026-11-30": of_day}
    limits = Budgets(Budget(per_item_usd=1.0, per_day_usd=1.0))
    refused = budgets.find_refusal(limits, PAYER, now, found, 0.1)
    assert (None if refused is None else type(refused)) is said


def test_ten_calls_of_a_tenth_of_a_cent_are_a_cent() -> None:
    """Floating-point dollars would not add up."""
    assert sum(budgets.to_nanos(0.001) or 0 for _ in range(10)) == budgets.to_nanos(0.01)


def test_the_tightest_budget_says_what_is_left() -> None:
    now, both = at("2026-11-30"), Budgets(Budget(per_month_usd=5.0), {"gpt": Budget(per_day_usd=2.0)})
    spent = {"day:2026-11-30:gpt": Spent(1, 500_000_000, 250_000_000)}
    assert budgets.left_usd(both, "gpt", now, spent) == pytest.approx(1.25)
    assert budgets.left_usd(both, "ocr", now, spent) == 5.0
    assert budgets.left_usd(Budgets(), "gpt", now, spent) is None


def test_a_sum_with_an_unknown_price_is_unknown() -> None:
    assert sum_forecasts([Forecast(1, 10, 1, 0.5), Forecast(2, 20, 2, None)]) == Forecast(3, 30, 3, None)
    assert sum_forecasts([]) == Forecast()
