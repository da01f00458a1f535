from __future__ import annotations

import pytest

from vvwatch.core.rate_limits import Limits, Meter, Used

HOUR = 1_790_002_800  # a full hour


def test_no_limit_is_no_limit() -> None:
    assert Limits.of(None, None) is None


@pytest.mark.parametrize(
    ("per_minute", "per_hour", "expected"),
    [(10, None, Limits(10, 600)), (None, 50, Limits(50, 50)), (10, 50, Limits(10, 50))],
)
def test_one_limit_implies_the_other(per_minute: int | None, per_hour: int | None, expected: Limits) -> None:
    assert Limits.of(per_minute, per_hour) == expected


def test_a_minute_holds_so_many_and_the_next_one_as_many_again() -> None:
    meter = Meter(Limits(2, 100))
    assert [meter.take("a", HOUR + 10.5) for _ in range(4)] == [0, 0, 50, 50]
    assert meter.take("a", HOUR + 59.9) == 1
    assert meter.take("a", HOUR + 60) == 0
    assert meter.find_use("a", HOUR + 60) == Used(HOUR + 60, in_minute=1, in_hour=3)


def test_an_hour_holds_so_many() -> None:
    meter = Meter(Limits(2, 3))
    assert [meter.take("a", HOUR + 60 * minute) for minute in range(4)] == [0, 0, 0, 3420]
    assert meter.find_use("a", HOUR + 180).reset_at(meter.limits) == HOUR + 3600
    assert meter.take("a", HOUR + 3600) == 0


def test_each_key_has_its_own() -> None:
    meter = Meter(Limits(1, 1))
    assert (meter.take("a", HOUR), meter.take("b", HOUR)) == (0, 0)
    assert meter.take("a", HOUR) == 3600


def test_a_refused_request_costs_nothing() -> None:
    meter = Meter(Limits(1, 2))
    for _ in range(10):
        meter.take("a", HOUR)
    assert meter.find_use("a", HOUR).in_hour == 1
    assert meter.take("a", HOUR + 60) == 0


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    meter = Meter(Limits(1, 1))
    assert meter.take("a", HOUR + 7200) == 0
    assert meter.take("a", HOUR) == 0


def test_what_was_never_used_resets_with_the_minute() -> None:
    meter = Meter(Limits(5, 50))
    assert meter.find_use("a", HOUR + 61).reset_at(meter.limits) == HOUR + 120
