"""Captions and chapters: WebVTT and SubRip, times in milliseconds from the start of the media."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO, Final

from vvwatch.core.transcripts import Cue
from vvwatch.formats.items import ExportedItem, Format, NotApplicable, Scope
from vvwatch.formats.texts import clean_lines, title_of

_JOINER: Final = "\u2060"
_MARKUP: Final = re.compile(r"<(?=\s*/?\s*[A-Za-z])|\{(?=\\)")


def _write_vtt(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    cues = _require_cues(items)
    file.write(b"WEBVTT\n\n")
    file.writelines(_vtt_cue(cue.start_time, cue.end_time, text) for cue, text in cues)


def _write_srt(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    for number, (cue, text) in enumerate(_require_cues(items), 1):
        span = _format_span(cue.start_time, cue.end_time, ",")
        file.write(f"{number}\n{span}\n{_srt_text(text)}\n\n".encode())


def _write_chapters(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    (item,) = items
    segments = item.document["segments"]
    if item.document["video"]["media_type"] == "image":
        raise NotApplicable("a picture has no chapters")
    if not segments:
        raise NotApplicable("it has no segments")
    file.write(b"WEBVTT\n\n")
    file.writelines(
        _vtt_cue(segment["start_time"], segment["end_time"], title_of(segment, number))
        for number, segment in enumerate(segments, 1)
    )


def _require_cues(items: Iterable[ExportedItem]) -> Iterator[tuple[Cue, str]]:
    """Return the cues with something to show, and that. Raises NotApplicable at once where there is none."""
    (item,) = items
    if item.transcript is None:
        raise NotApplicable("it has no transcript")
    shown = ((cue, text) for cue in item.transcript.cues if (text := "\n".join(clean_lines(cue.text))))
    first = next(shown, None)
    if first is None:
        raise NotApplicable("its transcript is empty")
    return chain((first,), shown)


def _format_span(start_time: float, end_time: float, point: str) -> str:
    """Return both times; each cue lasts for a millisecond at least."""
    start = max(0, round(start_time * 1000))
    end = max(start + 1, round(end_time * 1000))
    return f"{format_time(start, point)} --> {format_time(end, point)}"


def format_time(milliseconds: int, point: str = ".") -> str:
    """Return a time of captions, 00:00:01.500, with `point` before its milliseconds."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"


def _vtt_cue(start_time: float, end_time: float, text: str) -> bytes:
    """Return a cue in which nothing is markup; an escaped `>` leaves no `-->`."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{_format_span(start_time, end_time, '.')}\n{escaped}\n\n".encode()


def _srt_text(text: str) -> str:
    """Return cue text that no player takes for markup.

    SubRip has no escapes, and players show entities as they are: an invisible word joiner breaks what they would take
    for a tag, and an arrow replaces `-->`.
    """
    return _MARKUP.sub(lambda found: found[0] + _JOINER, text.replace("-->", "→"))


VTT: Final = Format("vtt", ".vtt", "text/vtt", Scope.ITEM, _write_vtt)
SRT: Final = Format("srt", ".srt", "application/x-subrip", Scope.ITEM, _write_srt)
CHAPTERS: Final = Format("chapters", ".chapters.vtt", "text/vtt", Scope.ITEM, _write_chapters)
