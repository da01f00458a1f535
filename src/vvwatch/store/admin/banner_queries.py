"""How many automations need a look, in one query: every page says it."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.schema import export_automations, import_automations


@dataclass(frozen=True, slots=True)
class Troubled:
    """Numbers of enabled automations.

    `failing`: their scans fail now. `unproven`: known objects are missing, and it is not proven that they were deleted.
    """

    paused: int
    failing: int
    unproven: int
    exports_paused: int


def count_troubled(tx: Tx) -> Troubled:
    """Return how many enabled automations are paused, failing or unproven."""
    table, exporting = import_automations.c, export_automations.c
    counted = sa.select(
        _count(table.paused),
        _count(sa.and_(table.last_error.is_not(None), ~table.paused)),
        _count(sa.type_coerce(table.doubt, sa.Text).is_not(None)),
        sa.select(_count(exporting.paused)).where(exporting.enabled).scalar_subquery(),
    ).where(table.enabled)
    return Troubled(*map(int, tx.execute(counted).one()))


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)
