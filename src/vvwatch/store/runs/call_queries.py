"""Queries of the model calls of a run, and of what they cost."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import columns, models_of
from vvwatch.store.models.runs import LlmCall, Run, SegmentRetry
from vvwatch.store.runs import run_queries
from vvwatch.store.schema import llm_calls


def list_calls(tx: Tx, run_id: str, after: str | None, limit: int) -> tuple[Run, Sequence[LlmCall]]:
    """Return the run and its calls in the order they began, from the one after `after`. Raises NotFound."""
    run = run_queries.get(tx, run_id)
    table = llm_calls
    wanted = table.c.run_id == run_id, table.c.id > (after or "")
    chosen = sa.select(*columns(LlmCall, table)).where(*wanted).order_by(table.c.id).limit(limit)
    return run, models_of(LlmCall, tx.all(chosen))


def sum_retry_calls(tx: Tx, retry: SegmentRetry) -> tuple[int, int, int]:
    """Return the number of ended calls of a retry, how many of them have no price, and what the others cost."""
    table = llm_calls
    mine = table.c.run_item_id == retry.run_item_id, table.c.generation == retry.id
    rows = tx.all(sa.select(table.c.cost_nanousd).where(*mine, table.c.completed_at.is_not(None)))
    costs = [row.cost_nanousd for row in rows]
    return len(costs), costs.count(None), sum(cost or 0 for cost in costs)
