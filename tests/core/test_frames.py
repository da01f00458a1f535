"""Which moments of a stretch are looked at."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vvwatch.core.segments import frame_times


@pytest.mark.parametrize(
    ("shots", "most", "times"),
    [
        ((), 1, (15,)),
        ((), 2, (12.5, 17.5)),
        ((), 5, (11, 13, 15, 17, 19)),
        ((12,), 2, (11, 16)),
        ((12,), 3, (11, 14, 18)),
        ((13, 16, 18), 4, (11.5, 14.5, 17, 19)),
        ((13, 16, 17.5), 2, (11.5, 14.5)),
        ((5, 10, 20, 25), 1, (15,)),
        ((10.05, 19.95), 1, (15,)),
        ((), 0, ()),
    ],
)
def test_each_shot_is_looked_at_in_its_middle_and_long_ones_more_often(
    shots: tuple[float, ...], most: int, times: tuple[float, ...]
) -> None:
    assert frame_times(10, 20, shots, most) == times


def test_what_has_no_length_has_one_moment() -> None:
    assert frame_times(0, 0, (), 5) == (0,)
    assert frame_times(0, 0, (), 0) == ()


@example(0.0, 10.0, [5.0, 5.0, 5.0], 4)
@given(
    st.floats(0, 1000),
    st.floats(0.001, 300),
    st.lists(st.floats(0, 1300)).map(sorted),
    st.integers(1, 12),
)
def test_moments_are_within_in_order_and_as_many_as_wanted(
    start: float, length: float, shots: list[float], most: int
) -> None:
    times = frame_times(start, start + length, shots, most)

    assert len(times) == most
    assert list(times) == sorted(times)
    assert all(start - 0.001 <= time <= start + length + 0.001 for time in times)
