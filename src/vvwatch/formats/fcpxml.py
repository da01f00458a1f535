"""Final Cut Pro's XML: all times are whole frames, written as rational seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO, Final

from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.texts import escape_all_xml, escape_xml
from vvwatch.formats.timelines import Cuts, Timeline, open_timeline

_USUAL_SIZE: Final = (1920, 1080)


def _write_fcpxml(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    timeline = open_timeline(items)
    name, rate = escape_xml(timeline.name), timeline.counting.rate
    first = 0 if timeline.media_type == "image" else timeline.start
    element = "video" if timeline.media_type == "image" else "asset-clip"
    attributes = f'ref="r2" name="{name}"'
    if element == "asset-clip":
        attributes += f' tcFormat="{_timecode_format(timeline)}"'
    file.write(_format_head(timeline).encode())
    firsts, frame = (timeline.start, first), (rate.denominator, rate.numerator)
    for cuts, titles in timeline.titled_cuts():
        clips = _format_clips(cuts, titles, element, attributes, firsts, frame)
        file.write(clips.encode())
    file.write(b"</spine></sequence></project></event></library>\n</fcpxml>\n")


def _format_clips(
    cuts: Cuts,
    titles: Sequence[str],
    element: str,
    attributes: str,
    firsts: tuple[int, int],
    frame: tuple[int, int],
) -> str:
    """Return clips; `firsts` are the first frames of the timeline and of the source, `frame` lasts for a fraction."""
    record_first, source_first = firsts
    ticks, each = frame
    records = [(record_first + record) * ticks for record in cuts.records]
    starts = [(source_first + start) * ticks for start in cuts.starts]
    columns = zip(records, starts, cuts.lengths, escape_all_xml(titles), strict=True)
    return "".join(
        [
            f'<{element} {attributes} offset="{record}/{each}s" start="{start}/{each}s" '
            f'duration="{length * ticks}/{each}s">'
            f'<marker start="{start}/{each}s" duration="{ticks}/{each}s" value="{title}"/></{element}>\n'
            for record, start, length, title in columns
        ]
    )


def _format_head(timeline: Timeline) -> str:
    name, notes = escape_xml(timeline.name), escape_xml(" ".join(timeline.notes))
    length, start = _format_time(timeline, timeline.length), _format_time(timeline, timeline.start)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n<fcpxml version="1.8">\n'
        f"<resources>{_format_resources(timeline)}</resources>\n"
        f'<library><event name="{name}"><project name="{name}">'
        f'<sequence format="r1" duration="{length}" tcStart="{start}" tcFormat="{_timecode_format(timeline)}">'
        f"{f'<note>{notes}</note>' if notes else ''}<spine>\n"
    )


def _format_resources(timeline: Timeline) -> str:
    """Return the format of the timeline and the source; a picture has a format of its own, without a rate."""
    probe, kind = timeline.probe, timeline.media_type
    width, height = probe.get("width"), probe.get("height")
    size = (width, height) if width and height else _USUAL_SIZE
    shape = f'width="{size[0]}" height="{size[1]}"'
    start, lasts = _format_time(timeline, timeline.start), _format_time(timeline, timeline.source_length)
    still = ""
    tracks = 'hasVideo="1" format="r1"'
    if kind == "image":
        start = lasts = "0s"
        still, tracks = (
            f'<format id="r3" name="FFVideoFormatRateUndefined" {shape}/>',
            'hasVideo="1" format="r3"',
        )
    sound = ""
    if probe.get("audio_codec"):
        sample_rate = f' audioRate="{probe["sample_rate"]}"' if probe.get("sample_rate") else ""
        sound = f' hasAudio="1" audioSources="1" audioChannels="{probe.get("channels") or 1}"{sample_rate}'
    if kind == "audio":
        tracks = ""
    return (
        f'<format id="r1" frameDuration="{_format_time(timeline, 1)}" {shape}/>{still}'
        f'<asset id="r2" name="{escape_xml(timeline.name)}" src="{escape_xml(timeline.uri)}" start="{start}" '
        f'duration="{lasts}" {tracks}{sound}/>'
    )


def _format_time(timeline: Timeline, frames: int) -> str:
    rate = timeline.counting.rate
    return f"{frames * rate.denominator}/{rate.numerator}s"


def _timecode_format(timeline: Timeline) -> str:
    return "DF" if timeline.counting.drop_frame else "NDF"


FCPXML: Final = Format("fcpxml", ".fcpxml", "application/xml", Scope.ITEM, _write_fcpxml)
