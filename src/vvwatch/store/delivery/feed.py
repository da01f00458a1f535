"""List events in the order of delivery; `store.db.event_order` explains why none is missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa

from vvwatch.store.db import event_order
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.delivery import Event
from vvwatch.store.schema import events


class Position(NamedTuple):
    """The position of an event; positions compare in the order of delivery."""

    place: int
    event_id: str


FIRST: Final = Position(-1, "evt_0")
"""Before every event."""


class Tail(NamedTuple):
    """The newest event that may be delivered, and whether no others have to wait."""

    position: Position
    whole: bool


def position_of(event: Event) -> Position:
    """Return the position of an event."""
    return Position(event.place, event.id)


def get_tail(tx: Tx) -> Tail:
    """Return the newest deliverable event."""
    newest = _find_newest(tx, _is_visible(tx))
    return Tail(newest, newest == _find_newest(tx, []))


def find_position(tx: Tx, event_id: str) -> Position | None:
    """Return the position of an event, if no later one was deleted.

    None also for an unknown event: it was deleted, or belongs to another installation.
    """
    dropped = event_order.last_dropped(tx)
    if event_id == FIRST.event_id:
        return None if dropped else FIRST
    row = tx.first(sa.select(events.c.place, events.c.id).where(events.c.id == event_id))
    return None if row is None or row.place <= dropped else Position(row.place, row.id)


def list_after(tx: Tx, after: Position, limit: int) -> list[Event]:
    """Return the next events after `after`; a reader that continues from the last of them misses none."""
    later = sa.tuple_(events.c.place, events.c.id) > sa.tuple_(
        sa.literal(after.place), sa.literal(after.event_id)
    )
    chosen = sa.select(events).where(later, *_is_visible(tx))
    return models_of(Event, tx.all(chosen.order_by(events.c.place, events.c.id).limit(limit)))


def _is_visible(tx: Tx) -> list[sa.ColumnElement[bool]]:
    bound = event_order.safe_bound(tx)
    return [] if bound is None else [events.c.place < bound]


def _find_newest(tx: Tx, wanted: Sequence[sa.ColumnElement[bool]]) -> Position:
    newest = sa.select(events.c.place, events.c.id).where(*wanted)
    row = tx.first(newest.order_by(events.c.place.desc(), events.c.id.desc()).limit(1))
    return FIRST if row is None else Position(row.place, row.id)
