"""Cues that come from files or models: text without markup, and times that can be true."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from vvwatch.core.transcripts import Cue, Word

MOST_CUES: Final = 100_000
MOST_CHARACTERS: Final = 8_000_000
LONGEST_MARKUP: Final = 20_000
"""So many characters of a cue are read with their markup."""

_LONGEST_TEXT: Final = 2_000
_LONGEST_WORD: Final = 200
_LONGEST_LANGUAGE: Final = 35
_USUAL_SECONDS: Final = 5.0
"""How long a cue lasts that states no end and has none after it."""


_TOO_MANY: Final = f"more than {MOST_CUES:,} cues or {MOST_CHARACTERS:,} characters"


class Markup(StrEnum):
    """How a text is marked up."""

    NONE = "none"
    SUBRIP = "subrip"
    WEBVTT = "webvtt"
    ASS = "ass"


class TooManyCues(ValueError):
    """There is more text than any media can say."""


_BRACES: Final = re.compile(r"\{[^{}]*\}")
_BRACED_OVERRIDES: Final = re.compile(r"\{\\[^{}]*\}")
_ANY_TAG: Final = re.compile(r"<[^<>]*>")
_LINE_TAG: Final = re.compile(r"<\s*+br\s*+(?:/\s*+)?>", re.IGNORECASE)
_NO_CHARACTER: Final = re.compile(r"&#\d{20,};?")
_KNOWN_TAG: Final = re.compile(r"</?\s*(?:i|b|u|s|c|v|font|lang|ruby|rt|span)\b[^<>]*>", re.IGNORECASE)
_MAY_BE_MARKUP: Final = re.compile(r"[<&{\\]")
_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]+")
_SPACES: Final = re.compile(r"[^\S\n]+")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


def check_number(cues: int) -> None:
    """Raise TooManyCues for more cues than are kept, before any of them is read."""
    if cues > MOST_CUES:
        raise TooManyCues(_TOO_MANY)


def to_plain_text(text: str, markup: Markup = Markup.NONE) -> str:
    """Return `text` without markup, control characters and empty lines, and no longer than a cue may be.

    A character that is escaped stays: `&lt;b&gt;` is `<b>` in the result.
    """
    # Most are one line without control characters.
    is_plain = text.isprintable() and "  " not in text and len(text) < _LONGEST_TEXT
    if is_plain and (markup is Markup.NONE or not _MAY_BE_MARKUP.search(text)):
        return text.strip()
    text = text[:LONGEST_MARKUP]
    if markup is Markup.ASS:
        text = _BRACES.sub("", text).replace(r"\N", "\n").replace(r"\n", "\n").replace(r"\h", " ")
    elif markup is Markup.SUBRIP:
        text = _KNOWN_TAG.sub("", _LINE_TAG.sub("\n", _BRACED_OVERRIDES.sub("", text)))
    elif markup is Markup.WEBVTT:
        text = _ANY_TAG.sub("", _LINE_TAG.sub("\n", text))
    if markup in {Markup.SUBRIP, Markup.WEBVTT}:
        text = html.unescape(_NO_CHARACTER.sub("\ufffd", text))
    text = _NO_TEXT.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " "))
    lines = (line.strip() for line in _SPACES.sub(" ", text).split("\n"))
    return "\n".join(filter(None, lines))[:_LONGEST_TEXT].strip()


def to_language(code: str | None) -> str | None:
    """Return a language code; None for none, for "undetermined", and for what is no code."""
    code = (code or "").strip()
    is_code = len(code) <= _LONGEST_LANGUAGE and _LANGUAGE.fullmatch(code)
    return code if is_code and code.lower() not in {"und", "mis", "mul", "zxx"} else None


def repair_cues(cues: Iterable[Cue], duration_seconds: float | None) -> tuple[Cue, ...]:
    """Return the cues in order of time, none before zero, behind the end, reversed, or over the next.

    Cues that begin together are one with several lines; one that lasts into the next ends there. An end that nobody
    knows is infinite. Raises TooManyCues.
    """
    last = math.inf if duration_seconds is None else round(duration_seconds, 3)
    repaired: list[Cue] = []
    for cue in _in_order(cues, last):
        before = repaired[-1] if repaired else None
        if before is not None and cue.start_time <= before.start_time:
            repaired[-1] = _merge(before, cue)
            continue
        if before is not None:
            repaired[-1] = _end_before(before, cue.start_time)
        repaired.append(cue)
    if repaired:
        repaired[-1] = _end_before(repaired[-1], last)
    return tuple(
        Cue(cue.start_time, cue.end_time, cue.text, tuple(_keep_words(cue))) if cue.words else cue
        for cue in repaired
    )


def _end_before(cue: Cue, limit: float) -> Cue:
    """Return the cue with an end that is known and not behind `limit`."""
    end = cue.start_time + _USUAL_SECONDS if math.isinf(cue.end_time) else cue.end_time
    return Cue(cue.start_time, round(min(end, limit), 3), cue.text, cue.words)


def _in_order(cues: Iterable[Cue], last: float) -> list[Cue]:
    found: list[Cue] = []
    characters = 0
    for cue in cues:
        start, end = sorted((cue.start_time, cue.end_time))
        start, end = round(max(0.0, start), 3), end if math.isinf(end) else round(min(end, last), 3)
        if not cue.text or not start < min(end, last):
            continue
        characters += len(cue.text)
        if len(found) >= MOST_CUES or characters > MOST_CHARACTERS:
            raise TooManyCues(_TOO_MANY)
        found.append(Cue(start, end, cue.text, cue.words))
    return sorted(found, key=lambda cue: (cue.start_time, cue.end_time))


def _merge(one: Cue, other: Cue) -> Cue:
    is_full = len(one.text) >= _LONGEST_TEXT and not other.words
    if is_full or other.text in one.text.split("\n"):
        return Cue(one.start_time, max(one.end_time, other.end_time), one.text, one.words)
    text = f"{one.text}\n{other.text}"[:_LONGEST_TEXT]
    words = one.words if len(one.words) > _LONGEST_TEXT else one.words + other.words
    return Cue(one.start_time, max(one.end_time, other.end_time), text, words)


def _keep_words(cue: Cue) -> Iterable[Word]:
    """Yield the words that are said within the cue."""
    for word in cue.words:
        start = round(max(cue.start_time, word.start_time), 3)
        end = round(min(cue.end_time, word.end_time), 3)
        text = to_plain_text(word.text)[:_LONGEST_WORD]
        if text and start <= end:
            yield Word(start, end, text)
