"""The runs of an export, with what their calls came to."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.runs import Results
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import columns, models_of
from vvwatch.store.models.delivery import Export, ExportedRun
from vvwatch.store.models.runs import Run
from vvwatch.store.schema import llm_calls, prompt_runs


def list_runs(tx: Tx, export: Export) -> list[ExportedRun]:
    """Return its only run, or the runs that had ended when it was created: the requested ones, or all with results."""
    table = prompt_runs
    ended = table.c.index_id == export.index_id, table.c.completed_at <= export.created_at
    if export.run_id:
        wanted: tuple[sa.ColumnElement[bool], ...] = (table.c.id == export.run_id,)
    elif export.prompt_run_ids:
        wanted = (*ended, table.c.id.in_(export.prompt_run_ids))
    else:
        wanted = (*ended, table.c.results == Results.KEPT)
    chosen = sa.select(*columns(Run, table), *_COST).where(*wanted)
    return models_of(ExportedRun, tx.all(chosen.order_by(table.c.id)))


def _sum_calls(name: str, what: sa.ColumnElement[Any]) -> sa.Label[Any]:
    """Return the query of the cost of a run's calls, without those of retries: it is final when the run has ended."""
    its = llm_calls.c.run_id == prompt_runs.c.id, llm_calls.c.generation == ""
    return sa.func.coalesce(sa.select(sa.func.sum(what)).where(*its).scalar_subquery(), 0).label(name)


_COST: Final = (
    _sum_calls("call_count", llm_calls.c.attempts),
    _sum_calls("input_tokens", llm_calls.c.input_tokens),
    _sum_calls("output_tokens", llm_calls.c.output_tokens),
    _sum_calls("cost_nanousd", llm_calls.c.cost_nanousd),
    _sum_calls("unpriced_call_count", sa.case((llm_calls.c.cost_nanousd.is_(None), 1), else_=0)),
)
"""Return the sums over the calls of a run."""
