"""How nodes share the limits of an endpoint: time slices of its schedule, and slots for calls in flight.

A slice belongs to one node, and its unused part is lost. Slots are divided again whenever a node asks; a node that
has more than its share gives slots back as its calls end.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from vvwatch.core.limits import LEASE_SECONDS, Ask, Lease, share_slots
from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.typed import model_of
from vvwatch.store.schema import processor_leases, processor_quotas

_FURTHEST_SECONDS: Final = 3_600.0
"""The latest start of a slice: after the clock is set back, older plans do not count."""


@by_locks
def grant_lease(tx: Tx, name: str, node: str, ask: Ask, most: int) -> Lease:
    """Return what the node may use from now on, given that all nodes together may have `most` calls in flight."""
    quota = _hold_calls(tx, _lock_quota(tx, name), ask.patience_seconds)
    slots = _grant_slots(tx, name, node, ask, most)
    if not ask.seconds:
        return Lease(slots, held_until=quota.held_until)
    planned = quota.next_at if quota.next_at <= tx.now + _FURTHEST_SECONDS else 0.0
    begins_at = max(tx.now + ask.after_seconds, planned, quota.held_until)
    _update_quota(tx, name, next_at=begins_at + ask.seconds)
    return Lease(slots, begins_at, begins_at + ask.seconds, quota.held_until)


@by_locks
def return_lease(tx: Tx, name: str, node: str, ends_at: float | None, unused_seconds: float) -> None:
    """Return the node's slots, and the rest of its slice if no other slice follows it."""
    quota = _lock_quota(tx, name)
    table = processor_leases.c
    tx.execute(sa.delete(processor_leases).where(table.name == name, table.node == node))
    if ends_at is not None and ends_at == quota.next_at and unused_seconds > 0:
        _update_quota(tx, name, next_at=ends_at - unused_seconds)


def count_in_flight(tx: Tx) -> dict[str, int]:
    """Return the calls in flight on all nodes by processor, at most a second old."""
    table = processor_leases.c
    held = sa.select(table.name, sa.func.sum(table.in_flight).label("calls")).where(table.expires_at > tx.now)
    return {row.name: int(row.calls) for row in tx.all(held.group_by(table.name))}


class _Quota(NamedTuple):
    """When the next slice of a processor begins, and until when its endpoint asked to wait."""

    name: str
    next_at: float
    held_until: float


def _lock_quota(tx: Tx, name: str) -> _Quota:
    """Return the processor's row, locked until this transaction ends."""
    insert = tx.upsert(processor_quotas).values(name=name).on_conflict_do_nothing()
    tx.execute(insert)
    same = sa.update(processor_quotas).where(processor_quotas.c.name == name)
    return model_of(_Quota, tx.execute(same.values(name=name).returning(processor_quotas)).one())


def _update_quota(tx: Tx, name: str, **values: float) -> None:
    tx.execute(sa.update(processor_quotas).where(processor_quotas.c.name == name).values(values))


def _hold_calls(tx: Tx, quota: _Quota, seconds: float) -> _Quota:
    """Return the processor's row after the endpoint asked to wait this long."""
    held_until = tx.now + seconds
    if not seconds or held_until <= quota.held_until:
        return quota
    table = processor_quotas
    held = sa.update(table).where(table.c.name == quota.name).values(held_until=held_until)
    return model_of(_Quota, tx.execute(held.returning(table)).one())


def _grant_slots(tx: Tx, name: str, node: str, ask: Ask, most: int) -> int:
    """Return how many calls the node may have in flight. It holds slots above its share until those calls end."""
    table = processor_leases
    tx.execute(sa.delete(table).where(table.c.name == name, table.c.expires_at <= tx.now))
    rows = {row.node: row for row in tx.all(sa.select(table).where(table.c.name == name))}
    mine = rows.pop(node, None)
    got_at = {other: row.got_at for other, row in rows.items()} | {node: mine.got_at if mine else 0.0}
    wants = {other: row.wants for other, row in rows.items()} | {node: ask.wants}
    order = sorted(wants, key=lambda each: (got_at[each], each))
    share = share_slots(most, {each: wants[each] for each in order})[node]
    slots: int = max(min(share, most - sum(row.slots for row in rows.values())), 0)
    before = mine.slots if mine else 0
    _store_lease(
        tx,
        name=name,
        node=node,
        wants=ask.wants,
        slots=max(slots, ask.in_flight),
        in_flight=ask.in_flight,
        got_at=tx.now if slots > before else got_at[node],
        expires_at=tx.now + LEASE_SECONDS,
    )
    return slots


def _store_lease(tx: Tx, **row: Any) -> None:
    keys = list(processor_leases.primary_key)
    upsert = tx.upsert(processor_leases).values(row)
    tx.execute(upsert.on_conflict_do_update(index_elements=keys, set_=row))
