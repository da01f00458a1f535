"""The nodes, and the queue of the embedded engine."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Float, Index

from vvwatch.store.schema.columns import Integer, Text, count, document, flag, metadata, moment, text

# The queue of the embedded engine; on PostgreSQL the engine brings its own.
jobs = sa.Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("queue", Text, nullable=False),
    count("priority", 1),
    Column("ref", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("run_at", Float, nullable=False),
    count("attempt"),
    flag("running"),
)
Index("jobs_due", jobs.c.queue, jobs.c.running, jobs.c.priority, jobs.c.run_at)

# The nodes that share this database, as they last reported.
nodes = sa.Table(
    "nodes",
    metadata,
    Column("name", Text, primary_key=True),
    text("version"),
    text("address"),
    moment("started_at"),
    moment("seen_at"),
    Column("heartbeat_seconds", Float),  # silent for longer, it is lost
    document("held"),  # the pieces of work that it had under way when it was seen, by kind
    moment("missed_at"),  # when the others noticed that it is lost
)
