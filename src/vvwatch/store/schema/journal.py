"""Durable state of an item under way: its cuts, its paid calls and their cost; and the paused processors."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Float, Index

from vvwatch.store.schema.columns import Integer, Text, count, document, identifier, metadata, moment, text

# The cuts of an item and what its processor noted. A retry (`generation`) has a row of its own, with its own note.
item_journals = sa.Table(
    "item_journals",
    metadata,
    Column("run_item_id", Integer, primary_key=True, autoincrement=False),
    Column("generation", Text, primary_key=True),  # empty: the first processing; else the id of the retry
    document("plan"),
    document("note"),
)

# What a retry has found so far. The results of an item that has ended change only when the retry ends.
retried_segments = sa.Table(
    "retried_segments",
    metadata,
    Column("run_item_id", Integer, primary_key=True, autoincrement=False),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    text("retry_id"),
    Column("start_time", Float, nullable=False),
    Column("end_time", Float, nullable=False),
    document("metadata"),
    text("metadata_text"),
    Column("warning", Text),
    Column("error", Text),
)

# Each call of a model, from the intent on. Money is in billionths of a US dollar, so that sums are exact.
llm_calls = sa.Table(
    "llm_calls",
    metadata,
    identifier(),
    Column("key", Text, nullable=False, unique=True),  # the idempotency key
    Column("step_key", Text, nullable=False, index=True),  # the same for all variants of the request
    Column("run_id", Text, nullable=False),
    Column("run_item_id", Integer, nullable=False, index=True),
    text("media_id"),
    text("processor"),
    text("generation"),
    count("ordinal"),
    text("purpose"),
    count("step"),
    text("variant"),
    text("model"),
    text("status", "started"),  # started completed failed
    count("attempts", 1),
    count("input_tokens"),
    count("output_tokens"),
    Column("cost_nanousd", Integer),  # NULL: nobody knows
    Column("reserved_nanousd", Integer),  # what a started call may cost; NULL: unknown, or it has ended
    Column("answer", Text),  # until the item ends
    Column("error", Text),
    Column("start_time", Float),
    Column("end_time", Float),
    moment("invoked_at"),
    moment("completed_at"),
)
Index("llm_calls_by_run", llm_calls.c.run_id, llm_calls.c.id)

# What was spent in a scope: an item, a run, a day or month of one processor or of all (see core.budgets).
spending = sa.Table(
    "spending",
    metadata,
    Column("scope", Text, primary_key=True),
    count("calls"),
    count("input_tokens"),
    count("output_tokens"),
    count("cost_nanousd"),
    count("unpriced_calls"),  # calls whose cost nobody knows; with them the sum is a least
    count("reserved_nanousd"),  # what calls under way may cost
)

# Processors that may not be called until something is fixed.
processor_states = sa.Table(
    "processor_states",
    metadata,
    Column("name", Text, primary_key=True),
    moment("paused_at"),  # NULL: it is not paused
    moment("until"),  # NULL: until it is fixed
    text("code"),
    text("message"),
    text("hint"),
    text("fingerprint"),  # of the configuration that was refused
)
