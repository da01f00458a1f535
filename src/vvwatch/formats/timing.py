"""How the frames of a source are counted: by its probe, or by a stated assumption."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from vvwatch.core.timecode import (
    Counting,
    countable_rate,
    format_rate,
    has_dropped_numbers,
    may_drop,
    nearest_rate,
    parse_rate,
)
from vvwatch.formats.items import Timing

_USUAL: Final = Fraction(25)
_STATES_NO_RATE: Final = {
    "audio": "Sound has no frames: times are counted at 25 frames a second.",
    "image": "A still picture has no frames: times are counted at 25 frames a second.",
}


def timing_of(probe: Mapping[str, Any] | None) -> Timing:
    """Return how the frames of the media behind a stored `probe` are counted, with notes on what is assumed.

    Probes of older versions state neither an exact rate nor a timecode.
    """
    stated = probe or {}
    rate = parse_rate(str(stated.get("frame_rate_exact") or ""))
    counted_at, notes = _choose_rate(stated, rate)
    start, is_dropping, said = _read_start(stated.get("start_timecode"), counted_at)
    first = stated.get("first_picture_seconds")
    return Timing(rate, start, is_dropping, counted_at, float(first or 0.0), (*notes, *said))


def _choose_rate(stated: Mapping[str, Any], rate: Fraction | None) -> tuple[Fraction, tuple[str, ...]]:
    if rate is not None:
        counted_at = countable_rate(rate)
        is_same = counted_at == rate
        says = (
            f"No timecode counts {format_rate(rate)} frames a second: counted at {format_rate(counted_at)}."
        )
        return counted_at, () if is_same else (says,)
    mean = stated.get("frame_rate")
    if mean:
        counted_at = nearest_rate(Fraction(mean))
        says = (
            f"No constant frame rate is known ({mean:g} in the mean): counted at {format_rate(counted_at)}."
        )
        return counted_at, (says,)
    kind = str(stated.get("media_type"))
    return _USUAL, (_STATES_NO_RATE.get(kind, "No frame rate is known: counted at 25 frames a second."),)


def _read_start(timecode: Any, rate: Fraction) -> tuple[int | None, bool, tuple[str, ...]]:
    """Return the number of the first frame, whether numbers are dropped, and what to say of it."""
    if not timecode:
        return None, False, ("The source states no timecode: counted from 00:00:00:00.",)
    is_dropping = has_dropped_numbers(str(timecode)) and may_drop(rate)
    try:
        return Counting(rate, is_dropping).parse(str(timecode)), is_dropping, ()
    except ValueError as error:
        return None, False, (f"The source's timecode is not used: {error}; counted from 00:00:00:00.",)
