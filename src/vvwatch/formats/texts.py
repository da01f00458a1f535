"""What the texts of results become in files of one line a title, in XML, and in captions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

_LONGEST_TITLE: Final = 200
_MOST_READ: Final = 4 * _LONGEST_TITLE
_LONGEST_CUE: Final = 4000
_LINE_ENDS: Final = re.compile("\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_UNSHOWABLE: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def titles_of(segments: Iterable[Mapping[str, Any]], first_number: int) -> list[str]:
    """Return the first line of each segment's metadata text, else "Segment 3"."""
    texts = [segment.get("metadata_text") or "" for segment in segments]
    lines = [text[:_MOST_READ].strip().partition("\n")[0].rstrip() for text in texts]
    if not ("".join(lines).isprintable() and len(max(lines, key=len)) <= _LONGEST_TITLE):
        lines = list(map(first_line, texts))
    if not all(lines):
        lines = [line or f"Segment {number}" for number, line in enumerate(lines, first_number)]
    return lines


def first_line(text: str) -> str:
    """Return the first line of `text` with something on it, shortened and without control characters."""
    line = text[:_MOST_READ].strip().partition("\n")[0].rstrip()
    if not line.isprintable():
        line = next(iter(clean_lines(text, _MOST_READ)), "")
    return line if len(line) <= _LONGEST_TITLE else line[: _LONGEST_TITLE - 1].rstrip() + "…"


def one_line(text: str) -> str:
    """Return all of `text`, such as the name of a file, in one line without control characters."""
    return " ".join(clean_lines(text))


def clean_lines(text: str, longest: int = _LONGEST_CUE) -> list[str]:
    """Return the lines of `text` that have something on them, without control characters, `longest` in all."""
    if len(text) <= longest and text.isprintable():
        return [text.strip()] if text.strip() else []
    lines = (_UNSHOWABLE.sub(" ", line).strip() for line in _LINE_ENDS.split(text.lstrip()[:longest]))
    return [line for line in lines if line]


def clean_texts(texts: Sequence[str]) -> list[str]:
    """Return the lines of `clean_lines` of each text, joined by line feeds."""
    joined = "".join(texts)
    if not joined.isprintable() or len(max(texts, key=len)) > _LONGEST_CUE:
        return [_clean_text(text) for text in texts]
    return [text.strip() for text in texts]


def _clean_text(text: str) -> str:
    if len(text) > _LONGEST_CUE or not text.replace("\n", " ").isprintable():
        return "\n".join(clean_lines(text))
    return "\n".join(filter(None, map(str.strip, text.split("\n"))))


def replace_at_once(replace: Callable[[str], str], texts: Sequence[str]) -> list[str]:
    """Return what `replace` makes of each of `texts`, which it gets together, with a NUL between them."""
    return replace("\0".join(texts)).split("\0")


def escape_all_xml(texts: Sequence[str]) -> list[str]:
    """Return `escape_xml` of each of `texts`."""
    return replace_at_once(escape_xml, texts)


def escape_xml(text: str) -> str:
    """Return `text`, which has no control characters, as content or as the value of an attribute."""
    return escape(text)
