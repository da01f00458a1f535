"""Queries of processors: which are paused, their calls today, and which runs wait for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from vvwatch.core.budgets import day_scope
from vvwatch.core.runs import ItemStatus
from vvwatch.errors import BudgetReached, ProcessorUnavailable
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.runs import PausedProcessor, ScopeSpending, WaitingRun
from vvwatch.store.runs import processor_states, quotas, spending
from vvwatch.store.schema import prompt_runs, run_items

_MOST_WAITING: Final = 50
_WAIT_CODES: Final = (BudgetReached.code, ProcessorUnavailable.code)
"""Error codes of waiting items. Items of a paused processor are reported with the pause."""


@dataclass(frozen=True, slots=True)
class Figures:
    """By processor: its pause, its calls today, its calls in flight; `spent` is by scope."""

    paused: Mapping[str, PausedProcessor]
    today: Mapping[str, ScopeSpending]
    in_flight: Mapping[str, int]
    spent: Mapping[str, ScopeSpending]


def read_figures(tx: Tx, names: Iterable[str], scopes: Iterable[str]) -> Figures:
    """Return the figures of these processors, and what was spent in these scopes."""
    days = {day_scope(tx.now, name): name for name in names}
    spent = spending.read_spending(tx, {*days, *scopes})
    return Figures(
        paused={row.name: row for row in processor_states.list_paused(tx)},
        today={name: spent[scope] for scope, name in days.items() if scope in spent},
        in_flight=quotas.count_in_flight(tx),
        spent=spent,
    )


@dataclass(frozen=True, slots=True)
class Blocked:
    """Paused processors, and runs that wait for a processor."""

    paused: Sequence[PausedProcessor]
    waiting: Sequence[WaitingRun]


def read_blocked(tx: Tx) -> Blocked:
    """Return what processors hold up. Runs of a paused processor are not listed again."""
    paused = processor_states.list_paused(tx)
    item, names = run_items.c, [row.name for row in paused]
    waiting = (
        sa.select(
            item.run_id,
            prompt_runs.c.processor,
            item.error_code.label("code"),
            sa.func.min(item.error_message).label("message"),
            sa.func.count().label("items"),
            sa.func.min(item.next_at).label("next_at"),
        )
        .join(prompt_runs, prompt_runs.c.id == item.run_id)
        .where(item.next_at > tx.now, item.status == ItemStatus.PENDING, item.error_code.in_(_WAIT_CODES))
        .where(prompt_runs.c.processor.not_in(names))
        .group_by(item.run_id, prompt_runs.c.processor, item.error_code)
    )
    rows = tx.all(waiting.order_by(item.run_id).limit(_MOST_WAITING))
    return Blocked(paused, models_of(WaitingRun, rows))
