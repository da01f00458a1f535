"""Timecodes: numbers of frames as HH:MM:SS:FF, at exact rates, with and without dropped numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import repeat
from typing import Final

_TIMECODE: Final = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.])(\d{2,3})", re.ASCII)
_NTSC: Final = Fraction(1000, 1001)
_DROPPING: Final = frozenset({30 * _NTSC, 60 * _NTSC})
_USUAL: Final = (
    24 * _NTSC,
    Fraction(24),
    Fraction(25),
    30 * _NTSC,
    Fraction(30),
    Fraction(50),
    60 * _NTSC,
    Fraction(60),
)
_FASTEST: Final = 1000
_TWO_DIGITS: Final = tuple(f"{number:02d}" for number in range(100))
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Counting:
    """How frames are numbered: they come at `rate`, exact, and `nominal` of them make a counted second.

    `drop_frame`: two numbers (four at 59.94) are left out at the start of each minute but every tenth, so that
    timecodes keep pace with the clock. Raises ValueError for a rate that no timecode can count and for drop-frame at
    another rate than 29.97 and 59.94.
    """

    rate: Fraction
    drop_frame: bool = False
    nominal: int = field(init=False)
    frames_a_day: int = field(init=False)
    _dropped: int = field(init=False)

    def __post_init__(self) -> None:
        if not is_countable(self.rate):
            raise ValueError(f"no timecode counts {format_rate(self.rate)} frames a second")
        if self.drop_frame and self.rate not in _DROPPING:
            raise ValueError(f"there is no drop-frame at {format_rate(self.rate)} frames a second")
        nominal = round(self.rate)
        dropped = nominal // 15 if self.drop_frame else 0
        object.__setattr__(self, "nominal", nominal)
        object.__setattr__(self, "_dropped", dropped)
        object.__setattr__(self, "frames_a_day", 144 * (600 * nominal - 9 * dropped))

    def to_text(self, frame: int) -> str:
        """Return the timecode of the frame number `frame`, which starts again after 24 hours."""
        return self.to_texts([frame])[0]

    def to_texts(self, frames: Iterable[int]) -> list[str]:
        """Return the timecodes of frame numbers, which start again after 24 hours."""
        nominal, point = self.nominal, ";" if self.drop_frame else ":"
        digits, minutes = _list_numbers(nominal), list_minutes()
        return [
            f"{minutes[second // 60]}{_TWO_DIGITS[second % 60]}{point}{digits[number]}"
            for second, number in map(divmod, self._count_all_numbers(frames), repeat(nominal))
        ]

    def _count_all_numbers(self, frames: Iterable[int]) -> Iterator[int]:
        """Yield the frame numbers as they would be if none were left out."""
        nominal, dropped, day = self.nominal, self._dropped, self.frames_a_day
        if not dropped:
            yield from [frame % day for frame in frames]
            return
        for frame in frames:
            tens, rest = divmod(frame % day, 600 * nominal - 9 * dropped)
            minutes = (rest - dropped) // (60 * nominal - dropped) if rest >= dropped else 0
            yield frame % day + dropped * (9 * tens + minutes)

    def parse(self, text: str) -> int:
        """Return the frame number of a timecode. Raises ValueError for none, and for a number that is left out."""
        found = _TIMECODE.fullmatch(text)
        hours, minutes, seconds, frames = (
            (int(found[group]) for group in (1, 2, 3, 5)) if found else (24, 0, 0, 0)
        )
        is_left_out = not seconds and minutes % 10 and frames < self._dropped
        if hours > 23 or frames >= self.nominal or is_left_out:
            raise ValueError(f"{text[:20]!r} is no timecode at {format_rate(self.rate)} frames a second")
        minutes += 60 * hours
        return (60 * minutes + seconds) * self.nominal + frames - self._dropped * (minutes - minutes // 10)


@cache
def list_minutes() -> Sequence[str]:
    """Return "00:00:", "00:01:" and so on for the minutes of a day."""
    return [f"{hour}:{minute}:" for hour in _TWO_DIGITS[:24] for minute in _TWO_DIGITS[:60]]


@cache
def _list_numbers(nominal: int) -> Sequence[str]:
    """Return how the frames of a second are written: with two digits, or with three at more than 100 a second."""
    return _TWO_DIGITS if nominal <= 100 else [f"{number:03d}" for number in range(nominal)]


def is_timecode(text: str) -> bool:
    """Return whether `text` has the form of a timecode, whatever the rate."""
    return _TIMECODE.fullmatch(text) is not None


def has_dropped_numbers(text: str) -> bool:
    """Return whether the timecode `text` is written as one that leaves numbers out: 01:00:00;00."""
    return bool(re.search("[;.]", text))


def may_drop(rate: Fraction) -> bool:
    """Return whether timecodes at `rate` are ever written with numbers left out: at 29.97 and its multiples."""
    return (rate / min(_DROPPING)).denominator == 1


def is_countable(rate: Fraction) -> bool:
    """Return whether a timecode can count `rate` frames a second: whole ones, or those of NTSC such as 30000/1001."""
    return 0 < rate <= _FASTEST and 1 in (rate.denominator, (rate / _NTSC).denominator)


def countable_rate(rate: Fraction) -> Fraction:
    """Return a rate to count frames at that come at `rate`: itself, a small multiple of it, else the nearest usual."""
    multiples = (rate * factor for factor in range(1, 5))
    return next((each for each in multiples if is_countable(each)), None) or nearest_rate(rate)


def nearest_rate(rate: Fraction) -> Fraction:
    """Return the usual rate nearest to `rate`."""
    return min(_USUAL, key=lambda usual: abs(usual - rate))


def parse_rate(text: str) -> Fraction | None:
    """Return the rate that `text` writes as 30000/1001 or 25, None if it writes none."""
    found = re.fullmatch(r"(\d{1,9})(?:/(\d{1,9}))?", text, re.ASCII)
    if not found or not int(found[2] or 1):
        return None
    rate = Fraction(int(found[1]), int(found[2] or 1))
    return rate if 0 < rate <= _FASTEST else None


def exact_rate(mean: Fraction, base: Fraction) -> Fraction | None:
    """Return the rate of frames that come at equal distances; None if they do not, or nobody can know.

    `mean` is how many there are a second, `base` the rate of a clock on which each of them falls; twice as fast for
    the fields of interlaced pictures. Containers that count milliseconds state 19001/317 for 60000/1001.
    """
    exact = _snap_rate(mean)
    return exact if exact is not None and _snap_rate(base) in (exact, 2 * exact) else None


def _snap_rate(rate: Fraction) -> Fraction | None:
    if not 1 <= rate <= _FASTEST // 2:
        return None
    whole = Fraction(round(rate * 2), 2)
    ntsc = round(rate / _NTSC) * _NTSC
    return next((each for each in (whole, ntsc) if abs(each - rate) <= rate / 5000), None)


def frame_counter(rate: Fraction) -> Callable[[Iterable[float]], list[int]]:
    """Return what gives the numbers of the frames that begin nearest to moments in seconds; the later ones of two."""
    factor, unit = 2 * rate.numerator, _MICROSECONDS * rate.denominator
    divisor = 2 * unit

    def count(moments: Iterable[float]) -> list[int]:
        return [(round(seconds * _MICROSECONDS) * factor + unit) // divisor for seconds in moments]

    return count


def frame_at(seconds: float, rate: Fraction) -> int:
    """Return the number of the frame that begins nearest to `seconds`; the later one of two."""
    return frame_counter(rate)([seconds])[0]


def format_rate(rate: Fraction) -> str:
    """Return `rate` as people write it: 25, 29.97, 12.5."""
    return f"{round(float(rate), 3):.6g}"
