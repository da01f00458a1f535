from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.retries import DELIVERY_DELAYS, backoff_seconds, delivery_delay

SAMPLES = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 10_000), SAMPLES)
def test_waits_double_up_to_the_cap(attempt: int, sample: float) -> None:
    wait = backoff_seconds(attempt, base_seconds=1.0, cap_seconds=60.0, sample=sample)
    ceiling = min(60.0, 2.0 ** min(attempt, 10))
    assert ceiling / 2 <= wait <= ceiling


def test_waiters_are_spread() -> None:
    waits = [backoff_seconds(3, base_seconds=1.0, cap_seconds=60.0, sample=n / 10) for n in range(10)]
    assert waits == sorted(set(waits))


@pytest.mark.parametrize(("attempts", "delay"), list(enumerate(DELIVERY_DELAYS, start=1)))
def test_deliveries_wait_longer_each_time(attempts: int, delay: float) -> None:
    assert delivery_delay(attempts, 0.5) == delay


@given(st.integers(1, 5), SAMPLES)
def test_delivery_jitter_is_a_tenth(attempts: int, sample: float) -> None:
    wait = delivery_delay(attempts, sample)
    assert wait == pytest.approx(DELIVERY_DELAYS[attempts - 1], rel=0.1001)


def test_a_delivery_is_given_up_after_six_attempts() -> None:
    assert delivery_delay(5, 0.5) is not None
    assert delivery_delay(6, 0.5) is None
    assert delivery_delay(1, 0.5, delays=()) is None


@pytest.mark.parametrize(
    ("asked", "wait"), [(None, 30), (0, 30), (5, 30), (300, 300), (1e9, 21_600), (-3, 30)]
)
def test_a_receiver_may_ask_for_more_time_but_not_for_ever(asked: float | None, wait: float) -> None:
    assert delivery_delay(1, 0.5, asked) == wait


def test_own_delays_are_kept() -> None:
    assert delivery_delay(2, 0.5, delays=(0.1, 0.2)) == pytest.approx(0.2)
