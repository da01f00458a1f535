"""Webhooks, their events and deliveries, and stored answers to clients."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Float, ForeignKey, Index, LargeBinary, UniqueConstraint

from vvwatch.store.schema.columns import (
    FAILED,
    Integer,
    Text,
    add_attention_index,
    add_delivery_indexes,
    add_due_index,
    add_part_index,
    add_under_way_index,
    count,
    document,
    flag,
    identifier,
    metadata,
    moment,
    text,
    work,
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    identifier(),
    text("name"),
    text("url"),
    document("events"),
    document("index_ids"),  # NULL: unrestricted
    text("status", "active"),  # active paused disabled deleted
    Column("secret", LargeBinary, nullable=False),  # encrypted
    count("failure_count"),
    Column("last_error", Text),  # why the last attempt failed
    moment("last_failure_at"),
    moment("last_success_at"),
    moment("probe_at"),  # not before then, for it failed too often; NULL: at any time
    document("metadata"),
    flag("declared"),
    Column("made_by", Text),  # the content of the request with a key that made it
    moment("created_at"),
    moment("updated_at"),
)

events = sa.Table(
    "events",
    metadata,
    identifier(),
    text("type"),
    Column("index_id", Text),
    Column("occurrence", Text, nullable=False, unique=True),  # "<type>:<subject>": announced once
    document("data"),
    count("place"),  # the order of delivery of all events: see store/db/event_order.py
    moment("created_at"),
)
Index("events_by_place", events.c.place, events.c.id)

deliveries = sa.Table(
    "deliveries",
    metadata,
    identifier(),
    Column("event_id", Text, ForeignKey("events.id"), nullable=False),
    Column("webhook_id", Text, ForeignKey("webhooks.id"), nullable=False),
    text("status", "pending"),  # pending processing delivered failed retrying
    count("attempts"),
    Column("response_status_code", Integer),
    Column("response_body", Text),
    Column("error_message", Text),
    *work(),
    text("about"),  # the object whose events reach the webhook in the order of their places
    count("place"),
    flag("held"),  # an earlier event of the object is not delivered yet
    moment("created_at"),
    moment("last_attempt_at"),
    moment("completed_at"),  # NULL: under way
    moment("dismissed_at"),  # a person has seen that it failed
    UniqueConstraint("event_id", "webhook_id"),
)
add_delivery_indexes(deliveries)
DELIVERY_NEEDS_ATTENTION = sa.and_(deliveries.c.status == FAILED, deliveries.c.dismissed_at.is_(None))
add_attention_index(deliveries, deliveries.c.completed_at, DELIVERY_NEEDS_ATTENTION)
add_part_index(deliveries, "failures", DELIVERY_NEEDS_ATTENTION, deliveries.c.id)
add_under_way_index(deliveries)
Index("deliveries_by_webhook", deliveries.c.webhook_id, deliveries.c.id)

delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    Column("delivery_id", Text, ForeignKey("deliveries.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    moment("started_at"),
    Column("duration_seconds", Float),  # NULL: the daemon died while it was under way
    Column("response_status_code", Integer),
    Column("response_body", Text),  # its first kilobyte
    Column("error_message", Text),
)
add_due_index(deliveries)

receipts = sa.Table(
    "receipts",
    metadata,
    identifier(),  # of who asked, the method, the path and the key
    Column("answer", LargeBinary, nullable=False),  # with what was asked; encrypted
    moment("made_at"),
    text("key_id"),  # the API key of who asked; empty in rows that are older than the column
    Index("receipts_key", "key_id"),
)
