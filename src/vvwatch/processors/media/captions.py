"""Reads the captions that a container holds beside its pictures and sound, or in them, as cues of plain text.

The packets are read here: no decoder of FFmpeg sees them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.subtitles.stream import SubtitleStream

from vvwatch.core.cues import MOST_CUES, Markup, TooManyCues, repair_cues, to_language, to_plain_text
from vvwatch.core.transcripts import Cue
from vvwatch.processors.media.hidden_captions import read_caption_track, read_hidden_captions
from vvwatch.processors.media.opening import DECODER_FAILURES, Medium, check_not_storage

_MARKUP: Final[Mapping[str, Markup]] = {
    "mov_text": Markup.NONE,
    "text": Markup.NONE,
    "subrip": Markup.SUBRIP,
    "srt": Markup.SUBRIP,
    "ass": Markup.ASS,
    "ssa": Markup.ASS,
    "webvtt": Markup.WEBVTT,
}
_LINE_21: Final = "cc_dec"
_ASS_FIELDS: Final = 8
"""The fields before the text of an ASS packet."""

_MOST_TRACKS: Final = 32
_LONGEST_NAME: Final = 100


def read_captions(
    medium: Medium, duration_seconds: float | None, report: Callable[[float], None]
) -> dict[str, Any]:
    """Return `origin`, `language` and `cues` of the best track that says something, or `why` there is none.

    The default track is best, then the first; forced tracks translate only signs and foreign speech, so they are no
    transcript. Last come captions in the pictures. Raises StorageUnavailable.
    """
    tracks: list[SubtitleStream] = list(medium.container.streams.subtitles)[:_MOST_TRACKS]
    length = duration_seconds if duration_seconds is not None else medium.duration_seconds
    found, reasons = _read_tracks(medium, tracks, length, report)
    if found is None:
        found, why = _read_pictures(medium, length, report, is_moved=bool(tracks))
        reasons += [why] if why else []
    return {"why": "; ".join(dict.fromkeys(reasons)) or "no caption track"} if found is None else found


def _read_tracks(
    medium: Medium, tracks: Sequence[SubtitleStream], length: float | None, report: Callable[[float], None]
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the answer of the best track, else why none has one."""
    readable = [track for track in tracks if _is_readable(track)]
    whole = [track for track in readable if not track.disposition & Disposition.forced]
    reasons = [_describe_unreadable(track) for track in tracks if track not in readable]
    reasons += ["only forced captions"] if readable and not whole else []
    whole.sort(key=lambda track: not track.disposition & Disposition.default)
    packets = _read_packets(medium, whole, report)
    for track in whole:
        try:
            channel, cues = _read_track(medium, track, packets[track])
            repaired = repair_cues(cues, length)
        except TooManyCues as error:
            reasons.append(f"track {track.index}: {error}")
            continue
        if repaired:
            title = to_plain_text(track.metadata.get("title", ""))[:_LONGEST_NAME]
            parts = f"track {track.index}", channel or _codec_name(track), title
            return _to_answer(", ".join(filter(None, parts)), to_language(track.language), repaired), []
        reasons.append(f"track {track.index} is empty")
    return None, reasons


def _read_track(
    medium: Medium, track: SubtitleStream, packets: Iterable[Packet[Any]]
) -> tuple[str, Iterable[Cue]]:
    """Return the name of the channel, if there are several, and the cues of a track."""
    if _codec_name(track) == _LINE_21:
        return _choose_channel(read_caption_track(medium, track, packets))
    return "", chain.from_iterable(_read_cue(medium, track, one) for one in packets)


def _choose_channel(channels: Mapping[str, list[Cue]]) -> tuple[str, list[Cue]]:
    """Return the name and the cues of the first channel, which is that of the programme's own language."""
    name = next(iter(channels), "")
    return f"EIA-608 {name}".strip(), channels.get(name, [])


def _read_pictures(
    medium: Medium, length: float | None, report: Callable[[float], None], *, is_moved: bool
) -> tuple[dict[str, Any] | None, str]:
    """Return the answer of the captions in the pictures, else why there is none; "" where nothing hints at any."""
    try:
        found = read_hidden_captions(medium, report, is_moved=is_moved)
        channel, cues = _choose_channel(found or {})
        repaired = repair_cues(cues, length)
    except TooManyCues as error:
        return None, f"captions in the pictures: {error}"
    if repaired:
        return _to_answer(f"in the pictures, {channel}", None, repaired), ""
    return None, "" if found is None else "the pictures carry captions that say nothing"


def _to_answer(origin: str, language: str | None, cues: tuple[Cue, ...]) -> dict[str, Any]:
    said = [(cue.start_time, cue.end_time, cue.text) for cue in cues]
    return {"origin": origin, "language": language, "cues": said}


def _codec_name(track: SubtitleStream) -> str:
    # A stream of an unknown codec has no context, despite the annotation.
    context: Any = track.codec_context
    return "unknown" if context is None else str(context.name)


def _is_readable(track: SubtitleStream) -> bool:
    return _find_markup(track) is not None or _codec_name(track) == _LINE_21


def _find_markup(track: SubtitleStream) -> Markup | None:
    return _MARKUP.get(_codec_name(track))


def _describe_unreadable(track: SubtitleStream) -> str:
    return f"track {track.index} is {_codec_name(track)}, which holds no text that can be read here"


def _read_packets(
    medium: Medium, tracks: list[SubtitleStream], report: Callable[[float], None]
) -> dict[Stream, list[Packet[Any]]]:
    """Return the packets of the tracks, read in one pass that skips pictures and sound."""
    found: dict[Stream, list[Packet[Any]]] = {track: [] for track in tracks}
    for stream in medium.container.streams:
        stream.discard = Discard.default if stream in found else Discard.all
    try:
        for packet in medium.container.demux(*tracks) if tracks else ():
            report((packet.pos or 0) / max(1, medium.source.size))
            packets = found[packet.stream]
            if packet.pts is not None and packet.size and len(packets) <= MOST_CUES:
                packets.append(packet)
    except MemoryError:
        raise
    except DECODER_FAILURES as error:
        check_not_storage(error)
    return found


def _read_cue(medium: Medium, track: SubtitleStream, packet: Packet[Any]) -> Iterator[Cue]:
    tick = float(track.time_base or 0)
    start = (packet.pts or 0) * tick - medium.origin_seconds
    end = start + packet.duration * tick if packet.duration else math.inf
    markup = _find_markup(track) or Markup.NONE
    yield Cue(start, end, to_plain_text(_read_text(bytes(packet), _codec_name(track)), markup))


def _read_text(content: bytes, codec: str) -> str:
    """Return the marked-up text of a packet."""
    if codec == "mov_text":  # its length comes first, its styles last
        content = content[2 : 2 + int.from_bytes(content[:2], "big")]
        if content[:2] in {b"\xfe\xff", b"\xff\xfe"}:
            return content.decode("utf-16", errors="replace")
    text = content.decode(errors="replace")
    if codec in {"ass", "ssa"}:
        return text.split(",", _ASS_FIELDS)[-1]
    return text
