"""Cut media into segments: shot changes, silences and fixed lengths become a gapless row of spans."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from vvwatch.core.media import RunSettings
from vvwatch.core.objects import MediaType

MINIMUM_SECONDS: Final = 2.0
MAXIMUM_SECONDS: Final = 300.0
_SNAP_SECONDS: Final = 0.25


class Boundary(NamedTuple):
    """A place where media may be cut: when, what is there (`cut`, `dissolve`, `silence`), how strong it is."""

    at_seconds: float
    cause: str
    strength: float


class Silence(NamedTuple):
    """A stretch without sound, in seconds from the start."""

    start_time: float
    end_time: float


class Span(NamedTuple):
    """One segment to be: its times in seconds, what opens it, and the strength of the shot change that does.

    `opened_by` is `start`, `cut`, `dissolve`, `silence`, `interval` (a fixed length has passed) or `length`
    (the longest allowed span has passed). `strength` is None unless a cut or a dissolve opens the span.
    """

    start_time: float
    end_time: float
    opened_by: str
    strength: float | None


_Mark = tuple[str, float | None]


def plan_spans(
    media_type: MediaType,
    duration_seconds: float,
    settings: RunSettings,
    shots: Sequence[Boundary],
    silences: Sequence[Silence],
) -> tuple[Span, ...]:
    """Return spans that tile [0, duration] in whole milliseconds, without gap or overlap; at least one.

    Images, and media without a duration, are one span 0-0. `fixed` spans have the configured length, the last one the
    remainder. Other spans last from 2 to 300 s (less only if the media does): `smart` cuts video at shots;
    `content_aware` cuts at silences, in video moved to a nearby shot change, and at shots where a video has no
    silences. Raises ValueError for `fixed` without a length.
    """
    duration = _to_milliseconds(duration_seconds)
    if media_type == "image" or duration <= 0:
        return (Span(0.0, 0.0, "start", None),)
    is_audio = media_type == "audio"
    mode = settings.audio_segmentation_type if is_audio else settings.video_segmentation_type
    if mode == "fixed":
        return _cut_fixed(
            duration, settings.audio_segment_duration if is_audio else settings.video_segment_duration
        )
    pauses = snap_boundaries(silences, shots, duration_seconds) if mode == "content_aware" else ()
    return _tile_spans(duration, pauses or shots)


def snap_boundaries(
    silences: Iterable[Silence], shots: Sequence[Boundary], duration_seconds: float
) -> tuple[Boundary, ...]:
    """Return a boundary for each silence between two sounds: at its strongest shot change, else in its middle."""
    within = (s for s in silences if _to_milliseconds(s.start_time) > 0 and s.end_time < duration_seconds)
    ordered = sorted(shots)
    return tuple(_snap_boundary(silence, ordered) for silence in within)


def _snap_boundary(silence: Silence, shots: Sequence[Boundary]) -> Boundary:
    first = bisect_left(shots, silence.start_time - _SNAP_SECONDS, key=lambda shot: shot.at_seconds)
    last = bisect_right(shots, silence.end_time + _SNAP_SECONDS, key=lambda shot: shot.at_seconds)
    strongest = max(shots[first:last], key=lambda shot: shot.strength, default=None)
    at = strongest.at_seconds if strongest else (silence.start_time + silence.end_time) / 2
    return Boundary(at, "silence", silence.end_time - silence.start_time)


def _cut_fixed(duration: int, length_seconds: int | None) -> tuple[Span, ...]:
    if not length_seconds:
        raise ValueError("fixed segments need a length")
    marks: dict[int, _Mark] = dict.fromkeys(range(0, duration, length_seconds * 1000), ("interval", None))
    return _to_spans(duration, marks | {0: ("start", None)})


def _tile_spans(duration: int, boundaries: Iterable[Boundary]) -> tuple[Span, ...]:
    marks: dict[int, _Mark] = {0: ("start", None)}
    for at, boundary in _select_boundaries(duration, boundaries).items():
        marks[at] = (boundary.cause, None if boundary.cause == "silence" else boundary.strength)
    for start, end in list(pairwise([*sorted(marks), duration])):
        marks.update((at, ("length", None)) for at in _divide_evenly(start, end))
    return _to_spans(duration, marks)


def _select_boundaries(duration: int, boundaries: Iterable[Boundary]) -> dict[int, Boundary]:
    """Return the boundaries to keep, by millisecond: a stronger one replaces neighbours closer than the minimum."""
    minimum = _to_milliseconds(MINIMUM_SECONDS)
    taken = [0, duration]
    kept = {}
    for boundary in sorted(boundaries, key=lambda b: (-b.strength, b.at_seconds)):
        at = _to_milliseconds(boundary.at_seconds)
        place = bisect_left(taken, at)
        if 0 < at < duration and at - taken[place - 1] >= minimum and taken[place] - at >= minimum:
            taken.insert(place, at)
            kept[at] = boundary
    return kept


def _divide_evenly(start: int, end: int) -> list[int]:
    parts = -(-(end - start) // _to_milliseconds(MAXIMUM_SECONDS))
    return [start + (end - start) * part // parts for part in range(1, parts)]


def _to_spans(duration: int, marks: dict[int, _Mark]) -> tuple[Span, ...]:
    edges = [*sorted(marks), duration]
    return tuple(Span(start / 1000, end / 1000, *marks[start]) for start, end in pairwise(edges))


def _to_milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
