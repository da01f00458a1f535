"""The order of events: a reader that continues from a place never misses an event before it.

Events become visible when their transactions commit, and concurrent transactions commit in any order. A reader that
asks for events after the last place it saw must not see a place before all smaller ones are visible or sure never
to exist.

SQLite has one writer, so places follow commits: each event has the next number. (The newest event is always kept, so
that no number is reused.)

PostgreSQL has many. There the place is the transaction id, and readers only get events older than every running
transaction (`safe_bound`: the snapshot's xmin): ids are given once, in order, and all smaller ones have committed or
never will. Ids belong to a server cluster; `PLACES` with the cluster's name stores an offset, so places continue
when the events are copied to another cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.schema import events, facts

PLACES: Final = "places@"
"""The prefix of facts that belong to one server cluster, not to the data."""

_DROPPED: Final = "events_dropped"  # the largest place of them

_CLUSTER: Final = sa.literal(PLACES) + sa.text("(SELECT system_identifier::text FROM pg_control_system())")


def next_place(tx: Tx) -> int:
    """Return the place of the next event of this transaction."""
    if tx.conn.dialect.name == "postgresql":
        tx.place = _of_transaction(tx) if tx.place is None else tx.place
    else:
        tx.place = _largest(tx) + 1 if tx.place is None else tx.place + 1
    return tx.place


def safe_bound(tx: Tx) -> int | None:
    """Return the bound below which a reader of this snapshot may get events; None: no bound."""
    if tx.conn.dialect.name != "postgresql":
        return None
    oldest = _number(sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot()))
    running = tx.execute(sa.select(oldest.label("oldest"), _lead().label("lead"))).one()
    return None if running.lead is None else int(running.oldest) + int(running.lead)


def note_dropped(tx: Tx, gone: Sequence[int]) -> None:
    """Note that events of these places were deleted: readers that continue from before the largest may miss some."""
    if gone and max(gone) > last_dropped(tx):
        values = {"name": _DROPPED, "value": str(max(gone)).encode()}
        tx.execute(
            tx.upsert(facts).values(values).on_conflict_do_update(index_elements=["name"], set_=values)
        )


def last_dropped(tx: Tx) -> int:
    """Return the largest place of a deleted event, or 0."""
    value = tx.execute(sa.select(facts.c.value).where(facts.c.name == _DROPPED)).scalar()
    return int(value or 0)


def _of_transaction(tx: Tx) -> int:
    mine = _number(sa.func.pg_current_xact_id())
    asked = sa.select(mine.label("mine"), _CLUSTER.label("cluster"), _lead().label("lead"))
    row = tx.execute(asked).one()
    if row.lead is not None:
        return int(row.mine) + int(row.lead)
    lead = _largest(tx) + 1 - int(row.mine)
    tx.insert(facts, name=row.cluster, value=str(lead).encode())
    return int(row.mine) + lead


def _lead() -> sa.ScalarSelect[Any]:
    """Return the offset of places over the cluster's transaction ids."""
    return sa.select(facts.c.value).where(facts.c.name == _CLUSTER).scalar_subquery()


def _number(identifier: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.cast(sa.cast(identifier, sa.Text), sa.BigInteger)


def _largest(tx: Tx) -> int:
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(events.c.place), 0))).scalar_one())
