"""Results of parsing queue messages, and rejections of unusable ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from vvwatch.core.changes import ObjectEvent
from vvwatch.ports import Refusal

LARGEST_BYTES: Final = (1 << 63) - 1
"""More than any object has, and the most that the database can hold."""
_EXCERPT_CHARACTERS: Final = 500


class ParsedMessage(NamedTuple):
    """The events of a message, or why it is rejected; neither if there is nothing to do."""

    events: tuple[ObjectEvent, ...]
    refusal: Refusal | None = None


class UnusableMessage(Exception):
    """Raised while parsing a `malformed` or `foreign` message. It stays within the providers."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def parse_or_refuse(read: Callable[[], tuple[ObjectEvent, ...]], text: str) -> ParsedMessage:
    """Return the result of `read`; for an unusable message the refusal, with a printable excerpt of `text`."""
    try:
        return ParsedMessage(read())
    except UnusableMessage as unusable:
        excerpt = "".join(each if each.isprintable() else " " for each in text[:_EXCERPT_CHARACTERS])
        return ParsedMessage((), Refusal(unusable.reason, str(unusable), excerpt))


def parse_each(
    items: Iterable[Any], read: Callable[[Any], tuple[ObjectEvent, ...]]
) -> tuple[ObjectEvent, ...]:
    """Return the events of all items; a message about our location and others counts as ours.

    Raises UnusableMessage, preferably for a malformed item, if no item gives an event and one was unusable.
    """
    events: list[ObjectEvent] = []
    refused: list[UnusableMessage] = []
    for item in items:
        try:
            events += read(item)
        except UnusableMessage as unusable:
            refused.append(unusable)
    if refused and not events:
        raise min(refused, key=lambda each: each.reason != "malformed")
    return tuple(events)


def require_mapping(outer: Any, name: str) -> dict[str, Any]:
    """Return the object at `name` in `outer`. Raises UnusableMessage."""
    inner = outer.get(name) if isinstance(outer, dict) else None
    if not isinstance(inner, dict):
        raise UnusableMessage("malformed", f"it has no {name}")
    return inner


def parse_time(text: object) -> float | None:
    """Return the ISO 8601 time in `text` as epoch seconds; None without a time or a zone."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        return at.timestamp() if at and at.tzinfo else None
    except (ValueError, OverflowError):
        return None
