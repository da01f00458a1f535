"""Webhooks, and what they are told."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Float, ForeignKey, LargeBinary, UniqueConstraint

from vvwatch.store.schema.columns import (
    Integer,
    Text,
    count,
    document,
    due_index,
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
    text("status", "active"),  # active paused disabled
    Column("secret", LargeBinary, nullable=False),  # encrypted
    count("failure_count"),
    moment("last_failure_at"),
    moment("last_success_at"),
    document("metadata"),
    flag("declared"),
    moment("created_at"),
    moment("updated_at"),
)

events = sa.Table(
    "events",
    metadata,
    identifier(),
    text("type"),
    Column("index_id", Text),
    Column("occurrence", Text, nullable=False, unique=True),  # "<type>:<subject>": told once
    document("data"),
    moment("created_at"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    identifier(),
    Column("event_id", Text, ForeignKey("events.id"), nullable=False),
    Column("webhook_id", Text, ForeignKey("webhooks.id"), nullable=False, index=True),
    text("status", "pending"),  # pending processing delivered failed retrying
    count("attempts"),
    Column("response_status_code", Integer),
    Column("response_body", Text),
    Column("error_message", Text),
    *work(),
    moment("created_at"),
    moment("last_attempt_at"),
    moment("completed_at"),
    UniqueConstraint("event_id", "webhook_id"),
)

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
due_index(deliveries)
