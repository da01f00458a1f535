"""Alerts to people: what each receiver knows, and the messages on their way."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column

from vvwatch.store.schema.columns import (
    Text,
    add_due_index,
    count,
    document,
    identifier,
    metadata,
    moment,
    text,
)

# The problems that a receiver knows, reported or not; those that only one node sees are under its name.
alert_problems = sa.Table(
    "alert_problems",
    metadata,
    Column("receiver", Text, primary_key=True),
    Column("node", Text, primary_key=True),
    Column("problem", Text, primary_key=True),
    document("details"),
    moment("seen_at"),
    moment("absent_at"),  # NULL: it is there
    moment("alerted_at"),  # NULL: not reported yet
)

# Each message is stored before it is sent, and sent under its id until it is accepted or given up.
alert_messages = sa.Table(
    "alert_messages",
    metadata,
    identifier(),
    text("receiver"),
    document("body"),
    text("status", "pending"),  # pending sent failed
    count("attempts"),
    moment("next_at"),
    Column("error", Text),
    moment("created_at"),
    moment("completed_at"),
)
add_due_index(alert_messages)
sa.Index("alert_messages_of", alert_messages.c.receiver, alert_messages.c.id)
