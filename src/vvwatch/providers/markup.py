"""Parse XML from a store without blocking other threads for long, whatever its size and shape.

A parser call holds the interpreter lock until it returns, so the text is fed in pieces. Text with more elements than
a page of a listing is rejected unparsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element, ParseError, XMLParser, XMLPullParser

_FED_CHARACTERS: Final = 1 << 14
_MOST_TAGS: Final = 1_000_000
"""A page of 5,000 objects has a third of them."""


def parse_xml(text: str) -> Element:
    """Return the root of the XML in `text`. Raises ValueError."""
    parser = XMLParser()  # noqa: S314  # without a DOCTYPE there are no entities to expand
    try:
        for piece in _split_text(text):
            parser.feed(piece)
        root: Element = parser.close()
    except ParseError as error:
        raise ValueError(f"no XML: {error}") from None
    return root


def iter_xml_events(text: str) -> Iterator[tuple[str, Element]]:
    """Yield the start and the end of each element of the XML in `text`. Raises ValueError."""
    parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
    try:
        for piece in _split_text(text):
            parser.feed(piece)
            yield from parser.read_events()  # type: ignore[misc]
        parser.close()
    except ParseError as error:
        raise ValueError(f"no XML: {error}") from None


def _split_text(text: str) -> Iterator[str]:
    if "<!DOCTYPE" in text:
        raise ValueError("it declares a document type")
    if text.count("<") > _MOST_TAGS:
        raise ValueError("more elements than a reply needs")
    return (text[start : start + _FED_CHARACTERS] for start in range(0, len(text), _FED_CHARACTERS))
