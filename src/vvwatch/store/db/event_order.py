"""In which order events are told: so that whoever has heard one never misses any that comes before it.

Events become visible when their transactions commit, and those that run at once commit in any order. A reader who
asks for what lies behind the last place it saw must therefore never see a place before all smaller ones are there,
or are sure never to come.

SQLite has one writer, so the order of places is that of commits: each event has the next number. (The newest event
is always kept, so that no number is given again.)

PostgreSQL has many. There the place is the id of the transaction, and only what is older than every transaction that
still runs is told (`bound`: the snapshot's xmin): an id is given once, in order, and all smaller ones have committed
and are visible, or never will be. Ids belong to a cluster of servers; `PLACES` with its name remembers what to add to
them, so that in another cluster places go on from where a copy of the events left off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.schema import events, facts

PLACES: Final = "places@"
"""How the facts are called that belong to one cluster of servers, and not to what is in the database."""

_DROPPED: Final = "events_dropped"  # the largest place of them

_CLUSTER: Final = sa.literal(PLACES) + sa.text("(SELECT system_identifier::text FROM pg_control_system())")


def next_place(tx: Tx) -> int:
    """The place of the next event of this transaction."""
    if tx.conn.dialect.name == "postgresql":
        tx.place = _of_transaction(tx) if tx.place is None else tx.place
    else:
        tx.place = _largest(tx) + 1 if tx.place is None else tx.place + 1
    return tx.place


def safe_bound(tx: Tx) -> int | None:
    """Only smaller places may be told to a reader of this snapshot; None: all that it sees."""
    if tx.conn.dialect.name != "postgresql":
        return None
    oldest = _number(sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot()))
    running = tx.execute(sa.select(oldest.label("oldest"), _lead().label("lead"))).one()
    return None if running.lead is None else int(running.oldest) + int(running.lead)


def note_dropped(tx: Tx, gone: Sequence[int]) -> None:
    """Events of these places are no more: up to the largest, whoever goes on from a place may miss something."""
    if gone and max(gone) > last_dropped(tx):
        values = {"name": _DROPPED, "value": str(max(gone)).encode()}
        tx.execute(
            tx.upsert(facts).values(values).on_conflict_do_update(index_elements=["name"], set_=values)
        )


def last_dropped(tx: Tx) -> int:
    """The largest place of which an event was dropped; 0 when none was."""
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
    """By how much places are ahead of the cluster's transaction ids."""
    return sa.select(facts.c.value).where(facts.c.name == _CLUSTER).scalar_subquery()


def _number(identifier: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.cast(sa.cast(identifier, sa.Text), sa.BigInteger)


def _largest(tx: Tx) -> int:
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(events.c.place), 0))).scalar_one())
