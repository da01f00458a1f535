"""Fair shares: of each import job and each run, only so many pieces of work are in the engine's hands at once.

When one ends, the next is put; so a bucket with a million objects stands beside the others, not before them, and
the engine's queue stays short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vvwatch.core.imports import FileStatus
from vvwatch.core.runs import ItemStatus
from vvwatch.ports import Kind, Priority
from vvwatch.store.database import Tx
from vvwatch.store.schema import import_files, run_items


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of work of a whole: their table, the column that names the whole, and who waits in which order."""

    kind: Kind
    table: sa.Table
    whole: sa.ColumnElement[str]
    order: sa.ColumnElement[int]
    pending: str


FILES = Pieces(
    Kind.IMPORT_FILE, import_files, import_files.c.job_id, import_files.c.ordinal, FileStatus.PENDING
)
ITEMS = Pieces(Kind.RUN_ITEM, run_items, run_items.c.run_id, run_items.c.id, ItemStatus.PENDING)


def feed(tx: Tx, pieces: Pieces, whole: sa.Row[Any]) -> None:
    """Put the next pieces of `whole` (an import job or a run), up to its share.

    What waits for another try does not count. The first piece of a whole goes before everybody's surplus.
    """
    table = pieces.table
    busy = sa.select(sa.func.count()).where(pieces.whole == whole.id, table.c.next_at <= tx.now)
    count = int(tx.execute(busy).scalar_one())
    fresh = (
        sa.select(table.c.id, table.c.revision)
        .where(pieces.whole == whole.id, table.c.status == pieces.pending, table.c.next_at.is_(None))
        .order_by(pieces.order)
        .limit(max(whole.concurrency - count, 0))
    )
    for rank, row in enumerate(tx.all(fresh), start=count):
        tx.put(pieces.kind, row.id, row.revision, tx.now, _priority(whole.priority, rank))


def _priority(wanted: int, rank: int) -> Priority:
    return Priority.SURPLUS if rank and wanted == Priority.NORMAL else Priority(wanted)
