"""What all formats of timelines have in common: one clip a segment, one after the other, in frames of the source.

Times are rounded to frames once, here. A clip keeps its length on both sides, and each lasts for a frame at least.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import repeat
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from vvwatch.core.timecode import Counting, format_rate, frame_at, frame_counter, is_countable, nearest_rate
from vvwatch.formats.items import ExportedItem, NotApplicable
from vvwatch.formats.texts import one_line, title_of

STILL_SECONDS: Final = 5
"""How long a picture is shown."""


Place = tuple[int, int, int]
"""The first frame of the source, the length, and the first frame of the timeline."""


class Cut(NamedTuple):
    """One clip: frames from the first of the source, `record` from the first of the timeline."""

    number: int
    start: int
    length: int
    record: int
    title: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The clips of one media item on one track.

    `start` is the number of the source's first frame, with which the timeline begins too. `length` counts the frames
    of the timeline, `source_length` those of the source as far as anybody knows. `name` is that of the file.
    """

    counting: Counting
    start: int
    name: str
    key: str
    uri: str
    media_type: str
    probe: Mapping[str, Any]
    notes: tuple[str, ...]
    segments: Any
    first_picture_seconds: float
    length: int = 0
    source_length: int = 0

    def cuts(self) -> Iterator[Cut]:
        """Yield the clips in the order of the segments; each call begins again."""
        for number, (segment, place) in enumerate(zip(self.segments, self.places(), strict=True), 1):
            yield Cut(number, *place, title_of(segment, number))

    def places(self) -> Iterator[Place]:
        """Yield where each clip is, without the text that a cut has."""
        record = 0
        for start, length in self.spans():
            yield start, length, record
            record += length

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield the first frame of each clip in the source, and its length."""
        count, first = frame_counter(self.counting.rate), self.first_picture_seconds
        if self.media_type == "image":
            yield from repeat((0, count(STILL_SECONDS)), len(self.segments))
            return
        known_time, known = -math.inf, 0
        for segment in self.segments:
            start = (
                known if segment["start_time"] == known_time else max(0, count(segment["start_time"] - first))
            )
            known_time = segment["end_time"]
            known = max(0, count(known_time - first))
            yield start, max(1, known - start)


def open_timeline(items: Iterable[ExportedItem], most_frames_a_second: int | None = None) -> Timeline:
    """Return the timeline of the only one of `items`. Raises NotApplicable for an item without segments.

    With `most_frames_a_second`, faster sources are counted at a fraction of their rate.
    """
    (item,) = items
    video, timing, segments = item.document["video"], item.timing, item.document["segments"]
    if not segments:
        raise NotApplicable("it has no segments")
    rate, start, notes = timing.counted_at, timing.start_frame or 0, timing.notes
    if most_frames_a_second and rate > most_frames_a_second:
        slower = _slow_down(rate, most_frames_a_second)
        start = int(start * slower / rate)
        notes = (*notes, f"Counted at {format_rate(slower)} of {format_rate(rate)} frames a second.")
        rate = slower
    plain = Timeline(
        counting=Counting(rate, timing.drop_frame),
        start=start,
        name=one_line(video["key"].rsplit("/", 1)[-1]) or video["video_id"],
        key=one_line(video["key"]),
        uri=encode_uri(video["video_uri"]),
        media_type=video["media_type"],
        probe=video["probe"] or {},
        notes=notes,
        segments=segments,
        first_picture_seconds=timing.first_picture_seconds,
    )
    return _measure(plain, video["duration_seconds"] or 0.0)


def _measure(plain: Timeline, duration_seconds: float) -> Timeline:
    length = end = 0
    for start, lasts in plain.spans():
        length += lasts
        end = max(end, start + lasts)
    known = frame_at(max(0.0, duration_seconds - plain.first_picture_seconds), plain.counting.rate)
    return replace(plain, length=length, source_length=max(known, end))


def encode_uri(uri: str) -> str:
    """Return the address of a source as a URL; those of folders and over HTTP are encoded already."""
    scheme, separator, rest = uri.partition("://")
    if scheme in ("file", "http", "https"):
        return quote(uri, safe="%/:?&=+,;@~!$'()*#[]", errors="replace")
    return scheme + separator + quote(rest, errors="replace")


def _slow_down(rate: Fraction, most: int) -> Fraction:
    slower = (rate / divisor for divisor in range(2, 20))
    return next((each for each in slower if each <= most and is_countable(each)), None) or nearest_rate(rate)
