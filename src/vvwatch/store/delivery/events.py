"""The outbox: an event is written in the transaction that causes it, with one delivery for each webhook."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from vvwatch.core.events import object_of
from vvwatch.store.db import event_order
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.delivery import deliveries
from vvwatch.store.models.delivery import Webhook
from vvwatch.store.schema import events, webhooks


def announce(tx: Tx, event_type: str, subject: str, index_id: str | None, data: dict[str, Any]) -> str | None:
    """Write the event and its deliveries, once per (type, subject); return its id, None if it exists already."""
    event_id = tx.new_id("evt")
    row = {
        "id": event_id,
        "type": event_type,
        "index_id": index_id,
        "occurrence": f"{event_type}:{subject}",
        "data": data,
        "place": event_order.next_place(tx),
        "created_at": tx.now,
    }
    if not tx.insert_new(events, [row]):
        return None
    listeners = _find_listeners(tx, event_type, index_id)
    for webhook in listeners:
        deliveries.create_delivery(tx, webhook, event_id, object_of(event_type, data))
    for webhook in listeners:  # deliveries are locked before webhooks, as where they end
        deliveries.feed_webhook(tx, webhook)
    return event_id


def _find_listeners(tx: Tx, event_type: str, index_id: str | None) -> list[Webhook]:
    chosen = sa.select(webhooks).where(webhooks.c.status == "active").order_by(webhooks.c.id)
    return [
        hook
        for hook in models_of(Webhook, tx.all(chosen))
        if event_type in hook.events and _covers(hook.index_ids, index_id)
    ]


def _covers(index_ids: list[str] | None, index_id: str | None) -> bool:
    """Return whether the webhook gets the index's events; events without an index reach every webhook."""
    return index_ids is None or index_id is None or index_id in index_ids
