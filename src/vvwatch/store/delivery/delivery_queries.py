"""Deliveries as they are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.delivery import webhooks
from vvwatch.store.schema import deliveries, delivery_attempts, events
from vvwatch.store.schema import webhooks as webhooks_table


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery with all that its payload is made of. `attempts` is empty where only deliveries are listed."""

    delivery: sa.Row[Any]
    event: sa.Row[Any]
    webhook: sa.Row[Any]
    attempts: Sequence[sa.Row[Any]]


def get_view(tx: Tx, delivery_id: str) -> DeliveryView:
    """The delivery, attempt by attempt; raises NotFound."""
    row = tx.require(deliveries, "delivery", delivery_id)
    table = delivery_attempts
    made = tx.all(sa.select(table).where(table.c.delivery_id == delivery_id).order_by(table.c.number))
    return DeliveryView(row, _get_event(tx, row.event_id), webhooks.get(tx, row.webhook_id), made)


def list_newest(tx: Tx, webhook_id: str, status: str | None, limit: int) -> list[DeliveryView]:
    """Deliveries of a webhook, newest first; raises NotFound for the webhook."""
    webhook = webhooks.get(tx, webhook_id)
    wanted = [deliveries.c.webhook_id == webhook_id]
    wanted += [deliveries.c.status == status] if status else []
    found = tx.all(sa.select(deliveries).where(*wanted).order_by(deliveries.c.id.desc()).limit(limit))
    return [DeliveryView(row, _get_event(tx, row.event_id), webhook, ()) for row in found]


def list_by_occurrences(tx: Tx, occurrences: Sequence[str]) -> Sequence[sa.Row[Any]]:
    """Deliveries of these events, with `event_type`, `event_at` and `webhook_name`, in the order of the events."""
    columns = events.c.type.label("event_type"), events.c.created_at.label("event_at")
    chosen = (
        sa.select(deliveries, *columns, webhooks_table.c.name.label("webhook_name"))
        .join(events, events.c.id == deliveries.c.event_id)
        .join(webhooks_table, webhooks_table.c.id == deliveries.c.webhook_id)
        .where(events.c.occurrence.in_(occurrences))
    )
    return tx.all(chosen.order_by(events.c.id, deliveries.c.id))


def _get_event(tx: Tx, event_id: str) -> sa.Row[Any]:
    return tx.execute(sa.select(events).where(events.c.id == event_id)).one()
