"""Edit decision lists (CMX3600): clips with the markers of Avid, and the marker lists of Resolve."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import add
from typing import BinaryIO, Final

from vvwatch.core.timecode import format_rate
from vvwatch.formats.items import ExportedItem, Format, NotApplicable, Scope
from vvwatch.formats.timelines import Timeline, open_timeline

_MOST_EVENTS: Final = 999
_MOST_FRAMES: Final = 60
_REEL_LETTERS: Final = 8
_RESERVED_REELS: Final = frozenset({"", "AX", "BL"})


def _write_edl(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    timeline = _open_list(items)
    file.writelines(text.encode() for text in (_head(timeline), *_events(timeline)))


def _write_marker_list(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    timeline = _open_list(items)
    file.writelines(text.encode() for text in (_head(timeline), *_markers(timeline)))


def _open_list(items: Iterable[ExportedItem]) -> Timeline:
    timeline = open_timeline(items, _MOST_FRAMES)
    if len(timeline.segments) > _MOST_EVENTS:
        raise NotApplicable(
            f"an EDL holds {_MOST_EVENTS} events, it has {len(timeline.segments)} segments: take otio, fcp7 or fcpxml"
        )
    if timeline.length > timeline.counting.frames_a_day:
        raise NotApplicable("an EDL counts 24 hours, and its segments last longer: take otio, fcp7 or fcpxml")
    return timeline


def _head(timeline: Timeline) -> str:
    counting = "DROP FRAME" if timeline.counting.drop_frame else "NON-DROP FRAME"
    return f"TITLE: {timeline.name}\nFCM: {counting}\n\n"


def _remarks(timeline: Timeline) -> str:
    """Return comments for the first event: some readers refuse comments before it."""
    said = (f"{format_rate(timeline.counting.rate)} frames a second.", *timeline.notes)
    return "".join(f"* {remark}\n" for remark in said)


def _events(timeline: Timeline) -> Iterator[str]:
    """Yield an event a segment, many at a time; a marker stands at its start, by the clock of the record."""
    edit = _format_edit(_reel_name(timeline), "A" if timeline.media_type == "audio" else "V")
    names = f"* FROM CLIP NAME: {timeline.name}\n* SOURCE FILE: {timeline.key}\n* LOC: "
    remarks = _remarks(timeline)
    for cuts, titles in timeline.titled_cuts():
        begins, ends = _format_spans(timeline, cuts.records, cuts.lengths)
        is_same = cuts.starts == cuts.records
        ins, outs = (begins, ends) if is_same else _format_spans(timeline, cuts.starts, cuts.lengths)
        columns = zip(cuts.numbers, ins, outs, begins, ends, titles, strict=True)
        events = [
            f"{number:03d}{edit}{start} {end} {begin} {stop}\n{names}{begin} GREEN   {title}\n"
            for number, start, end, begin, stop, title in columns
        ]
        events[0] += remarks
        remarks = ""
        yield "\n".join((*events, ""))


def _markers(timeline: Timeline) -> Iterator[str]:
    """Yield a marker a segment, many at a time, at the times of the source: for a timeline that holds all of it."""
    edit, remarks = _format_edit("001", "V"), _remarks(timeline)
    for cuts, titles in timeline.titled_cuts():
        ins, outs = _format_spans(timeline, cuts.starts, repeat(1))
        columns = zip(cuts.numbers, ins, outs, titles, cuts.lengths, strict=True)
        markers = [
            f"{number:03d}{edit}{start} {end} {start} {end}\n"
            f" |C:ResolveColorBlue |M:{title.replace('|', '¦')} |D:{length}\n"
            for number, start, end, title, length in columns
        ]
        markers[0] += remarks
        remarks = ""
        yield "\n".join((*markers, ""))


def _format_spans(
    timeline: Timeline, starts: Sequence[int], lengths: Iterable[int]
) -> tuple[Sequence[str], Sequence[str]]:
    """Return the timecodes of first frames, and of the frames behind the last."""
    begins = [timeline.start + start for start in starts]
    ends = list(map(add, begins, lengths))
    if begins[1:] == ends[:-1]:  # one clip follows another
        texts = timeline.counting.to_texts([*begins, ends[-1]])
        return texts[:-1], texts[1:]
    return timeline.counting.to_texts(begins), timeline.counting.to_texts(ends)


def _format_edit(reel: str, track: str) -> str:
    return f"  {reel:{_REEL_LETTERS}} {track:5} C        "


def _reel_name(timeline: Timeline) -> str:
    """Return a reel of eight letters: the file's name if it fits, else its start and a mark of the whole key."""
    stem = timeline.name.rpartition(".")[0] or timeline.name
    plain = re.sub(r"[^A-Z0-9_]", "", stem.upper())
    if plain == stem.upper() and len(plain) <= _REEL_LETTERS and plain not in _RESERVED_REELS:
        return plain
    return plain[:3] + hashlib.sha256(timeline.uri.encode()).hexdigest()[: _REEL_LETTERS - 3].upper()


EDL: Final = Format("edl", ".edl", "text/plain", Scope.ITEM, _write_edl)
EDL_RESOLVE: Final = Format("edl_resolve", ".resolve.edl", "text/plain", Scope.ITEM, _write_marker_list)
