"""What all formats of timelines have in common: one clip a segment, one after the other, in frames of the source.

Times are rounded to frames once, here. A clip keeps its length on both sides, and each lasts for a frame at least.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, islice
from operator import add
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from vvwatch.core.timecode import Counting, format_rate, frame_at, frame_counter, is_countable, nearest_rate
from vvwatch.formats.items import ExportedItem, NotApplicable
from vvwatch.formats.texts import one_line, titles_of

STILL_SECONDS: Final = 5
"""How long a picture is shown."""

_CUTS_AT_ONCE: Final = 250


class Cuts(NamedTuple):
    """Some clips, one after the other: their numbers from 1, and frames from the first of the source.

    `records` are frames from the first of the timeline.
    """

    numbers: range
    starts: Sequence[int]
    lengths: Sequence[int]
    records: Sequence[int]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The clips of one media item on one track.

    `start` is the number of the source's first frame, with which the timeline begins too. `starts` and `lengths` are
    those of the clips. `length` counts the frames of the timeline, `source_length` those of the source as far as
    anybody knows. `name` is that of the file.
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
    starts: array[int]
    lengths: array[int]
    length: int
    source_length: int

    def cuts(self) -> Iterator[Cuts]:
        """Yield the clips in the order of the segments, some at a time; each call begins again."""
        record = 0
        for first in range(0, len(self.lengths), _CUTS_AT_ONCE):
            lengths = self.lengths[first : first + _CUTS_AT_ONCE].tolist()
            *records, record = accumulate(lengths, initial=record)
            starts = self.starts[first : first + len(lengths)].tolist()
            yield Cuts(range(first + 1, first + len(lengths) + 1), starts, lengths, records)

    def titled_cuts(self) -> Iterator[tuple[Cuts, list[str]]]:
        """Yield the clips as `cuts` does, and their titles."""
        segments = iter(self.segments)
        for cuts in self.cuts():
            yield cuts, titles_of(islice(segments, len(cuts.numbers)), cuts.numbers[0])


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
    starts, lengths = _count_frames(item, rate)
    seconds = max(0.0, (video["duration_seconds"] or 0.0) - timing.first_picture_seconds)
    return Timeline(
        counting=Counting(rate, timing.drop_frame),
        start=start,
        name=one_line(video["key"].rsplit("/", 1)[-1]) or video["video_id"],
        key=one_line(video["key"]),
        uri=encode_uri(video["video_uri"]),
        media_type=video["media_type"],
        probe=video["probe"] or {},
        notes=notes,
        segments=segments,
        starts=starts,
        lengths=lengths,
        length=sum(lengths),
        source_length=max(frame_at(seconds, rate), *map(add, starts, lengths)),
    )


def _count_frames(item: ExportedItem, rate: Fraction) -> tuple[array[int], array[int]]:
    """Return the first frame of each segment in the source, and its length."""
    segments, first = item.document["segments"], item.timing.first_picture_seconds
    if item.document["video"]["media_type"] == "image":
        count = len(segments)
        return array("q", [0]) * count, array("q", [frame_at(STILL_SECONDS, rate)]) * count
    count_frames = frame_counter(rate)
    starts, lengths = array("q"), array("q")
    remaining = iter(segments)
    while some := list(islice(remaining, _CUTS_AT_ONCE)):
        begins = [segment["start_time"] - first for segment in some]
        ends = [segment["end_time"] - first for segment in some]
        is_gapless = begins[1:] == ends[:-1]
        outs = _clamp(count_frames(ends))
        ins = _clamp(count_frames(begins[:1])) + outs[:-1] if is_gapless else _clamp(count_frames(begins))
        starts.extend(ins)
        lengths.extend([end - start if end > start else 1 for start, end in zip(ins, outs, strict=True)])
    return starts, lengths


def _clamp(frames: list[int]) -> list[int]:
    return frames if min(frames) >= 0 else [max(0, frame) for frame in frames]


def encode_uri(uri: str) -> str:
    """Return the address of a source as a URL; those of folders and over HTTP are encoded already."""
    scheme, separator, rest = uri.partition("://")
    if scheme in ("file", "http", "https"):
        return quote(uri, safe="%/:?&=+,;@~!$'()*#[]", errors="replace")
    return scheme + separator + quote(rest, errors="replace")


def _slow_down(rate: Fraction, most: int) -> Fraction:
    slower = (rate / divisor for divisor in range(2, 20))
    return next((each for each in slower if each <= most and is_countable(each)), None) or nearest_rate(rate)
