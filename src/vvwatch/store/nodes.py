"""The nodes that share a database: who works, and who was not seen for a while. Nothing durable rests on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.store.database import Tx
from vvwatch.store.schema import connectors, nodes

MISSING_SECONDS: Final = 60.0
"""A node that was not seen for this long counts as gone."""

_FORGOTTEN_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Node:
    """A node; `waiting` are the connectors that only it reaches and that wait for it, because it is gone."""

    name: str
    version: str
    address: str
    started_at: float
    seen_at: float
    waiting: tuple[str, ...]


def note(tx: Tx, name: str, version: str, address: str, started_at: float) -> None:
    """Keep that this node works; who was not seen for a day is forgotten."""
    values = {"version": version, "address": address, "started_at": started_at, "seen_at": tx.now}
    insert = tx.upsert(nodes).values(name=name, **values)
    tx.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))
    tx.execute(sa.delete(nodes).where(nodes.c.seen_at < tx.now - _FORGOTTEN_SECONDS))


def leave(tx: Tx, name: str) -> None:
    """The node ends in order."""
    tx.execute(sa.delete(nodes).where(nodes.c.name == name))


def present(tx: Tx) -> list[Node]:
    """The nodes by name: those that work, and those that others wait for."""
    owned = tx.all(sa.select(connectors.c.node, connectors.c.id).where(connectors.c.node != ""))
    known = {row.name: row for row in tx.all(sa.select(nodes))}
    names = sorted({*known, *(row.node for row in owned)})
    everybody = (_node(name, known.get(name), owned, tx.now) for name in names)
    return [node for node in everybody if node.waiting or not _is_gone(node.seen_at, tx.now)]


def _node(name: str, row: sa.Row[Any] | None, owned: Sequence[sa.Row[Any]], now: float) -> Node:
    if row is None:
        return Node(name, "", "", 0.0, 0.0, _connectors(owned, name))
    waiting = _connectors(owned, name) if _is_gone(row.seen_at, now) else ()
    return Node(name, row.version, row.address, row.started_at, row.seen_at, waiting)


def _connectors(owned: Sequence[sa.Row[Any]], name: str) -> tuple[str, ...]:
    return tuple(sorted(each.id for each in owned if each.node == name))


def _is_gone(seen_at: float, now: float) -> bool:
    return seen_at < now - MISSING_SECONDS
