"""Object events from a queue: each concerns one key; they may be late, repeated and out of order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vvwatch.core.objects import StorageObject

_MOST_KEYS: Final = 100_000


class EventKind(StrEnum):
    """The kind of change."""

    CREATED = "created"
    REMOVED = "removed"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """One change of one object, from one message.

    `keys` are the possible readings of its key, likeliest first: stores encode keys differently. `found` is the
    object if the event holds its whole identity, None if a lookup is needed. `sequencer` orders the events of one key
    (see `Order`); empty: no order.
    """

    kind: EventKind
    keys: tuple[str, ...]
    found: StorageObject | None = None
    sequencer: str = ""


class Order:
    """The last sequencer of the latest 100,000 keys. It only saves work; correctness never depends on it."""

    def __init__(self, most: int = _MOST_KEYS) -> None:
        self._most = most
        self._last: dict[str, str] = {}

    def is_overtaken(self, event: ObjectEvent) -> bool:
        """Return whether a later event of the key came before; otherwise record this one as the latest.

        Sequencers of one key compare as texts after zero-padding the shorter one on the right (as the
        stores that number their events document). An equal one is a repetition and not overtaken.
        """
        if not event.sequencer or len(event.keys) != 1:
            return False
        key = event.keys[0]
        last = self._last.pop(key, "")
        width = max(len(last), len(event.sequencer))
        overtaken = event.sequencer.ljust(width, "0") < last.ljust(width, "0")
        self._last[key] = last if overtaken else event.sequencer
        if len(self._last) > self._most:
            del self._last[next(iter(self._last))]
        return overtaken
