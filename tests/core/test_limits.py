from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.limits import (
    LATE_SECONDS,
    MOST_PATIENCE_SECONDS,
    InFlight,
    Turns,
    bounded_patience,
    seconds_of,
    share_slots,
)
from vvwatch.core.processors import Rates

MINUTE = 60.0
_calls = st.lists(
    st.tuples(st.floats(0, 3), st.integers(0, 5_000)),  # the pause before a call is wanted, and its tokens
    min_size=1,
    max_size=300,
)


def begun(rates: Rates, calls: list[tuple[float, int]], turns: Turns) -> list[tuple[float, int]]:
    """When the calls begin, each as soon as it may and not before it is wanted, in their order."""
    now, wanted, found = 0.0, 0.0, []
    for pause, tokens in calls:
        wanted += pause
        now = max(now, wanted)
        at = turns.begins_at(now, seconds_of(rates, tokens))
        if at is None:
            continue
        now = at
        turns.take(now, seconds_of(rates, tokens))
        found.append((now, tokens))
    return found


def in_windows(found: list[tuple[float, int]]) -> list[list[int]]:
    """The tokens of the calls in each minute that begins with a call."""
    return [[tokens for at, tokens in found if start <= at <= start + MINUTE] for start, _ in found]


@given(_calls, st.integers(1, 3_000))
def test_no_minute_has_more_requests_than_allowed(calls: list[tuple[float, int]], per_minute: int) -> None:
    rates = Rates(requests_per_minute=per_minute)
    assert max(map(len, in_windows(begun(rates, calls, Turns())))) <= per_minute


@given(_calls, st.integers(1_000, 200_000))
def test_no_minute_has_more_tokens_than_allowed_and_one_call(
    calls: list[tuple[float, int]], per_minute: int
) -> None:
    rates = Rates(tokens_per_minute=per_minute)
    windows = in_windows(begun(rates, calls, Turns()))
    assert all(sum(window) - window[-1] <= per_minute for window in windows)


@given(_calls, st.integers(1, 600), st.floats(0.5, 20))
def test_stretches_in_turn_keep_the_limit_as_one_schedule_does(
    calls: list[tuple[float, int]], per_minute: int, length: float
) -> None:
    rates = Rates(requests_per_minute=per_minute)
    length = max(length, seconds_of(rates, 0))
    half = len(calls) // 2
    first = begun(rates, calls[:half], Turns(0.0, length))
    second = begun(rates, calls[half:], Turns(length, 2 * length))
    both = sorted([*first, *second])
    assert all(len(window) <= per_minute for window in in_windows(both))


def test_a_limit_is_used_to_the_full() -> None:
    rates = Rates(requests_per_minute=600)
    found = begun(rates, [(0.0, 0)] * 700, Turns())
    assert len([at for at, _ in found if at < MINUTE]) in range(590, 601)


def test_a_turn_that_comes_late_is_made_up_for_and_one_that_comes_too_late_is_lost() -> None:
    turns = Turns()
    turns.take(0.0, 1.0)
    turns.take(0.95, 1.0)
    assert turns.begins_at(1.5, 1.0) == pytest.approx(1.9)
    turns.take(5.0, 1.0)
    assert turns.begins_at(5.0, 1.0) == pytest.approx(6.0 - LATE_SECONDS)


def test_a_call_that_takes_more_than_a_minute_goes_alone_and_the_next_one_pays_for_it() -> None:
    rates, turns = Rates(tokens_per_minute=1_000), Turns()
    assert turns.begins_at(0.0, seconds_of(rates, 2_000)) == 0.0
    turns.take(0.0, seconds_of(rates, 2_000))
    assert turns.begins_at(0.0, seconds_of(rates, 1)) == pytest.approx(121.2, abs=LATE_SECONDS)


def test_a_stretch_has_no_room_for_what_would_reach_beyond_it() -> None:
    turns = Turns(10.0, 12.0)
    assert turns.begins_at(0.0, 1.0) == 10.0
    turns.take(10.0, 1.0)
    assert turns.begins_at(10.0, 1.0) == 11.0
    assert turns.begins_at(11.5, 1.0) is None
    assert turns.begins_at(10.0, 2.0) is None


def test_nothing_limited_takes_no_time() -> None:
    turns, seconds = Turns(), seconds_of(Rates(), 1_000_000)
    turns.take(3.0, seconds)
    assert (seconds, turns.begins_at(3.0, seconds)) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("rates", "tokens", "seconds"),
    [
        (Rates(60), 1_000_000, 1.01),
        (Rates(None, 60_000), 1_000, 1.01),
        (Rates(60, 60_000), 500, 1.01),
        (Rates(60, 60_000), 3_000, 3.03),
        (Rates(None, 60_000), -5, 0.0),
    ],
)
def test_a_call_takes_its_part_of_a_minute_by_whichever_limit_is_narrower(
    rates: Rates, tokens: int, seconds: float
) -> None:
    assert seconds_of(rates, tokens) == pytest.approx(seconds)


def test_after_patience_calls_begin_alone_and_grow_in_number() -> None:
    flight = InFlight(4, 4, busy=4)
    flight.shrink()
    sizes = []
    for well in (False, False, False, True, True, True, True):
        flight.busy = max(flight.busy, 1)
        flight.end(well=well)
        sizes.append(flight.size)
    assert sizes == [1, 1, 1, 2, 3, 4, 4]


@given(st.integers(0, 50), st.dictionaries(st.text(max_size=3), st.integers(0, 40), max_size=6))
def test_slots_are_divided_fairly_and_none_is_left_while_somebody_wants_it(
    most: int, wants: dict[str, int]
) -> None:
    shares = share_slots(most, wants)
    assert sum(shares.values()) == min(most, sum(wants.values()))
    assert all(shares[name] <= want for name, want in wants.items())
    hungry = [shares[name] for name, want in wants.items() if shares[name] < want]
    assert all(max(shares.values()) - share <= 1 for share in hungry)


def test_what_cannot_be_divided_goes_to_the_first_that_wait() -> None:
    assert share_slots(1, {"b": 2, "a": 3}) == {"b": 1, "a": 0}
    assert share_slots(8, {"a": 9, "b": 9, "c": 1}) == {"a": 4, "b": 3, "c": 1}


@pytest.mark.parametrize(
    ("asked", "bounded"),
    [(1.5, 1.5), (0.0, 0.0), (-3.0, 0.0), (nan, 0.0), (inf, MOST_PATIENCE_SECONDS)],
)
def test_no_endpoint_is_waited_for_longer_than_a_day(asked: float, bounded: float) -> None:
    assert bounded_patience(asked) == bounded
