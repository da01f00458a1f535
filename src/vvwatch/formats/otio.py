"""OpenTimelineIO: the timeline as JSON, with a marker on each clip."""

from __future__ import annotations

import json
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as quote_json
from typing import Any, BinaryIO, Final

from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.timelines import Cuts, Timeline, open_timeline

_PLACE: Final = "clips"


def _write_otio(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    timeline = open_timeline(items)
    head, tail = json.dumps(_timeline_document(timeline)).split(f'["{_PLACE}"]', 1)
    reference = json.dumps(_reference_document(timeline))
    same = f'"name": {quote_json(timeline.name)}', f'"media_references": {{"DEFAULT_MEDIA": {reference}}}'
    time = f'{{"OTIO_SCHEMA": "RationalTime.1", "rate": {json.dumps(_float_rate(timeline))}, "value": '
    file.write(f"{head}[".encode())
    separator = "\n"
    for cuts, titles in timeline.titled_cuts():
        file.write(f"{separator}{_format_clips(cuts, titles, same, time, timeline.start)}".encode())
        separator = ",\n"
    file.write(f"]{tail}\n".encode())


def _timeline_document(timeline: Timeline) -> dict[str, Any]:
    """Return the timeline; its name comes last, so that nothing before the clips is text of others."""
    track = {
        "OTIO_SCHEMA": "Track.1",
        "kind": "Audio" if timeline.media_type == "audio" else "Video",
        "children": [_PLACE],
    }
    return {
        "OTIO_SCHEMA": "Timeline.1",
        "global_start_time": _time_document(timeline.start, _float_rate(timeline)),
        "tracks": {"OTIO_SCHEMA": "Stack.1", "children": [track]},
        "name": timeline.name,
        "metadata": {"vvwatch": {"notes": timeline.notes, "drop_frame": timeline.counting.drop_frame}},
    }


def _reference_document(timeline: Timeline) -> dict[str, Any]:
    rate = _float_rate(timeline)
    return {
        "OTIO_SCHEMA": "ExternalReference.1",
        "name": timeline.name,
        "target_url": timeline.uri,
        "available_range": {
            "OTIO_SCHEMA": "TimeRange.1",
            "start_time": _time_document(timeline.start, rate),
            "duration": _time_document(timeline.source_length, rate),
        },
    }


def _time_document(value: int, rate: float) -> dict[str, Any]:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": value}


def _float_rate(timeline: Timeline) -> float:
    return float(timeline.counting.rate)


def _format_clips(cuts: Cuts, titles: Iterable[str], same: tuple[str, str], time: str, first: int) -> str:
    """Return clips as JSON; `same` is what each says of its name and media, `time` how each of its times begins."""
    name, references = same
    spans = [
        f'{{"OTIO_SCHEMA": "TimeRange.1", "start_time": {time}{first + start}}}, "duration": {time}{length}}}}}'
        for start, length in zip(cuts.starts, cuts.lengths, strict=True)
    ]
    return ",\n".join(
        [
            f'{{"OTIO_SCHEMA": "Clip.2", {name}, "source_range": {span}, "markers": [{{"OTIO_SCHEMA": "Marker.2", '
            f'"name": {title}, "color": "GREEN", "marked_range": {span}}}], '
            f'"active_media_reference_key": "DEFAULT_MEDIA", {references}}}'
            for span, title in zip(spans, map(quote_json, titles), strict=True)
        ]
    )


OTIO: Final = Format("otio", ".otio", "application/json", Scope.ITEM, _write_otio)
