from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.windows import (
    CloseReason,
    WindowPolicy,
    clamp_to_now,
    close_reason,
    default_max_wait,
    due_at,
)

POLICY = WindowPolicy(quiet_seconds=300, max_wait_seconds=1_800, max_objects=10)


@dataclass
class Fired:
    reason: CloseReason
    at: float
    opened_at: float
    last_change_at: float


def fire(policy: WindowPolicy, arrivals: list[float]) -> Fired:
    """The window that `arrivals` open, closed as a daemon closes it that wakes exactly when it is due."""
    opened_at = last_change_at = arrivals[0]
    for count, arrival in enumerate([*arrivals[1:], float("inf")], start=1):
        due = due_at(policy, opened_at, last_change_at, count)
        if arrival > due:
            break
        last_change_at = arrival
    reason = close_reason(
        policy, opened_at=opened_at, last_change_at=last_change_at, object_count=count, now=due
    )
    assert reason is not None
    return Fired(reason, due, opened_at, last_change_at)


def decide(opened_at: float, last_change_at: float, now: float, count: int = 1) -> CloseReason | None:
    return close_reason(
        POLICY, opened_at=opened_at, last_change_at=last_change_at, object_count=count, now=now
    )


@pytest.mark.parametrize(
    ("opened_at", "last_change_at", "count", "now", "expected"),
    [
        (0, 0, 1, 299.9, None),
        (0, 0, 1, 300, CloseReason.QUIET),
        (0, 1_400, 9, 1_699.9, None),
        (0, 1_400, 9, 1_700, CloseReason.QUIET),
        (0, 1_500, 9, 1_800, CloseReason.QUIET),
        (0, 1_700, 9, 1_799.9, None),
        (0, 1_700, 9, 1_800, CloseReason.MAX_WAIT),
        (0, 5, 10, 5, CloseReason.FULL),
        (0, 5, 11, 5, CloseReason.FULL),
        (0, 0, 1, 1e9, CloseReason.QUIET),
    ],
)
def test_a_window_closes_for_a_reason_or_stays_open(
    opened_at: float, last_change_at: float, count: int, now: float, expected: CloseReason | None
) -> None:
    assert decide(opened_at, last_change_at, now, count) is expected


def test_constant_arrivals_fires() -> None:
    fired = fire(WindowPolicy(300, 1_800, 1_000_000), [at * 10.0 for at in range(10_000)])
    assert fired.reason is CloseReason.MAX_WAIT
    assert fired.at == 1_800


def test_clock_jump() -> None:
    opened_at, last_change_at = clamp_to_now(1_000_000.0, 1_000_100.0, now=5_000.0)
    assert due_at(POLICY, opened_at, last_change_at, 1) <= 5_000.0 + POLICY.max_wait_seconds
    assert clamp_to_now(1_000.0, 1_100.0, now=5_000.0) == (1_000.0, 1_100.0)
    assert decide(1_000.0, 1_100.0, now=1e9) is CloseReason.QUIET


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_clock_that_went_back_delays_a_window_by_its_ceiling_at_most(
    opened_at: float, last_change_at: float, now: float
) -> None:
    sound = clamp_to_now(opened_at, last_change_at, now)
    assert due_at(POLICY, *sound, 1) <= now + min(POLICY.max_wait_seconds, POLICY.quiet_seconds)
    assert decide(*sound, now=now + POLICY.max_wait_seconds) is not None


GAPS = st.lists(st.floats(0, 400), min_size=1, max_size=40)
POLICIES = st.builds(
    lambda quiet, factor, most: WindowPolicy(quiet, quiet * factor, most),
    st.floats(1, 300),
    st.floats(1, 8),
    st.integers(1, 30),
)


@given(POLICIES, GAPS)
def test_a_window_closes_after_quiet_and_never_after_its_ceiling(
    policy: WindowPolicy, gaps: list[float]
) -> None:
    fired = fire(policy, [sum(gaps[: end + 1]) for end in range(len(gaps))])
    assert fired.at <= fired.opened_at + policy.max_wait_seconds
    if fired.reason is CloseReason.QUIET:
        assert fired.at == fired.last_change_at + policy.quiet_seconds
    else:
        assert fired.reason in {CloseReason.MAX_WAIT, CloseReason.FULL}
        assert fired.last_change_at <= fired.at <= fired.last_change_at + policy.quiet_seconds


@given(POLICIES, st.floats(0, 1e6), st.floats(0, 1e4), st.integers(1, 40), st.floats(0, 2e6))
def test_due_and_closing_agree(
    policy: WindowPolicy, opened_at: float, spread: float, count: int, now: float
) -> None:
    last_change_at = opened_at + spread
    reason = close_reason(
        policy, opened_at=opened_at, last_change_at=last_change_at, object_count=count, now=now
    )
    due = due_at(policy, opened_at, last_change_at, count)
    assert (reason is not None) == (now >= due or count >= policy.max_objects)


@pytest.mark.parametrize(
    ("quiet", "ceiling"),
    [(300, 1_800), (600, 3_600), (3_600, 21_600), (86_400, 86_400), (3, 18), (172_800, 172_800)],
)
def test_the_usual_ceiling_is_six_quiet_periods_but_a_day(quiet: float, ceiling: float) -> None:
    assert default_max_wait(quiet) == ceiling
