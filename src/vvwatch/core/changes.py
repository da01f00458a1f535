"""What a queue tells of objects: events, each about one key, late, repeated and out of order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vvwatch.core.objects import StorageObject

_MOST_KEYS: Final = 100_000


class EventKind(StrEnum):
    """What happened to an object."""

    CREATED = "created"
    REMOVED = "removed"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """What one message says of one object.

    `keys` are the ways in which its key may be meant, the likeliest first: stores encode keys differently. `found`
    is the object, where the event tells its whole identity as a listing would; None: it has to be looked up.
    `sequencer` orders the events of one key (see `Order`); empty: it tells no order.
    """

    kind: EventKind
    keys: tuple[str, ...]
    found: StorageObject | None = None
    sequencer: str = ""


class Order:
    """The last sequencer of each key, of the latest 100,000 keys. It spares work; nothing rests on it."""

    def __init__(self, most: int = _MOST_KEYS) -> None:
        self._most = most
        self._last: dict[str, str] = {}

    def is_overtaken(self, event: ObjectEvent) -> bool:
        """Whether a later event of its key came before; else it is the latest from now on.

        Sequencers of one key compare as texts once the shorter one is filled up with zeros on its right (S3's
        documentation of `sequencer`); an equal one is a repetition and not overtaken.
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
