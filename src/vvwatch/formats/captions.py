"""Captions and chapters: WebVTT and SubRip, times in milliseconds from the start of the media."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count, islice
from typing import Any, BinaryIO, Final

from vvwatch.core.timecode import list_minutes
from vvwatch.core.transcripts import Cue
from vvwatch.formats.items import ExportedItem, Format, NotApplicable, Scope
from vvwatch.formats.texts import clean_texts, replace_at_once, titles_of

_CUES_AT_ONCE: Final = 250
_JOINER: Final = "\u2060"
_MARKUP: Final = re.compile(r"<(?=\s*/?\s*[A-Za-z])|\{(?=\\)")
_TWO_DIGITS: Final = tuple(f"{number:02d}" for number in range(60))
_A_DAY: Final = 86_400_000


def _write_vtt(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    batches = _require_cues(items)
    file.write(b"WEBVTT\n\n")
    file.writelines(_vtt_cues(*_times_of(cues), texts) for cues, texts in batches)


def _write_srt(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    numbers = count(1)
    for cues, texts in _require_cues(items):
        spans = _format_spans(*_times_of(cues), ",")
        shown = zip(spans, replace_at_once(_break_markup, texts), numbers, strict=False)
        file.write("".join([f"{number}\n{span}\n{text}\n\n" for span, text, number in shown]).encode())


def _write_chapters(file: BinaryIO, items: Iterable[ExportedItem]) -> None:
    (item,) = items
    segments: Sequence[Mapping[str, Any]] = item.document["segments"]
    if item.document["video"]["media_type"] == "image":
        raise NotApplicable("a picture has no chapters")
    if not segments:
        raise NotApplicable("it has no segments")
    file.write(b"WEBVTT\n\n")
    remaining, first = iter(segments), 1
    while some := list(islice(remaining, _CUES_AT_ONCE)):
        starts = [segment["start_time"] for segment in some]
        ends = [segment["end_time"] for segment in some]
        file.write(_vtt_cues(starts, ends, titles_of(some, first)))
        first += len(some)


_CueBatch = tuple[list[Cue], list[str]]
"""Some cues, and what they show."""


def _require_cues(items: Iterable[ExportedItem]) -> Iterator[_CueBatch]:
    """Return the cues with something to show. Raises NotApplicable at once where there is none."""
    (item,) = items
    if item.transcript is None:
        raise NotApplicable("it has no transcript")
    batches = _iter_cues(item.transcript.cues)
    first = next(batches, None)
    if first is None:
        raise NotApplicable("its transcript is empty")
    return chain((first,), batches)


def _iter_cues(cues: Iterable[Cue]) -> Iterator[_CueBatch]:
    remaining = iter(cues)
    while some := list(islice(remaining, _CUES_AT_ONCE)):
        texts = clean_texts([cue.text for cue in some])
        if not all(texts):
            some = [cue for cue, text in zip(some, texts, strict=True) if text]
            texts = list(filter(None, texts))
        if some:
            yield some, texts


def _times_of(cues: Iterable[Cue]) -> tuple[list[float], list[float]]:
    return [cue.start_time for cue in cues], [cue.end_time for cue in cues]


def _format_spans(start_times: Iterable[float], end_times: Iterable[float], point: str) -> Iterable[str]:
    """Return both times of each cue; each lasts for a millisecond at least."""
    starts = [max(0, round(time * 1000)) for time in start_times]
    ends = [round(time * 1000) for time in end_times]
    ends = [end if end > start else start + 1 for start, end in zip(starts, ends, strict=True)]
    return map(" --> ".join, zip(_format_times(starts, point), _format_times(ends, point), strict=True))


def format_time(milliseconds: int, point: str = ".") -> str:
    """Return a time of captions, 00:00:01.500, with `point` before its milliseconds."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"


def _format_times(times: Sequence[int], point: str) -> list[str]:
    if max(times) >= _A_DAY:
        return [format_time(time, point) for time in times]
    minutes = list_minutes()
    return [
        f"{minutes[time // 60_000]}{_TWO_DIGITS[time // 1000 % 60]}{point}{time % 1000:03d}" for time in times
    ]


def _vtt_cues(start_times: Sequence[float], end_times: Sequence[float], texts: Sequence[str]) -> bytes:
    """Return cues in which nothing is markup; an escaped `>` leaves no `-->`."""
    spans = _format_spans(start_times, end_times, ".")
    shown = zip(spans, replace_at_once(_escape_vtt, texts), strict=True)
    return "".join([f"{span}\n{text}\n\n" for span, text in shown]).encode()


def _escape_vtt(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _break_markup(text: str) -> str:
    """Return cue text that no player takes for markup.

    SubRip has no escapes, and players show entities as they are: an invisible word joiner breaks what they would take
    for a tag, and an arrow replaces `-->`.
    """
    arrowed = text.replace("-->", "→")
    if "<" not in arrowed and "{" not in arrowed:
        return arrowed
    return _MARKUP.sub(lambda found: found[0] + _JOINER, arrowed)


VTT: Final = Format("vtt", ".vtt", "text/vtt", Scope.ITEM, _write_vtt)
SRT: Final = Format("srt", ".srt", "application/x-subrip", Scope.ITEM, _write_srt)
CHAPTERS: Final = Format("chapters", ".chapters.vtt", "text/vtt", Scope.ITEM, _write_chapters)
