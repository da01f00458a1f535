"""Match the messages of one batch with automations. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from vvwatch.core.changes import EventKind, ObjectEvent, Order
from vvwatch.core.locations import check_key
from vvwatch.errors import InvalidInput
from vvwatch.ports import Hint, Message
from vvwatch.store.catalog.subscribers import WatchedPrefix
from vvwatch.store.watching.quarantine import RefusedMessage

_MAX_DESCRIBED: Final = 20
_UNKEYED: Final = "names no key that an object could have"
_UNMATCHED: Final = "no automation watches its location"


@dataclass(slots=True)
class MatchedBatch:
    """The result for a batch: `hints` by automation.

    `wanted` has for each message the automations that must follow it before it may be deleted; perhaps none.
    `refused` are the messages that nobody takes, and why.
    """

    hints: dict[str, Hint] = field(default_factory=dict)
    wanted: list[tuple[Message, frozenset[str]]] = field(default_factory=list)
    refused: list[tuple[Message, RefusedMessage]] = field(default_factory=list)


def match_messages(
    messages: Iterable[Message], places: Iterable[WatchedPrefix], order: Order
) -> MatchedBatch:
    """Match messages, in the order in which they came, with the places of their connector.

    A message that only inactive automations want may be deleted: they list everything when they resume. An event that
    a later one of its key has overtaken adds nothing.
    """
    matching = _Matcher(_PrefixLookup(places), order)
    for message in messages:
        matching.add(message)
    matching.batch.hints = matching.hints()
    return matching.batch


class _PrefixLookup:
    """Finds the places that a key lies in, however many there are."""

    def __init__(self, places: Iterable[WatchedPrefix]) -> None:
        self._find_places: dict[str, list[WatchedPrefix]] = defaultdict(list)
        for place in places:
            self._find_places[place.prefix].append(place)
        self._lengths = sorted({len(prefix) for prefix in self._find_places})

    def of(self, key: str) -> Iterator[WatchedPrefix]:
        for length in self._lengths:
            yield from self._find_places.get(key[:length], ())


class _Matcher:
    def __init__(self, prefixes: _PrefixLookup, order: Order) -> None:
        self.batch = MatchedBatch()
        self._prefixes = prefixes
        self._order = order
        self._latest: dict[tuple[str, ...], ObjectEvent] = {}

    def add(self, message: Message) -> None:
        refusal = message.refusal
        events = [event for each in message.events if (event := _with_valid_keys(each))]
        found = [place for event in events for place in self._find_places(event)]
        if refusal is not None:
            self._refuse(message, refusal.reason, refusal.detail, refusal.excerpt)
        elif message.events and not events:
            self._refuse(message, "malformed", _UNKEYED, _describe_events(message.events))
        elif events and not found:
            self._refuse(message, "unmatched", _UNMATCHED, _describe_events(events))
        else:
            wanting = frozenset(place.automation_id for place in found if place.active)
            self.batch.wanted.append((message, wanting))
            for event in events:
                self._gather(event)

    def hints(self) -> dict[str, Hint]:
        found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for event in self._latest.values():
            for key in event.keys:
                name, item = _to_hint_part(event, key)
                for place in self._prefixes.of(key):
                    if place.active:
                        found[place.automation_id][name].append(item)
        return {
            automation_id: Hint(**{name: tuple(items) for name, items in parts.items()})
            for automation_id, parts in found.items()
        }

    def _find_places(self, event: ObjectEvent) -> Iterator[WatchedPrefix]:
        for key in event.keys:
            yield from self._prefixes.of(key)

    def _gather(self, event: ObjectEvent) -> None:
        if not self._order.is_overtaken(event):
            self._latest[event.keys] = _choose_later(self._latest.get(event.keys), event)

    def _refuse(self, message: Message, reason: str, detail: str, excerpt: str) -> None:
        self.batch.refused.append((message, RefusedMessage(message.id, reason, detail, excerpt)))


def _with_valid_keys(event: ObjectEvent) -> ObjectEvent | None:
    """Return the event with the spellings of its key that an object can have; None without one."""
    keys = tuple(key for key in event.keys if _is_valid_key(key))
    return event if keys == event.keys else replace(event, keys=keys) if keys else None


def _is_valid_key(key: str) -> bool:
    try:
        check_key(key)
    except InvalidInput:
        return False
    return True


def _choose_later(known: ObjectEvent | None, event: ObjectEvent) -> ObjectEvent:
    """Return the later of two events of one key; if that is unknown, one that makes us ask the store."""
    if known is None or known == event or event.sequencer:
        return event
    kind = EventKind.REMOVED if EventKind.REMOVED in (known.kind, event.kind) else event.kind
    return replace(event, kind=kind, found=None)


def _to_hint_part(event: ObjectEvent, key: str) -> tuple[str, Any]:
    """Return the field of a hint for the event, and its item."""
    if event.kind is EventKind.REMOVED:
        return "removed", key
    return ("keys", key) if event.found is None else ("objects", event.found)


def _describe_events(events: Sequence[ObjectEvent]) -> str:
    return "\n".join(
        f"{event.kind} {event.keys[0] if event.keys else ''}" for event in events[:_MAX_DESCRIBED]
    )
