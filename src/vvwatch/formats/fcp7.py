"""Final Cut Pro 7's XML, which Premiere reads: markers and cuts in frames of the media, its timecode beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Final

from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.texts import escape_xml
from vvwatch.formats.timelines import Cut, Timeline, open_timeline


def _write_fcp7(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    timeline = open_timeline(items)
    kind = "audio" if timeline.media_type == "audio" else "video"
    name, rate, whole = escape_xml(timeline.name), _format_rate(timeline), _format_file(timeline)
    file.write(_format_head(timeline, kind).encode())
    file.writelines(
        _format_clip(cut, name, rate, timeline.source_length, whole if cut.number == 1 else "").encode()
        for cut in timeline.cuts()
    )
    file.write(f"</track></{kind}></media>\n</sequence>\n</xmeml>\n".encode())


def _format_head(timeline: Timeline, kind: str) -> str:
    notes = escape_xml(" ".join(timeline.notes).replace("--", "-"))
    shape = f"<samplecharacteristics>{_format_rate(timeline)}{_format_size(timeline)}</samplecharacteristics>"
    form = f"<format>{shape}</format>" if kind == "video" else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE xmeml>\n<xmeml version="4">\n'
        f"{f'<!-- {notes} -->' if notes else ''}\n"
        f'<sequence id="sequence-1"><name>{escape_xml(timeline.name)}</name><duration>{timeline.length}</duration>\n'
        f"{_format_rate(timeline)}{_format_timecode(timeline)}\n"
        f"<media><{kind}>{form}<track>\n"
    )


def _format_clip(cut: Cut, name: str, rate: str, source_length: int, file: str) -> str:
    """Return a clip; `file` describes the media, which later clips only name."""
    source = f'<file id="file-1">{file}</file>' if file else '<file id="file-1"/>'
    return (
        f'<clipitem id="clipitem-{cut.number}"><name>{name}</name><duration>{source_length}</duration>{rate}'
        f"<start>{cut.record}</start><end>{cut.record + cut.length}</end>"
        f"<in>{cut.start}</in><out>{cut.start + cut.length}</out>{source}"
        f"<marker><name>{escape_xml(cut.title)}</name><comment/><in>{cut.start}</in><out>-1</out></marker></clipitem>\n"
    )


def _format_file(timeline: Timeline) -> str:
    probe, has_pictures = timeline.probe, timeline.media_type != "audio"
    pictures = f"<video><samplecharacteristics>{_format_size(timeline)}</samplecharacteristics></video>"
    sound = f"<audio><channelcount>{probe.get('channels') or 1}</channelcount></audio>"
    path = escape_xml(timeline.uri.replace("file:///", "file://localhost/", 1))
    return (
        f"<name>{escape_xml(timeline.name)}</name><pathurl>{path}</pathurl>{_format_rate(timeline)}"
        f"<duration>{timeline.source_length}</duration>{_format_timecode(timeline)}"
        f"<media>{pictures if has_pictures else ''}{sound if probe.get('audio_codec') else ''}</media>"
    )


def _format_rate(timeline: Timeline) -> str:
    ntsc = "FALSE" if timeline.counting.rate.denominator == 1 else "TRUE"
    return f"<rate><timebase>{timeline.counting.nominal}</timebase><ntsc>{ntsc}</ntsc></rate>"


def _format_timecode(timeline: Timeline) -> str:
    counting, start = timeline.counting, timeline.start
    return (
        f"<timecode>{_format_rate(timeline)}<string>{counting.to_text(start)}</string><frame>{start}</frame>"
        f"<displayformat>{'DF' if counting.drop_frame else 'NDF'}</displayformat></timecode>"
    )


def _format_size(timeline: Timeline) -> str:
    width, height = timeline.probe.get("width"), timeline.probe.get("height")
    return f"<width>{width}</width><height>{height}</height>" if width and height else ""


FCP7: Final = Format("fcp7", ".fcp7.xml", "application/xml", Scope.ITEM, _write_fcp7)
