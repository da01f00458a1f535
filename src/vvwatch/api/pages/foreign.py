"""Text and documents that others wrote: names, messages, metadata. Pages show all of it and obey none of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_MOST_ROWS: Final = 100
_LONGEST: Final = 2_000
_KEPT: Final = frozenset("\n\t")


def make_visible(text: object) -> str:
    """Return a text in which characters without a shape of their own, such as a change of direction, stand as codes."""
    given = str(text)
    cut = given if len(given) <= _LONGEST else f"{given[:_LONGEST]}… ({len(given):,} characters)"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() or c in _KEPT else f"[U+{ord(c):04X}]" for c in cut)


def flatten(document: Any) -> list[tuple[str, str]]:
    """Return the leaves of a JSON document, each with its dotted name; the first hundred of them."""
    found: list[tuple[str, str]] = []
    for name, value in _walk("", document):
        if len(found) == _MOST_ROWS:
            return [*found, ("…", "and more: see the API")]
        found.append((name, value))
    return found


def _walk(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value):
        for number, inner in enumerate(value, 1):
            yield from _walk(f"{name}.{number}" if name else str(number), inner)
    elif isinstance(value, list):
        yield name, ", ".join(map(_say, value))
    elif value is not None:
        yield name, _say(value)


def _say(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
