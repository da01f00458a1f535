"""Invariants of segment counts and of paid calls."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.money import CallStatus
from vvwatch.core.runs import ItemStatus, Results
from vvwatch.store.schema import (
    deletions,
    llm_calls,
    media,
    prompt_runs,
    run_items,
    segment_results,
    segment_retries,
    spending,
)

_ANY_MONTH: Final = sa.literal("month:____-__", literal_execute=True)
_UNENDED: Final = ItemStatus.PENDING, ItemStatus.PROCESSING
_ITEM: Final = sa.literal("item:", literal_execute=True)
_RUN: Final = sa.literal("run:", literal_execute=True)


def miscounted_items() -> sa.Select[Any]:
    """Select ended items that miscount their segments, unless those are being deleted."""
    results, items = segment_results, run_items
    found = (
        sa.select(
            results.c.run_item_id, sa.func.count().label("all"), sa.func.count(results.c.error).label("bad")
        )
        .group_by(results.c.run_item_id)
        .subquery()
    )
    own = items.c.segment_count, items.c.failed_segment_count
    there = sa.func.coalesce(found.c.all, 0), sa.func.coalesce(found.c.bad, 0)
    gone = deletions.c.resource_id.in_((media.c.id, media.c.index_id, prompt_runs.c.index_id))
    return (
        sa.select(items.c.id)
        .join(prompt_runs, prompt_runs.c.id == items.c.run_id)
        .join(media, media.c.id == items.c.media_id)
        .outerjoin(found, found.c.run_item_id == items.c.id)
        .where(
            items.c.status.not_in(_UNENDED),
            prompt_runs.c.results == Results.KEPT,
            ~sa.exists().where(gone),
            sa.or_(*(a != b for a, b in zip(own, there, strict=True))),
        )
    )


def open_calls() -> sa.Select[Any]:
    """Select unsettled calls, and calls with a stored answer, whose item or retry has ended."""
    calls = llm_calls
    is_open = sa.or_(calls.c.status == CallStatus.STARTED, calls.c.answer.is_not(None))
    going = sa.or_(
        sa.exists().where(run_items.c.id == calls.c.run_item_id, run_items.c.status.in_(_UNENDED)),
        sa.exists().where(
            segment_retries.c.id == calls.c.generation, segment_retries.c.completed_at.is_(None)
        ),
    )
    return sa.select(calls.c.id).where(is_open, ~going)


def miscounted_spending() -> sa.Select[Any]:
    """Select items whose spending differs from their calls, runs that count less, and months that reserve too much."""
    return sa.union_all(_of_items(), _of_runs(), _of_months()).subquery().select()


def _of_items() -> sa.Select[Any]:
    calls = llm_calls
    summed = _summed(calls.c.run_item_id)
    scope = _ITEM + sa.cast(summed.c.whole, sa.Text)
    own = spending.c.calls, spending.c.cost_nanousd, spending.c.reserved_nanousd, spending.c.unpriced_calls
    there = summed.c.calls, summed.c.cost, summed.c.reserved, summed.c.unpriced
    differs = sa.or_(spending.c.scope.is_(None), *(a != b for a, b in zip(own, there, strict=True)))
    return (
        sa.select(scope.label("scope"))
        .outerjoin_from(summed, spending, spending.c.scope == scope)
        .where(differs)
    )


def _of_runs() -> sa.Select[Any]:
    """Select runs that count less than their calls. Calls of deleted items are gone but still counted."""
    summed = _summed(llm_calls.c.run_id)
    scope = _RUN + summed.c.whole
    less = spending.c.cost_nanousd < summed.c.cost, spending.c.calls < summed.c.calls
    lacks = sa.or_(spending.c.scope.is_(None), *less)
    return (
        sa.select(scope.label("scope"))
        .outerjoin_from(summed, spending, spending.c.scope == scope)
        .where(lacks)
    )


def _of_months() -> sa.Select[Any]:
    """Select the months if they reserve another amount than the calls under way."""
    own = sa.func.coalesce(sa.func.sum(spending.c.reserved_nanousd), 0)
    there = sa.select(sa.func.coalesce(sa.func.sum(llm_calls.c.reserved_nanousd), 0)).scalar_subquery()
    named = sa.func.coalesce(sa.func.min(spending.c.scope), _ANY_MONTH)
    return sa.select(named.label("scope")).where(spending.c.scope.like(_ANY_MONTH)).having(own != there)


def _summed(whole: sa.Column[Any]) -> sa.Subquery:
    calls = llm_calls.c
    is_unpriced = sa.and_(
        calls.cost_nanousd.is_(None), sa.or_(calls.status != CallStatus.STARTED, calls.attempts > 1)
    )
    return (
        sa.select(
            whole.label("whole"),
            sa.func.sum(calls.attempts).label("calls"),
            sa.func.coalesce(sa.func.sum(calls.cost_nanousd), 0).label("cost"),
            sa.func.coalesce(sa.func.sum(calls.reserved_nanousd), 0).label("reserved"),
            sa.func.sum(sa.case((is_unpriced, 1), else_=0)).label("unpriced"),
        )
        .group_by(whole)
        .subquery()
    )
