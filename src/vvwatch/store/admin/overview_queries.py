"""What the overview needs of all automations, to choose those that it shows: a few columns of each, in one query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.schema import import_automations, indexes, windows


@dataclass(frozen=True, slots=True)
class Candidate:
    """An automation as filters see it: `gathering` with an open window, `failing` while its scans fail.

    `unproven`: known objects are missing, and it is not proven that they were deleted.
    """

    id: str
    index_id: str
    index_name: str
    source_prefix: str
    connector_id: str
    enabled: bool
    paused: bool
    gathering: bool
    failing: bool
    unproven: bool


def list_failing(tx: Tx, most: int) -> Sequence[str]:
    """Return the ids of automations whose scans fail, at most so many."""
    table = import_automations.c
    chosen = sa.select(table.id).where(table.last_error.is_not(None)).order_by(table.index_id)
    return tx.execute(chosen.limit(most)).scalars().all()


def list_candidates(tx: Tx) -> Sequence[Candidate]:
    """Return all import automations, in the order of their indexes."""
    table, is_open = import_automations, windows.c.state == sa.literal_column("'open'")
    joined = table.join(indexes, indexes.c.id == table.c.index_id).outerjoin(
        windows, sa.and_(windows.c.automation_id == table.c.id, is_open)
    )
    of_table = (
        table.c[name] for name in ("id", "index_id", "source_prefix", "connector_id", "enabled", "paused")
    )
    chosen = sa.select(
        *of_table,
        indexes.c.name.label("index_name"),
        windows.c.seq.is_not(None).label("gathering"),
        table.c.last_error.is_not(None).label("failing"),
        sa.type_coerce(table.c.doubt, sa.Text).is_not(None).label("unproven"),
    )
    return models_of(Candidate, tx.all(chosen.select_from(joined).order_by(table.c.index_id)))
