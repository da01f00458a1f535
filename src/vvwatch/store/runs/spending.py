"""What was spent by scope: an item, a run, a day or a month of one processor or all (see core.budgets)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final

import sqlalchemy as sa

from vvwatch.core.budgets import Spent
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.runs import ScopeSpending
from vvwatch.store.schema import spending


@dataclass(slots=True)
class Change:
    """By how much the counts of a scope grow."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanousd: int = 0
    unpriced_calls: int = 0
    reserved_nanousd: int = 0


_COUNTS: Final = tuple(field.name for field in fields(Change))
_MOST: Final = 2**62


def _capped_sum(name: str) -> sa.ColumnElement[int]:
    """Return the count with the addition, or the count alone if the sum would not fit."""
    count = spending.c[name]
    return sa.case((count > _MOST, count), else_=count + sa.bindparam(f"more_{name}"))


_add = (
    sa.update(spending)
    .where(spending.c.scope == sa.bindparam("its_scope"))
    .values({name: _capped_sum(name) for name in _COUNTS})
)


def lock_spent(tx: Tx, scopes: Iterable[str]) -> dict[str, Spent]:
    """Return what was spent in each scope, locked until this transaction ends.

    Scopes are locked in the order of their names, so two transactions never deadlock.
    """
    wanted = sorted(set(scopes))
    found = _read_locked(tx, wanted)
    missing = [{"scope": scope} for scope in wanted if scope not in found]
    if missing:
        tx.execute(tx.upsert(spending).on_conflict_do_nothing(), missing)
        found = _read_locked(tx, wanted)
    return found


_lock_scopes = (
    sa.select(spending.c.scope, spending.c.calls, spending.c.cost_nanousd, spending.c.reserved_nanousd)
    .where(spending.c.scope.in_(sa.bindparam("scopes", expanding=True)))
    .order_by(spending.c.scope)
    .with_for_update()
)


def _read_locked(tx: Tx, scopes: list[str]) -> dict[str, Spent]:
    return {row[0]: Spent(*row[1:]) for row in tx.execute(_lock_scopes, {"scopes": scopes})}


def add_changes(tx: Tx, changes: Mapping[str, Change]) -> None:
    """Add the changes to the counts, in the order of the scopes' names; the scopes exist."""
    rows = [
        {"its_scope": scope} | {f"more_{name}": getattr(changes[scope], name) for name in _COUNTS}
        for scope in sorted(changes)
    ]
    if rows:
        tx.execute(_add, rows)


def read_spending(tx: Tx, scopes: Iterable[str]) -> Mapping[str, ScopeSpending]:
    """Return the counts of those scopes in which anything was spent."""
    chosen = sa.select(spending).where(spending.c.scope.in_(list(scopes)))
    return {row.scope: row for row in models_of(ScopeSpending, tx.all(chosen))}


def read_spent(tx: Tx, scopes: Iterable[str]) -> Mapping[str, Spent]:
    """Return what was spent in those scopes, without locking them."""
    found = read_spending(tx, scopes)
    return {scope: Spent(row.calls, row.cost_nanousd, row.reserved_nanousd) for scope, row in found.items()}


def delete_scopes(tx: Tx, scopes: Iterable[str]) -> None:
    """Delete the counts of deleted scopes."""
    tx.execute(sa.delete(spending).where(spending.c.scope.in_(list(scopes))))
