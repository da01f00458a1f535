"""The nodes that share a database: which work, and which died. Nothing durable depends on them.

A node that stops in order removes its row. One without a heartbeat is lost: the queue gives its work to others, and
it is reported for a day, or until it is back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.typed import models_of
from vvwatch.store.schema import connectors, nodes

HEARTBEAT_SECONDS: Final = 60.0
"""The heartbeat of older versions, which do not store their own."""

REPORTED_SECONDS: Final = 86_400.0
"""How long a lost node is reported, unless it comes back."""


@dataclass(frozen=True, slots=True)
class Life:
    """What a node reports about itself; `held` is its work under way, by kind."""

    name: str
    version: str
    address: str
    started_at: float
    heartbeat_seconds: float
    held: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `lost_at` is the last heartbeat of a lost node, and `held` the work it had then.

    `waiting` are the connectors that only it can reach.
    """

    name: str
    version: str
    address: str
    started_at: float
    seen_at: float
    waiting: tuple[str, ...]
    lost_at: float | None = None
    held: Mapping[str, int] = field(default_factory=dict)

    @property
    def loss(self) -> str:
        """The sentence that reports its loss."""
        since = datetime.fromtimestamp(self.seen_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        text = f"sent no heartbeat since {since}" if self.seen_at else "was never seen"
        held = ", ".join(f"{count} {kind}" for kind, count in sorted(self.held.items()))
        text += "; its work was taken over" + (f" (it held {held})" if held else "")
        return text + (f", but only it reaches {', '.join(self.waiting)}" if self.waiting else "")

    @property
    def remedy(self) -> str:
        """How to fix its loss."""
        if self.waiting:
            return "start it, or declare another node for the folder, or shared = true"
        return "start it, or check its log for why it ended; this is shown for a day"


@by_locks
def record_life(tx: Tx, life: Life) -> float | None:
    """Store that this node works; return the last heartbeat of its previous life if that did not stop in order.

    Nodes not seen for a day are deleted. Each node changes its own row, so none waits for another.
    """
    before = tx.first(sa.select(nodes).where(nodes.c.name == life.name))
    values = {
        "version": life.version,
        "address": life.address,
        "started_at": life.started_at,
        "heartbeat_seconds": life.heartbeat_seconds,
        "held": dict(life.held),
        "seen_at": tx.now,
        "missed_at": None,
    }
    insert = tx.upsert(nodes).values(name=life.name, **values)
    tx.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))
    tx.execute(sa.delete(nodes).where(nodes.c.seen_at < tx.now - REPORTED_SECONDS))
    broken_off = before is not None and (before.started_at != life.started_at or before.missed_at is not None)
    return before.seen_at if before is not None and broken_off else None


@by_locks
def claim_lost(tx: Tx) -> list[Node]:
    """Return lost nodes that no other node has reported yet: only one caller gets each."""
    missed = sa.update(nodes).where(nodes.c.missed_at.is_(None), _silent(tx.now)).values(missed_at=tx.now)
    rows = tx.all(missed.returning(nodes))
    owned = _map_owned(tx) if rows else {}
    return [_node(row, owned, tx.now) for row in models_of(_Heartbeat, rows)]


def remove_node(tx: Tx, name: str) -> None:
    """Remove a node that stops in order."""
    tx.execute(sa.delete(nodes).where(nodes.c.name == name))


def dismiss_lost(tx: Tx, name: str) -> bool:
    """Stop reporting a lost node; False if there is none of that name."""
    return bool(tx.execute(sa.delete(nodes).where(nodes.c.name == name, _silent(tx.now))).rowcount)


def list_nodes(tx: Tx) -> list[Node]:
    """Return the nodes by name: working ones, lost ones, and those that connectors wait for."""
    owned = _map_owned(tx)
    known = {row.name: row for row in models_of(_Heartbeat, tx.all(sa.select(nodes)))}
    everybody = (
        _node(known[name], owned, tx.now) if name in known else Node(name, "", "", 0.0, 0.0, owned[name])
        for name in sorted({*known, *owned})
    )
    return [node for node in everybody if node.waiting or node.seen_at > tx.now - REPORTED_SECONDS]


def list_lost(tx: Tx) -> list[Node]:
    """Return the nodes that are lost or that connectors wait for."""
    return [node for node in list_nodes(tx) if node.lost_at is not None or node.waiting]


def count_lost(tx: Tx) -> int:
    """Return how many nodes are lost."""
    recent = nodes.c.seen_at > tx.now - REPORTED_SECONDS
    return int(tx.execute(sa.select(sa.func.count()).where(_silent(tx.now), recent)).scalar_one())


def count_up(tx: Tx) -> int:
    """Return how many nodes work; without a table of nodes, this one."""
    return max(1, int(tx.execute(sa.select(sa.func.count()).where(sa.not_(_silent(tx.now)))).scalar_one()))


def _silent(now: float) -> sa.ColumnElement[bool]:
    return nodes.c.seen_at < now - sa.func.coalesce(nodes.c.heartbeat_seconds, HEARTBEAT_SECONDS)


def _map_owned(tx: Tx) -> dict[str, tuple[str, ...]]:
    """Return the connectors that only one node can reach, by node."""
    owned: dict[str, tuple[str, ...]] = {}
    chosen = sa.select(connectors.c.node, connectors.c.id).where(connectors.c.node != "")
    for row in tx.all(chosen.order_by(connectors.c.id)):
        owned[row.node] = (*owned.get(row.node, ()), row.id)
    return owned


@dataclass(frozen=True, slots=True)
class _Heartbeat:
    """A row of the table of nodes."""

    name: str
    version: str
    address: str
    started_at: float
    seen_at: float
    heartbeat_seconds: float | None
    held: dict[str, int] | None
    missed_at: float | None


def _node(row: _Heartbeat, owned: Mapping[str, tuple[str, ...]], now: float) -> Node:
    works = row.seen_at >= now - (row.heartbeat_seconds or HEARTBEAT_SECONDS)
    life = row.name, row.version, row.address, row.started_at, row.seen_at
    return Node(*life, ()) if works else Node(*life, owned.get(row.name, ()), row.seen_at, row.held or {})
