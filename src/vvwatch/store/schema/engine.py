"""The queue of the embedded engine."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Float, Index, Integer, Text

from vvwatch.store.schema.columns import count, flag, metadata

# The queue of the embedded engine; on PostgreSQL the engine brings its own.
jobs = sa.Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("run_at", Float, nullable=False),
    count("attempt"),
    flag("running"),
)
Index("jobs_due", jobs.c.kind, jobs.c.running, jobs.c.run_at)
