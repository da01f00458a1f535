"""Captions in files of their own: which file goes with which media, and what it says.

One tolerant reader for SubRip, WebVTT and ASS: by their content, whatever their name says. It accepts old line ends,
missing numbers and blank lines, other marks before the fraction, and the encodings that editors write.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from vvwatch.core.cues import LONGEST_MARKUP, Markup, check_number, repair_cues, to_language, to_plain_text
from vvwatch.core.objects import MEDIA_TYPES, base_name
from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource, Word

SUFFIXES: Final = ("vtt", "srt", "ass", "ssa")
MOST_BYTES: Final = 8 << 20
_MARKS: Final = frozenset({"cc", "sdh", "hi", "default"})
_FORCED: Final = "forced"

# Possessive: what may be space gives none back, so that a line of spaces takes linear time.
_TIME: Final = r"(-?)\s*+(?:(\d{1,4})\s*+:\s*+)?(\d{1,4})\s*+:\s*+(\d{1,2})(?:\s*+[.,:]\s*+(\d{1,9}))?"
_TIMING: Final = re.compile(rf"\s*+{_TIME}\s*+-{{1,2}}>\s*+{_TIME}(?=\s|$)")
_STAMP: Final = re.compile(r"<((?:\d{1,4}:)?\d{1,2}:\d{2}\.\d{1,9})>")
_STAMP_TIME: Final = re.compile(_TIME)
_NUMBER: Final = re.compile(r"\s*\d{1,9}\s*")
_ASS_FIELDS: Final = "Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"
_DRAWING: Final = re.compile(r"\{[^{}]*\\p[1-9]")
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class NoCaptions(ValueError):
    """The file holds no captions; the text says why."""


@dataclass(frozen=True, slots=True, order=True)
class SidecarName:
    """What the name of a sidecar says; the first in order is the best for its media.

    One without a language comes first: it is in that of the media.
    """

    is_translated: bool
    rank: int
    key: str
    language: str | None = None


def is_sidecar(key: str) -> bool:
    """Return whether the name is that of captions."""
    stem, dot, suffix = base_name(key).rpartition(".")
    return bool(dot and stem) and suffix.lower() in SUFFIXES


def match_name(media_key: str, key: str) -> SidecarName | None:
    """Return what the name of a file says if it goes with the media: the same name, and perhaps a language."""
    if not is_sidecar(key):
        return None
    stem, _, suffix = key.rpartition(".")
    media_stem = media_key.rpartition(".")[0]
    own = next(
        (each for each in (media_key, media_stem) if each and (stem + ".").startswith(each + ".")), None
    )
    if own is None:
        return None
    parts = [part for part in stem[len(own) + 1 :].split(".") if part.lower() not in _MARKS]
    if len(parts) > 1 or any(part.lower() == _FORCED for part in parts):
        return None
    language = to_language(parts[0].replace("_", "-")) if parts and parts[0] else None
    if parts and parts[0] and language is None:
        return None
    return SidecarName(language is not None, SUFFIXES.index(suffix.lower()), key, language)


def list_media_stems(key: str) -> list[str]:
    """Return the possible names of the media of a sidecar, without their extension, the longest first."""
    stem = key.rpartition(".")[0]
    before, dot, last = stem.rpartition(".")
    if dot and last.lower() in MEDIA_TYPES:
        return [before]
    stems = [stem]
    while dot and base_name(before) and len(stems) < 4:
        stems.append(before)
        before, dot, _ = before.rpartition(".")
    return stems


def read_sidecar(name: SidecarName, data: bytes, duration_seconds: float | None) -> Transcript:
    """Return what the sidecar says. Raises NoCaptions, and TooManyCues."""
    text, encoding = _decode(data)
    kind, cues = _parse(text)
    found = repair_cues(cues, duration_seconds)
    if not found:
        raise NoCaptions(f"{base_name(name.key)} holds no captions")
    origin = f"{name.key} ({kind}, {encoding})"
    return Transcript(TranscriptSource.SIDECAR, to_plain_text(origin), name.language, found)


def _decode(data: bytes) -> tuple[str, str]:
    """Return the text and its encoding: by its mark, else UTF-8 if it is that, else that of Windows."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _unify_lines(data[len(mark) :].decode(encoding, errors="replace")), encoding
    start = data[:200]
    for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if len(zeros) >= 4 and zeros.count(0) > len(zeros) * 0.7:
            return _unify_lines(data.decode(encoding, errors="replace")), encoding
    try:
        return _unify_lines(data.decode()), "utf-8"
    except UnicodeDecodeError:
        return _unify_lines(data.decode("cp1252", errors="replace")), "windows-1252"


def _unify_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parse(text: str) -> tuple[str, Iterator[Cue]]:
    lines = text.split("\n")
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("WEBVTT"):
        return "WebVTT", _parse_timed(lines, Markup.WEBVTT)
    if first.lower() == "[script info]" or any(line.startswith("Dialogue:") for line in lines[:1000]):
        return "ASS", _parse_ass(lines)
    return "SubRip", _parse_timed(lines, Markup.SUBRIP)


def _parse_timed(lines: Sequence[str], markup: Markup) -> Iterator[Cue]:
    """Yield the cues of SubRip or WebVTT: their text follows the line with their times."""
    found = [(number, _TIMING.match(line)) for number, line in enumerate(lines) if "->" in line]
    timings = [(number, match) for number, match in found if match is not None]
    check_number(len(timings))
    has_numbers = bool(timings) and timings[0][0] > 0 and bool(_NUMBER.fullmatch(lines[timings[0][0] - 1]))
    for (number, match), (following, _) in pairwise([*timings, (len(lines), None)]):
        if match is None:
            continue
        start, end = _to_seconds(match.groups()[:5]), _to_seconds(match.groups()[5:])
        text = lines[number + 1 : following]
        if markup is Markup.WEBVTT:
            text = text[: text.index("")] if "" in text else text
        elif has_numbers and following < len(lines) and text and _NUMBER.fullmatch(text[-1]):
            text = text[:-1]
        said = "\n".join(text)[:LONGEST_MARKUP]
        words = _read_words(said, start, end) if markup is Markup.WEBVTT and "<" in said else ()
        yield Cue(start, end, to_plain_text(said, markup), tuple(words))


def _to_seconds(parts: Sequence[str | None]) -> float:
    """Return the seconds of a time. The digits behind the mark are a decimal fraction: `,5` is half a second."""
    sign, hours, minutes, seconds, fraction = parts
    total = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction or 0}")
    return -total if sign else total


def _read_words(said: str, start: float, end: float) -> Iterator[Word]:
    """Yield the words between the time stamps within a cue of WebVTT."""
    pieces = _STAMP.split(said)
    stamps = [_STAMP_TIME.fullmatch(stamp) for stamp in pieces[1::2]]
    times = [start, *(_to_seconds(stamp.groups()) for stamp in stamps if stamp), end]
    if len(pieces) == 1 or times != sorted(times):
        return
    for text, (begins, ends) in zip(pieces[::2], pairwise(times), strict=True):
        if plain := to_plain_text(text, Markup.WEBVTT):
            yield Word(begins, ends, plain)


def _parse_ass(lines: Sequence[str]) -> Iterator[Cue]:
    check_number(sum(line.startswith("Dialogue:") for line in lines))
    fields = _read_fields(_ASS_FIELDS)
    for line in lines:
        name, _, rest = line.partition(":")
        if name == "Format" and "text" in rest.lower():
            fields = _read_fields(rest)
        values = rest.split(",", len(fields) - 1)
        if name != "Dialogue" or len(values) != len(fields) or _DRAWING.search(rest):
            continue
        row = dict(zip(fields, values, strict=True))
        times = [_STAMP_TIME.fullmatch(row.get(each, "").strip()) for each in ("start", "end")]
        if times[0] is not None and times[1] is not None:
            start, end = (_to_seconds(time.groups()) for time in times if time)
            yield Cue(start, end, to_plain_text(row.get("text", ""), Markup.ASS))


def _read_fields(line: str) -> list[str]:
    return [field.strip().lower() for field in line.split(",")]
