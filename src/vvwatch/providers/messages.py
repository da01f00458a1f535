"""What a message of a queue comes to, and how one that cannot be used is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from vvwatch.core.changes import ObjectEvent
from vvwatch.ports import Refusal

LARGEST_BYTES: Final = (1 << 63) - 1
"""More than any object has, and as much as can be kept."""
_EXCERPT_CHARACTERS: Final = 500


class ParsedMessage(NamedTuple):
    """What a message tells: events, or why it is refused; neither when there is nothing to do about it."""

    events: tuple[ObjectEvent, ...]
    refusal: Refusal | None = None


class UnusableMessage(Exception):
    """Raised while a message is read, for one that is `malformed` or `foreign`. It does not leave the sources."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def parse_or_refuse(read: Callable[[], tuple[ObjectEvent, ...]], text: str) -> ParsedMessage:
    """What `read` makes of a message; where that is unusable the refusal, with the beginning of `text`, printable."""
    try:
        return ParsedMessage(read())
    except UnusableMessage as unusable:
        excerpt = "".join(each if each.isprintable() else " " for each in text[:_EXCERPT_CHARACTERS])
        return ParsedMessage((), Refusal(unusable.reason, str(unusable), excerpt))


def parse_each(
    items: Iterable[Any], read: Callable[[Any], tuple[ObjectEvent, ...]]
) -> tuple[ObjectEvent, ...]:
    """What the items of one message tell: a message that tells of ours and of others counts as ours.

    Raises Unusable, rather that of a malformed item, when nothing is told and one was refused.
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
    """The object at `name` in `outer`. Raises Unusable."""
    inner = outer.get(name) if isinstance(outer, dict) else None
    if not isinstance(inner, dict):
        raise UnusableMessage("malformed", f"it has no {name}")
    return inner


def parse_time(text: object) -> float | None:
    """The ISO 8601 time in `text` as epoch seconds; None for what is none, or has no zone."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        return at.timestamp() if at and at.tzinfo else None
    except (ValueError, OverflowError):
        return None
