"""The outbox: an event is written in the transaction that causes it, with one delivery for each webhook."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from vvwatch.ports import Kind
from vvwatch.store.database import Tx
from vvwatch.store.schema import deliveries, events, webhooks


def announce(tx: Tx, event_type: str, subject: str, index_id: str | None, data: dict[str, Any]) -> str | None:
    """Write the event and its deliveries, once per (type, subject); returns its id, None when told before."""
    event_id = tx.new_id("evt")
    row = {
        "id": event_id,
        "type": event_type,
        "index_id": index_id,
        "occurrence": f"{event_type}:{subject}",
        "data": data,
        "created_at": tx.now,
    }
    if not tx.insert_new(events, [row]):
        return None
    for webhook_id in _listeners(tx, event_type, index_id):
        _deliver(tx, event_id, webhook_id)
    return event_id


def _listeners(tx: Tx, event_type: str, index_id: str | None) -> list[str]:
    active = tx.all(
        sa.select(webhooks.c.id, webhooks.c.events, webhooks.c.index_ids).where(webhooks.c.status == "active")
    )
    return [hook.id for hook in active if event_type in hook.events and _covers(hook.index_ids, index_id)]


def _covers(index_ids: list[str] | None, index_id: str | None) -> bool:
    """Events without an index reach every webhook, whatever indexes it is restricted to."""
    return index_ids is None or index_id is None or index_id in index_ids


def _deliver(tx: Tx, event_id: str, webhook_id: str) -> None:
    delivery_id = tx.new_id("del")
    tx.insert(deliveries, id=delivery_id, event_id=event_id, webhook_id=webhook_id, created_at=tx.now)
    tx.put(Kind.DELIVERY, delivery_id, 0, tx.now)
