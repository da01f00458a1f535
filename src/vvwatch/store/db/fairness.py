"""Fair shares: each import job and each run has only so many pieces of work in the queue at once.

When one ends, the next is queued. So a bucket with a million objects shares the queue with others, and the queue
stays short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import sqlalchemy as sa

from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.runs import ItemStatus, RunStatus
from vvwatch.errors import ItemBudgetReached
from vvwatch.ports import Kind, Priority
from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.schema import import_files, import_jobs, prompt_runs, run_items

_SOON_SECONDS: Final = 5.0  # nodes' clocks differ a little, and transactions overtake each other
_MOST_MANUAL: Final = 100  # a person waits for the first pieces only; the rest must not delay others


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The pieces of work of a whole: their table, the column of the whole, their order, their pending status.

    Of the whole: its table, the statuses in which it has work, and the columns that count its ended pieces.
    `waits_alone` holds for a piece that waits for something that concerns no other piece.
    """

    kind: Kind
    table: sa.Table
    whole: sa.ColumnElement[str]
    order: sa.ColumnElement[int]
    pending: str
    wholes: sa.Table
    working: tuple[str, ...]
    ended: tuple[str, ...]
    waits_alone: sa.ColumnElement[bool] | None = None


class Whole(Protocol):
    """An import job or a run, with the counts of its ended pieces."""

    @property
    def id(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def concurrency(self) -> int: ...


FILES: Final = Pieces(
    Kind.IMPORT_FILE,
    import_files,
    import_files.c.job_id,
    import_files.c.ordinal,
    FileStatus.PENDING,
    import_jobs,
    (ImportStatus.IMPORTING,),
    ("imported", "failed"),
)
ITEMS: Final = Pieces(
    Kind.RUN_ITEM,
    run_items,
    run_items.c.run_id,
    run_items.c.id,
    ItemStatus.PENDING,
    prompt_runs,
    (RunStatus.PENDING, RunStatus.PROCESSING),
    ("completed_items", "partial_items", "failed_items"),
    run_items.c.error_code == ItemBudgetReached.code,
)
_ALL: Final = {pieces.kind: pieces for pieces in (FILES, ITEMS)}


def enqueue_next(tx: Tx, pieces: Pieces, whole: Whole) -> int:
    """Queue the next pieces of `whole` (an import job or a run), up to its share; return how many.

    The caller has changed or guarded the whole, so nobody else feeds it meanwhile. Pieces that wait for a retry
    take no share, so they hold up nobody; but when a full share of them waits, the whole waits: while a store is
    down, trying all of a million objects would not help. Pieces that wait for something of their own, such as a
    larger budget for one item, do not count.
    """
    table = pieces.table
    in_hand = tx.execute(_count_queued(pieces, whole.id, tx.now)).one()
    room = min(whole.concurrency - in_hand.busy, 2 * whole.concurrency - in_hand.held)
    if room <= 0:
        return 0
    fresh = (
        sa.select(table.c.id, table.c.revision)
        .where(pieces.whole == whole.id, *_is_never_queued(pieces))
        .order_by(pieces.order)
        .limit(room)
    )
    begun = in_hand.busy + sum(getattr(whole, name) for name in pieces.ended)
    rows = tx.all(fresh)
    for position, row in enumerate(rows):
        priority = _priority(whole.priority, first=in_hand.busy + position == 0, begun=begun + position)
        tx.enqueue(pieces.kind, row.id, row.revision, tx.now, priority)
    return len(rows)


def _count_queued(pieces: Pieces, whole: Any, now: float) -> sa.Select[int, int]:
    """Return the query of how many pieces are queued and due, and how many including those that wait for a retry."""
    next_at = pieces.table.c.next_at
    due = sa.func.count(sa.case((next_at <= now + _SOON_SECONDS, 1)))
    alone = sa.false() if pieces.waits_alone is None else pieces.waits_alone
    waits_alone = sa.and_(next_at > now + _SOON_SECONDS, sa.func.coalesce(alone, sa.false()))
    held = sa.func.count(sa.case((sa.not_(waits_alone), 1)))
    counts = due.label("busy"), held.label("held")
    return sa.select(*counts).where(pieces.whole == whole, next_at.is_not(None))


def _is_never_queued(pieces: Pieces) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for pieces never queued. The status is a literal, so that planners find the index."""
    table = pieces.table
    pending = sa.literal(str(pieces.pending), literal_execute=True)
    return table.c.status == pending, table.c.next_at.is_(None)


def _priority(wanted: int, *, first: bool, begun: int) -> Priority:
    """Return the priority: the first piece of a whole precedes surplus pieces, and manual requests precede all."""
    if wanted >= Priority.MANUAL and begun < _MOST_MANUAL:
        return Priority.MANUAL
    return Priority.NORMAL if first else Priority.SURPLUS


def list_starving(tx: Tx) -> Sequence[tuple[Kind, str]]:
    """Return import jobs and runs that have room and pieces never queued, but no piece whose end would queue the next.

    Each is the kind of its pieces, and its id. Reads only what waits.
    """
    return [(pieces.kind, row.id) for pieces in _ALL.values() for row in tx.all(_starving(pieces, tx.now))]


def _starving(pieces: Pieces, now: float) -> sa.Select[Any]:
    wholes = pieces.wholes
    waiting = sa.select(pieces.whole).where(*_is_never_queued(pieces)).distinct()
    due = pieces.table.c.next_at <= now + _SOON_SECONDS
    busy = sa.select(sa.func.count()).where(pieces.whole == wholes.c.id, due).scalar_subquery()
    return (
        sa.select(wholes.c.id)
        .where(wholes.c.id.in_(waiting), wholes.c.status.in_(pieces.working), busy < wholes.c.concurrency)
        .order_by(wholes.c.id)
    )


@by_locks
def feed_starving(tx: Tx, kind: Kind, whole_id: str) -> int:
    """Queue pieces of a starving whole if it still works; return how many."""
    pieces = _ALL[kind]
    whole = tx.guard(pieces.wholes, whole_id)
    return enqueue_next(tx, pieces, whole) if whole is not None and whole.status in pieces.working else 0
