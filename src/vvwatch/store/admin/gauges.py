"""Figures of the state as it is, for metrics: how old waiting work is, which automations fail, what was spent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.budgets import to_usd
from vvwatch.core.imports import ImportStatus
from vvwatch.store.admin import nodes
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import deliveries, exports, import_jobs, prompt_runs, spending, windows
from vvwatch.store.watching import automations

_STAGES: Final[Mapping[str, tuple[sa.Column[Any], sa.ColumnElement[bool]]]] = {
    "window": (windows.c.opened_at, windows.c.state == "open"),
    "import": (import_jobs.c.created_at, import_jobs.c.completed_at.is_(None)),
    "run": (prompt_runs.c.created_at, prompt_runs.c.completed_at.is_(None)),
    "export": (exports.c.created_at, exports.c.completed_at.is_(None)),
    "delivery": (deliveries.c.created_at, deliveries.c.completed_at.is_(None)),
}


@dataclass(frozen=True, slots=True)
class Gauges:
    """The age of the oldest unfinished piece of work by stage, active automations by id, and the nodes that work.

    `failing` says whether the last scan failed, `unproven` whether objects are missing that do not count as deleted.
    """

    oldest_seconds: dict[str, float]
    failing: dict[str, bool]
    unproven: dict[str, bool]
    nodes_up: int


def read_gauges(tx: Tx) -> Gauges:
    """Return the figures; reads unfinished work and automations, never what has ended."""
    active = [row for row, _ in automations.list_active(tx)]
    return Gauges(
        oldest_seconds={stage: _find_oldest(tx, *part) for stage, part in _STAGES.items()},
        failing={row.id: row.failing_since is not None for row in active},
        unproven={row.id: row.doubt is not None for row in active},
        nodes_up=nodes.count_up(tx),
    )


def _find_oldest(tx: Tx, began_at: sa.Column[Any], is_under_way: sa.ColumnElement[bool]) -> float:
    """Return the age in seconds, 0 without any."""
    oldest = tx.execute(sa.select(sa.func.min(began_at)).where(is_under_way)).scalar()
    return 0.0 if oldest is None else max(0.0, tx.now - oldest)


def read_spent(tx: Tx, scopes: Iterable[str]) -> dict[str, float]:
    """Return what was spent in each scope, in US dollars; a scope without calls is left out."""
    chosen = sa.select(spending.c.scope, spending.c.cost_nanousd).where(spending.c.scope.in_(list(scopes)))
    return {row.scope: to_usd(row.cost_nanousd) for row in tx.all(chosen)}


def map_last_successes(tx: Tx) -> dict[str, float]:
    """Return when an import job of each automation was last completed. Reads all import jobs."""
    ended = sa.select(import_jobs.c.automation_id, sa.func.max(import_jobs.c.completed_at).label("at"))
    done = import_jobs.c.status == ImportStatus.COMPLETED, import_jobs.c.automation_id.is_not(None)
    rows = tx.all(ended.where(*done).group_by(import_jobs.c.automation_id))
    return {row.automation_id: row.at for row in rows if row.at is not None}
