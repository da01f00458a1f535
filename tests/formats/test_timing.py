"""How frames are counted where the source says it, and where it does not."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from vvwatch.formats.timing import timing_of

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("probe", "start", "drops"),
    [
        ({"frame_rate_exact": "30000/1001", "start_timecode": "01:00:00;00"}, 107_892, True),
        ({"frame_rate_exact": "30000/1001", "start_timecode": "01:00:00:00"}, 108_000, False),
        ({"frame_rate_exact": "24000/1001", "start_timecode": "00:00:01:23"}, 47, False),
        (
            {"frame_rate_exact": "25", "start_timecode": "00:00:01;00"},
            25,
            False,
        ),  # there is no drop-frame at 25
        ({"frame_rate_exact": "60000/1001", "start_timecode": "00:01:00;04"}, 3600, True),
    ],
)
def test_the_first_frame_has_the_number_of_its_timecode(
    probe: dict[str, Any], start: int, drops: bool
) -> None:
    timing = timing_of(probe)
    assert (timing.start_frame, timing.drop_frame, timing.notes) == (start, drops, ())
    assert timing.rate == timing.counted_at == Fraction(probe["frame_rate_exact"])


@pytest.mark.parametrize(
    ("probe", "rate", "counted_at", "says"),
    [
        (
            {"frame_rate_exact": "25/2"},
            Fraction(25, 2),
            25,
            "No timecode counts 12.5 frames a second: counted at 25.",
        ),
        (
            {"frame_rate": 29.83, "frame_rate_exact": None},
            None,
            NTSC,
            "No constant frame rate is known (29.83 in the mean): counted at 29.97.",
        ),
        (
            {"frame_rate": 29.97},
            None,
            NTSC,
            "No constant frame rate is known (29.97 in the mean): counted at 29.97.",
        ),
        ({"media_type": "audio"}, None, 25, "Sound has no frames: times are counted at 25 frames a second."),
        (
            {"media_type": "image"},
            None,
            25,
            "A still picture has no frames: times are counted at 25 frames a second.",
        ),
        ({"media_type": "video"}, None, 25, "No frame rate is known: counted at 25 frames a second."),
        (None, None, 25, "No frame rate is known: counted at 25 frames a second."),
    ],
)
def test_what_the_source_does_not_say_is_assumed_and_said(
    probe: dict[str, Any] | None, rate: Fraction | None, counted_at: Fraction, says: str
) -> None:
    timing = timing_of(probe)
    assert (timing.rate, timing.counted_at, timing.start_frame) == (rate, counted_at, None)
    assert timing.notes == (says, "The source states no timecode: counted from 00:00:00:00.")


@pytest.mark.parametrize("timecode", ["00:01:00;00", "00:00:00:45", "nonsense"])
def test_a_timecode_that_cannot_be_is_not_used_and_said(timecode: str) -> None:
    timing = timing_of({"frame_rate_exact": "30000/1001", "start_timecode": timecode})
    assert timing.start_frame is None
    assert timing.notes[0].startswith(
        f"The source's timecode is not used: '{timecode}' is no timecode at 29.97"
    )


def test_drop_frame_beyond_59_94_is_not_guessed() -> None:
    timing = timing_of({"frame_rate_exact": "120000/1001", "start_timecode": "01:00:00;00"})
    assert (timing.start_frame, timing.drop_frame) == (None, False)
    says = "The source's timecode is not used: there is no drop-frame at 119.88 frames a second"
    assert timing.notes == (f"{says}; counted from 00:00:00:00.",)
