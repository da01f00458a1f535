"""Edit decision lists (CMX3600): clips with the markers of Avid, and the marker lists of Resolve."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import BinaryIO, Final

from vvwatch.core.timecode import format_rate
from vvwatch.formats.items import ExportedItem, Format, NotApplicable, Scope
from vvwatch.formats.timelines import Timeline, open_timeline

_MOST_EVENTS: Final = 999
_MOST_FRAMES: Final = 60
_REEL_LETTERS: Final = 8
_KEPT_TEXTS: Final = 8
_RESERVED_REELS: Final = frozenset({"", "AX", "BL"})


def _write_edl(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    timeline = _open_list(items)
    file.writelines(line.encode() for line in (*_head(timeline), *_events(timeline)))


def _write_marker_list(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    timeline = _open_list(items)
    file.writelines(line.encode() for line in (*_head(timeline), *_markers(timeline)))


def _open_list(items: Iterable[ExportedItem]) -> Timeline:
    timeline = open_timeline(items, _MOST_FRAMES)
    if len(timeline.segments) > _MOST_EVENTS:
        raise NotApplicable(
            f"an EDL holds {_MOST_EVENTS} events, it has {len(timeline.segments)} segments: take otio, fcp7 or fcpxml"
        )
    if timeline.length > timeline.counting.frames_a_day:
        raise NotApplicable("an EDL counts 24 hours, and its segments last longer: take otio, fcp7 or fcpxml")
    return timeline


def _head(timeline: Timeline) -> Iterator[str]:
    yield f"TITLE: {timeline.name}\n"
    yield f"FCM: {'DROP FRAME' if timeline.counting.drop_frame else 'NON-DROP FRAME'}\n\n"


def _remarks(timeline: Timeline) -> str:
    """Return comments for the first event: some readers refuse comments before it."""
    said = (f"{format_rate(timeline.counting.rate)} frames a second.", *timeline.notes)
    return "".join(f"* {remark}\n" for remark in said)


def _events(timeline: Timeline) -> Iterator[str]:
    """Yield an event a segment; a marker stands at its start, by the clock of the record."""
    edit = _format_edit(_reel_name(timeline), "A" if timeline.media_type == "audio" else "V")
    names = f"* FROM CLIP NAME: {timeline.name}\n* SOURCE FILE: {timeline.key}\n"
    to_text, first, remarks = (
        lru_cache(_KEPT_TEXTS)(timeline.counting.to_text),
        timeline.start,
        _remarks(timeline),
    )
    for cut in timeline.cuts():
        source, record = first + cut.start, first + cut.record
        starts = to_text(record)
        yield (
            f"{cut.number:03d}{edit}{to_text(source)} {to_text(source + cut.length)} "
            f"{starts} {to_text(record + cut.length)}\n{names}* LOC: {starts} GREEN   {cut.title}\n{remarks}\n"
        )
        remarks = ""


def _markers(timeline: Timeline) -> Iterator[str]:
    """Yield a marker a segment, at the times of the source: for a timeline that holds all of it."""
    edit = _format_edit("001", "V")
    to_text, first, remarks = timeline.counting.to_text, timeline.start, _remarks(timeline)
    for cut in timeline.cuts():
        times = f"{to_text(first + cut.start)} {to_text(first + cut.start + 1)}"
        title = cut.title.replace("|", "¦")
        yield (
            f"{cut.number:03d}{edit}{times} {times}\n"
            f" |C:ResolveColorBlue |M:{title} |D:{cut.length}\n{remarks}\n"
        )
        remarks = ""


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
