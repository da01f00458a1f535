"""Final Cut Pro 7's XML, which Premiere reads: markers and cuts in frames of the media, its timecode beside them.

Pictures that have sound are linked with it, clip by clip, so that an editor places both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import BinaryIO, Final

from vvwatch.formats.items import ExportedItem, Format, Scope
from vvwatch.formats.texts import escape_all_xml, escape_xml
from vvwatch.formats.timelines import Cuts, Timeline, open_timeline

_SAME_FILE: Final = '<file id="file-1"/>'


def _write_fcp7(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    timeline = open_timeline(items)
    kind = "audio" if timeline.media_type == "audio" else "video"
    has_sound_beside = kind == "video" and bool(timeline.probe.get("audio_codec"))
    head = _format_clip_head(timeline)
    source = f'<file id="file-1">{_format_file(timeline)}</file>'
    file.write(_format_head(timeline, kind).encode())
    for cuts, titles in timeline.titled_cuts():
        file.write(_format_clips(cuts, titles, head, source, is_linked=has_sound_beside).encode())
        source = _SAME_FILE
    file.write(f"</track></{kind}>".encode())
    if has_sound_beside:
        file.write(_format_sound_head(timeline).encode())
        file.writelines(_format_sounds(cuts, head).encode() for cuts in timeline.cuts())
        file.write(b"</track></audio>")
    file.write(b"</media>\n</sequence>\n</xmeml>\n")


def _format_links(number: int) -> str:
    """Return what makes one clip of pictures and their sound: editors move and cut both together."""
    return (
        f"<link><linkclipref>clipitem-{number}</linkclipref></link>"
        f"<link><linkclipref>sound-{number}</linkclipref></link>"
    )


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


def _format_clip_head(timeline: Timeline) -> str:
    """Return what all clips say alike."""
    name, length = escape_xml(timeline.name), timeline.source_length
    return f"<name>{name}</name><duration>{length}</duration>{_format_rate(timeline)}"


def _format_clips(cuts: Cuts, titles: Sequence[str], head: str, source: str, *, is_linked: bool) -> str:
    """Return clips; the `source` of the first describes the media, which all others only name."""
    sources = chain((source,), repeat(_SAME_FILE))
    columns = zip(*cuts, sources, escape_all_xml(titles), strict=False)
    return "".join(
        [
            f'<clipitem id="clipitem-{number}">{head}<start>{record}</start><end>{record + length}</end>'
            f"<in>{start}</in><out>{start + length}</out>{file}{_format_links(number) if is_linked else ''}"
            f"<marker><name>{title}</name><comment/><in>{start}</in><out>-1</out></marker></clipitem>\n"
            for number, start, length, record, file, title in columns
        ]
    )


def _format_sound_head(timeline: Timeline) -> str:
    rate = timeline.probe.get("sample_rate")
    shape = f"<samplecharacteristics><samplerate>{rate}</samplerate></samplecharacteristics>" if rate else ""
    return f"\n<audio>{f'<format>{shape}</format>' if shape else ''}<track>\n"


def _format_sounds(cuts: Cuts, head: str) -> str:
    """Return the sound of clips; the markers are on their pictures."""
    track = f"{_SAME_FILE}<sourcetrack><mediatype>audio</mediatype><trackindex>1</trackindex></sourcetrack>"
    return "".join(
        [
            f'<clipitem id="sound-{number}">{head}<start>{record}</start><end>{record + length}</end>'
            f"<in>{start}</in><out>{start + length}</out>{track}{_format_links(number)}</clipitem>\n"
            for number, start, length, record in zip(*cuts, strict=True)
        ]
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
