"""Cut media into segments: shot changes, silences and fixed lengths become a gapless row of spans.

Also estimates how many segments media have before they are cut, and chooses the frames that show one.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


_SHORTEST_SHOT_SECONDS: Final = 0.1


def frame_times(start: float, end: float, shots: Sequence[float], most: int) -> tuple[float, ...]:
    """Return at most `most` moments within [start, end), in order; `shots` are shot changes, in order.

    Each shot gives its middle; if there are more than `most` shots, only the longest ones do. If there are fewer,
    long shots give several, evenly spaced. An empty stretch has one moment.
    """
    if most <= 0:
        return ()
    if end <= start:
        return (start,)
    lengths = _shots_within(start, end, shots)
    longest = sorted(lengths, key=lambda shot: (shot[0] - shot[1], shot[0]))[:most]
    counts = dict.fromkeys(longest, 1)
    for _ in range(most - len(longest)):
        sparse = max(longest, key=lambda shot: (shot[1] - shot[0]) / (counts[shot] + 1))
        counts[sparse] += 1
    return tuple(
        round(first + (last - first) * (number + 0.5) / count, 3)
        for (first, last), count in sorted(counts.items())
        for number in range(count)
    )


def _shots_within(start: float, end: float, shots: Sequence[float]) -> list[tuple[float, float]]:
    """Return the distinct parts of [start, end) between shot changes; a sliver joins its neighbour."""
    inner = shots[
        bisect_left(shots, start + _SHORTEST_SHOT_SECONDS) : bisect_right(shots, end - _SHORTEST_SHOT_SECONDS)
    ]
    return list(pairwise([start, *dict.fromkeys(inner), end]))


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of media of one type, and their total seconds."""

    media_type: str
    count: int
    seconds: float


def segments_between(amount: Amount, settings: RunSettings) -> tuple[int, int]:
    """Return the least and the greatest number of segments for these media."""
    if amount.media_type == "image":
        return amount.count, amount.count
    longest, shortest = _segment_lengths(amount.media_type, settings)
    least = math.ceil(amount.seconds / longest)
    return max(least, amount.count), math.floor(amount.seconds / shortest) + amount.count


def _segment_lengths(media_type: str, settings: RunSettings) -> tuple[float, float]:
    """Return the longest and the shortest segment in seconds; only the last of an item may be shorter."""
    is_audio = media_type == "audio"
    mode = settings.audio_segmentation_type if is_audio else settings.video_segmentation_type
    fixed = settings.audio_segment_duration if is_audio else settings.video_segment_duration
    return (fixed, fixed) if mode == "fixed" and fixed else (MAXIMUM_SECONDS, MINIMUM_SECONDS)
