"""The measured series over time, and their values for a stretch of the media."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from vvwatch.core.segments import Boundary, Silence

SHIFT_LAG_SECONDS: Final = 1.0
"""The distance of the two pictures whose colours are compared to find a dissolve."""

_SHIFT_THRESHOLD: Final = 0.3
_DISSOLVE_PEAK: Final = 0.5
_CUT_REACH_SECONDS: Final = 0.3
_LONGEST_DISSOLVE_SECONDS: Final = 3.0
_SAME_SHOT_SECONDS: Final = 0.5
_FROZEN_PERCENT: Final = 0.1
_DARK_SHARE: Final = 0.98
_LOUDNESS_WINDOW_SECONDS: Final = 0.4
_ROUNDING_SECONDS: Final = 0.001
_ABSOLUTE_GATE_LUFS: Final = -70.0
_RELATIVE_GATE_LU: Final = 10.0


def _new_doubles() -> array[float]:
    return array("d")


def _new_floats() -> array[float]:
    return array("f")


@dataclass(slots=True)
class Pictures:
    """For each sampled picture: its time and its difference from the one before, in percent of full scale.

    For four pictures a second: the time, mean luma (0-255), the share of dark pixels (0-1), and how far the colours
    have shifted within `SHIFT_LAG_SECONDS` (0-1).
    """

    times: array[float] = field(default_factory=_new_doubles)
    motion: array[float] = field(default_factory=_new_floats)
    sample_times: array[float] = field(default_factory=_new_doubles)
    luma: array[float] = field(default_factory=_new_floats)
    dark: array[float] = field(default_factory=_new_floats)
    shift: array[float] = field(default_factory=_new_floats)
    cuts: list[Boundary] = field(default_factory=list)


@dataclass(slots=True)
class Sounds:
    """Ten times a second: the start of a window of 400 ms and its loudness in LUFS. Silences in order."""

    times: array[float] = field(default_factory=_new_doubles)
    momentary: array[float] = field(default_factory=_new_floats)
    silences: list[Silence] = field(default_factory=list)
    range_lu: float | None = None
    peak: float = 0.0


def find_shot_changes(pictures: Pictures) -> tuple[Boundary, ...]:
    """Return cuts and dissolves by time; a burst of cuts within half a second, such as a flash, is one."""
    cuts: list[Boundary] = []
    for cut in pictures.cuts:
        if cuts and cut.at_seconds - cuts[-1].at_seconds < _SAME_SHOT_SECONDS:
            cuts[-1] = Boundary(cuts[-1].at_seconds, cut.cause, max(cuts[-1].strength, cut.strength))
        else:
            cuts.append(cut)
    return tuple(sorted([*cuts, *_find_dissolves(pictures, cuts)]))


def _find_dissolves(pictures: Pictures, cuts: Sequence[Boundary]) -> Iterator[Boundary]:
    """Yield shifts of colours within seconds that no cut explains and that are no slow change."""
    for start, end, peak in _find_shifts(pictures):
        cut_there = any(start - _CUT_REACH_SECONDS <= cut.at_seconds <= end for cut in cuts)
        if peak >= _DISSOLVE_PEAK and end - start < _LONGEST_DISSOLVE_SECONDS and not cut_there:
            # The shift begins with the dissolve and ends one lag after it.
            yield Boundary((start + end - SHIFT_LAG_SECONDS) / 2, "dissolve", peak * 100)


def _find_shifts(pictures: Pictures) -> Iterator[tuple[float, float, float]]:
    """Yield (first time, last time, peak) of each stretch in which the colours shift beyond the threshold."""
    start: float | None = None
    end = peak = 0.0
    for at, shift in zip((*pictures.sample_times, math.inf), (*pictures.shift, 0.0), strict=True):
        if shift > _SHIFT_THRESHOLD:
            start, end, peak = at if start is None else start, at, max(peak, shift)
        elif start is not None:
            yield start, end, peak
            start, peak = None, 0.0


def mean_luma(pictures: Pictures, start: float, end: float) -> float | None:
    """Return the mean brightness of [start, end), 0-255; None without a sampled picture."""
    return _rounded_mean(_values_within(pictures.sample_times, pictures.luma, start, end), 1)


def black_ratio(pictures: Pictures, start: float, end: float) -> float | None:
    """Return the share of [start, end) in which the picture is black; None without a sampled picture."""
    dark = _values_within(pictures.sample_times, pictures.dark, start, end)
    return _rounded_mean([share >= _DARK_SHARE for share in dark], 3)


def mean_motion(pictures: Pictures, start: float, end: float) -> float | None:
    """Return the mean difference of successive pictures in [start, end), in percent of full scale, without cuts."""
    return _rounded_mean(_differences_within(pictures, start, end), 2)


def frozen_ratio(pictures: Pictures, start: float, end: float) -> float | None:
    """Return the share of pictures within [start, end) that look like the one before them."""
    return _rounded_mean([step < _FROZEN_PERCENT for step in _differences_within(pictures, start, end)], 3)


def _differences_within(pictures: Pictures, start: float, end: float) -> Sequence[float]:
    # The first picture of a segment is compared with the last of the previous one.
    return _values_within(pictures.times, pictures.motion, start, end)[1:]


def integrated_loudness(sounds: Sounds, start: float, end: float) -> float | None:
    """Return the loudness of [start, end) in LUFS by ITU-R BS.1770; None if all of it is below the gate."""
    first, last = start - _ROUNDING_SECONDS, end - _LOUDNESS_WINDOW_SECONDS + _ROUNDING_SECONDS
    values = _values_within(sounds.times, sounds.momentary, first, last)
    audible = [_lufs_to_energy(value) for value in values if value > _ABSOLUTE_GATE_LUFS]
    if not audible:
        return None
    gate = _energy_to_lufs(sum(audible) / len(audible)) - _RELATIVE_GATE_LU
    gated = [energy for energy in audible if _energy_to_lufs(energy) > gate]
    return round(_energy_to_lufs(sum(gated) / len(gated)), 1)


def silence_ratio(sounds: Sounds, start: float, end: float) -> float | None:
    """Return the share of [start, end) without sound; None for an empty stretch."""
    if end <= start:
        return None
    silences = sounds.silences
    first = bisect_left(silences, start, key=lambda silence: silence.end_time)
    last = bisect_left(silences, end, key=lambda silence: silence.start_time)
    silent = sum(_overlap_seconds(silence, Silence(start, end)) for silence in silences[first:last])
    return round(silent / (end - start), 3)


def peak_dbtp(sounds: Sounds) -> float | None:
    """Return the highest true peak in dB relative to full scale; None for digital silence."""
    return round(20 * math.log10(sounds.peak), 1) if sounds.peak > 0 else None


def _overlap_seconds(one: Silence, other: Silence) -> float:
    return min(one.end_time, other.end_time) - max(one.start_time, other.start_time)


def _values_within(times: array[float], values: array[float], start: float, end: float) -> array[float]:
    return values[bisect_left(times, start) : bisect_left(times, end)]


def _rounded_mean(values: Iterable[float], digits: int) -> float | None:
    counted = list(values)
    return round(math.fsum(counted) / len(counted), digits) if counted else None


def _lufs_to_energy(lufs: float) -> float:
    return float(10 ** (lufs / 10))


def _energy_to_lufs(energy: float) -> float:
    return 10 * math.log10(energy)
