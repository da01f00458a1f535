"""Timecodes count frames exactly: at all rates, with and without dropped numbers, over midnight."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.timecode import (
    Counting,
    countable_rate,
    exact_rate,
    format_rate,
    frame_at,
    is_countable,
    nearest_rate,
    parse_rate,
)

NTSC = Fraction(1000, 1001)
COUNTINGS = [
    *(Counting(Fraction(rate)) for rate in (15, 24, 25, 30, 48, 50, 60, 100, 120)),
    *(Counting(rate * NTSC) for rate in (24, 30, 48, 60, 120)),
    *(Counting(rate * NTSC, drop_frame=True) for rate in (30, 60)),
]
countings = st.sampled_from(COUNTINGS)


@given(countings, st.data())
def test_a_frame_is_read_back_from_its_timecode(counting: Counting, data: st.DataObject) -> None:
    frame = data.draw(st.integers(0, counting.frames_a_day - 1))
    assert counting.parse(counting.to_text(frame)) == frame


@given(countings, st.data())
def test_timecodes_rise_with_their_frames_and_start_again_after_a_day(
    counting: Counting, data: st.DataObject
) -> None:
    frame = data.draw(st.integers(0, counting.frames_a_day - 2))
    assert counting.to_text(frame) < counting.to_text(frame + 1)
    assert counting.to_text(frame + counting.frames_a_day) == counting.to_text(frame)


@pytest.mark.parametrize(
    ("rate", "frame", "text"),
    [
        (30, 1799, "00:00:59;29"),
        (30, 1800, "00:01:00;02"),
        (30, 17_981, "00:09:59;29"),
        (30, 17_982, "00:10:00;00"),
        (30, 107_892, "01:00:00;00"),
        (30, 107_892 + 1800, "01:01:00;02"),
        (60, 3599, "00:00:59;59"),
        (60, 3600, "00:01:00;04"),
        (60, 215_784, "01:00:00;00"),
    ],
)
def test_drop_frame_leaves_out_numbers_each_minute_but_every_tenth(rate: int, frame: int, text: str) -> None:
    counting = Counting(rate * NTSC, drop_frame=True)
    assert counting.to_text(frame) == text
    assert counting.parse(text) == frame


def test_drop_frame_keeps_pace_with_the_clock_to_two_frames_a_day() -> None:
    for rate in (30 * NTSC, 60 * NTSC):
        counting = Counting(rate, drop_frame=True)
        assert abs(counting.frames_a_day - rate * 86_400) <= 6
        assert counting.to_text(counting.frames_a_day - 1).startswith("23:59:59;")


@pytest.mark.parametrize(
    "text", ["00:01:00;00", "00:01:00;01", "24:00:00;00", "00:00:00;30", "1:00:00;00", "", "x"]
)
def test_a_number_that_is_left_out_or_no_timecode_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no timecode at 29\.97"):
        Counting(30 * NTSC, drop_frame=True).parse(text)


@pytest.mark.parametrize("rate", [24 * NTSC, Fraction(25), Fraction(30), 120 * NTSC])
def test_other_rates_have_no_drop_frame(rate: Fraction) -> None:
    with pytest.raises(ValueError, match="no drop-frame"):
        Counting(rate, drop_frame=True)


def test_a_rate_that_no_timecode_counts_is_counted_at_a_multiple_or_the_nearest() -> None:
    assert countable_rate(Fraction(25, 2)) == 25
    assert countable_rate(Fraction(15, 2)) == 15
    assert countable_rate(30 * NTSC) == 30 * NTSC
    assert countable_rate(Fraction(29983, 1000)) == 30 * NTSC
    assert nearest_rate(Fraction(2999, 100)) == 30
    with pytest.raises(ValueError, match=r"12\.5 frames a second"):
        Counting(Fraction(25, 2))


def test_rates_are_written_as_people_do() -> None:
    rates = (25, 24 * NTSC, 30 * NTSC, Fraction(25, 2), 120 * NTSC)
    assert [format_rate(Fraction(rate)) for rate in rates] == ["25", "23.976", "29.97", "12.5", "119.88"]


@pytest.mark.parametrize(("text", "rate"), [("25", 25), ("30000/1001", 30 * NTSC), ("25/2", Fraction(25, 2))])
def test_a_written_rate_is_read(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "25/0", "-25", "25.0", "1e3", "99999", "٢٥", "9" * 40])
def test_what_is_no_rate_is_none(text: str) -> None:
    assert parse_rate(text) is None


@pytest.mark.parametrize(
    ("mean", "base", "rate"),
    [
        (Fraction(25), Fraction(25), 25),
        (Fraction(25), Fraction(50), 25),  # fields of interlaced pictures
        (Fraction(19001, 317), Fraction(19001, 317), 60 * NTSC),  # Matroska counts milliseconds
        (Fraction(2398, 100), Fraction(24000, 1001), 24 * NTSC),
        (Fraction(25, 2), Fraction(25, 2), Fraction(25, 2)),
        (Fraction(2998, 100), Fraction(30), None),  # a phone
        (30 * NTSC, Fraction(30), None),
        (24 * NTSC, 30 * NTSC, None),  # film with repeated fields
        (Fraction(25), Fraction(1000), None),
        (Fraction(1000), Fraction(1000), None),  # the ticks of the clock
        (Fraction(1, 10), Fraction(1, 10), None),
    ],
)
def test_only_a_constant_rate_is_exact(mean: Fraction, base: Fraction, rate: Fraction | None) -> None:
    assert exact_rate(mean, base) == rate


@given(countings, st.integers(0, 10_000_000))
def test_the_start_of_a_frame_is_that_frame_even_in_whole_milliseconds(
    counting: Counting, frame: int
) -> None:
    starts = float(frame / counting.rate)
    assert frame_at(starts, counting.rate) == frame
    assert frame_at(round(starts, 3), counting.rate) == frame


@given(st.fractions(Fraction(1, 2), 1000, max_denominator=2000))
def test_frames_of_any_rate_can_be_counted(rate: Fraction) -> None:
    assert is_countable(countable_rate(rate))
