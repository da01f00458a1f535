"""How the nodes share the limits of an endpoint."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Float

from vvwatch.store.schema.columns import Text, count, metadata, moment

# The schedule of a processor that several nodes call: it is handed out in stretches of time.
processor_quotas = sa.Table(
    "processor_quotas",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next_at", Float, nullable=False, server_default="0"),  # the next stretch begins then
    Column("held_until", Float, nullable=False, server_default="0"),  # the endpoint asked for patience
)

# How many calls of a processor each node may have under way; it expires with a node that dies.
processor_leases = sa.Table(
    "processor_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("node", Text, primary_key=True),
    count("wants"),
    count("slots"),
    count("in_flight"),  # as of its last renewal
    moment("got_at"),  # when it last got one more: who waits longest goes first
    moment("expires_at"),
)
