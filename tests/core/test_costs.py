from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.costs import Detection, Forecast, Watch, calls_of, forecast_calls

S3_USD = 0.005 / 1_000
MINUTES, HOURS = 60.0, 3_600.0


@pytest.mark.parametrize(
    ("at_once", "objects", "calls"),
    [
        (1_000, 0, 1),
        (1_000, 1, 1),
        (1_000, 1_000, 1),
        (1_000, 1_001, 2),
        (1_000, 1_000_000, 1_000),
        (5_000, 5_000, 1),
        (5_000, 1_000_000, 200),
        (None, 1_000_000, 0),
    ],
)
def test_a_listing_takes_a_request_a_page(at_once: int | None, objects: int, calls: int) -> None:
    assert calls_of(at_once, objects) == calls


@pytest.mark.parametrize(
    ("watch", "expected"),
    [
        # a page every two minutes: thirty an hour, eleven cents a month
        (Watch(1, 120, usd_per_call=S3_USD), Forecast(120, False, 30, 30 * 730 * S3_USD, 60, 132)),
        # a million objects every two minutes is money
        (
            Watch(1_000, 120, usd_per_call=S3_USD),
            Forecast(120, False, 30_000, 30_000 * 730 * S3_USD, 60, 132),
        ),
        # with events: seconds, and a sweep an hour
        (
            Watch(1_000, 120, Detection.EVENTS, 1 * HOURS, usd_per_call=S3_USD),
            Forecast(3_600, False, 1_000, 1_000 * 730 * S3_USD, 5, 3_960),
        ),
        # a folder of this machine tells by itself and costs nothing
        (Watch(0, 120, Detection.NOTICES, settle_seconds=5), Forecast(120, False, 0, 0, 5.1, 137)),
        (Watch(0, 120, settle_seconds=5), Forecast(120, False, 0, 0, 65, 137)),
        # a budget that is enough changes nothing
        (Watch(10, 120, calls_per_hour=300), Forecast(120, False, 300, 0, 60, 132)),
        # one that is not stretches the listings: ten requests six times an hour
        (Watch(10, 120, calls_per_hour=60), Forecast(600, True, 60, 0, 300, 660)),
        # a sweep can be too much for it as well
        (
            Watch(1_000, 120, Detection.EVENTS, 1 * HOURS, calls_per_hour=500),
            Forecast(7_200, True, 500, 0, 5, 7_920),
        ),
        # where a listing can begin behind a key, half the budget looks for new keys meanwhile
        (
            Watch(1_000, 120, calls_per_hour=100, polls=True),
            Forecast(20 * HOURS, True, 80, 0, 60, 22 * HOURS),
        ),
    ],
)
def test_what_watching_takes(watch: Watch, expected: Forecast) -> None:
    found = forecast_calls(watch)
    for name in Forecast.__slots__:
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
    assert found.calls_per_day == pytest.approx(24 * expected.calls_per_hour)


WATCHES = st.builds(
    Watch,
    calls=st.integers(0, 10_000),
    scan_seconds=st.floats(1, 900),
    learnt_by=st.sampled_from(Detection),
    sweep_seconds=st.floats(60, 86_400),
    settle_seconds=st.floats(0, 60),
    calls_per_hour=st.integers(1, 100_000),
    polls=st.booleans(),
    usd_per_call=st.floats(0, 1e-4),
)


@given(WATCHES)
def test_list_calls_budget_is_kept_by_every_forecast(watch: Watch) -> None:
    """Trap 22: what is forecast never exceeds the budget, and stretching is never for nothing."""
    found, free = forecast_calls(watch), forecast_calls(replace(watch, calls_per_hour=None))
    assert found.calls_per_hour <= (watch.calls_per_hour or 0) * (1 + 1e-9)
    assert found.every_seconds >= free.every_seconds
    assert found.stretched == (free.calls_per_hour > (watch.calls_per_hour or 0))
