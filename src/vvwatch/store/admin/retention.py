"""Retention: delete what ended long ago, oldest first, a little per transaction.

A snapshot, which blocks nobody, finds what can go; the deleting transaction checks it again. Ids sort by time, so
newer rows are not read. These stay for ever: the ledger with its windows, media, our outputs, runs and their items
with all their counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from vvwatch.core import imports, runs
from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.exports import ExportStatus
from vvwatch.core.identities import WHOLE, new_id
from vvwatch.core.runs import Results
from vvwatch.core.state_machine import DELIVERY_TRANSITIONS, EXPORT_TRANSITIONS
from vvwatch.store.db import event_order
from vvwatch.store.db.database import Tx
from vvwatch.store.runs import journal, llm_calls, search_documents
from vvwatch.store.schema import (
    deliveries,
    delivery_attempts,
    events,
    exports,
    import_files,
    import_jobs,
    prompt_runs,
    run_items,
    segment_results,
)

AT_ONCE: Final = 500
"""The most rows that one transaction finds or deletes."""

_ENDED_DELIVERY: Final = tuple(frozenset(DeliveryStatus) - DELIVERY_TRANSITIONS.keys())
_ENDED_EXPORT: Final = tuple(frozenset(ExportStatus) - EXPORT_TRANSITIONS.keys())


def _made_before(table: sa.Table, prefix: str, before: float) -> sa.ColumnElement[bool]:
    """Return the condition that the id was made before that time."""
    return table.c.id < new_id(prefix, before, bytes(10))


def _ids(tx: Tx, table: sa.Table, after: str, *wanted: sa.ColumnElement[bool]) -> Sequence[str]:
    chosen = sa.select(table.c.id).where(table.c.id > after, *wanted).order_by(table.c.id).limit(AT_ONCE)
    return tx.execute(chosen).scalars().all()


def _over(table: sa.Table, ended: Sequence[str], before: float) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.status.in_(ended), table.c.completed_at < before


def list_old_deliveries(tx: Tx, before: float, after: str) -> Sequence[str]:
    """Return the ids of the next deliveries after `after` that ended before `before`."""
    over = _over(deliveries, _ENDED_DELIVERY, before)
    return _ids(tx, deliveries, after, _made_before(deliveries, "del", before), *over)


def drop_deliveries(tx: Tx, before: float, ids: Sequence[str]) -> int:
    """Delete those of these deliveries that have ended, with their attempts; return how many."""
    over = _over(deliveries, _ENDED_DELIVERY, before)
    gone = tx.execute(sa.select(deliveries.c.id).where(deliveries.c.id.in_(ids), *over)).scalars().all()
    tx.execute(sa.delete(delivery_attempts).where(delivery_attempts.c.delivery_id.in_(gone)))
    return tx.execute(sa.delete(deliveries).where(deliveries.c.id.in_(gone))).rowcount


def _has_no_delivery() -> sa.ColumnElement[bool]:
    """Return the condition for events without deliveries, except the newest: others are ordered after it."""
    newest = (
        sa.select(events.c.id).order_by(events.c.place.desc(), events.c.id.desc()).limit(1).scalar_subquery()
    )
    return sa.and_(~sa.exists().where(deliveries.c.event_id == events.c.id), events.c.id != newest)


def list_old_events(tx: Tx, before: float, after: str) -> Sequence[str]:
    """Return the ids of the next events after `after` that are older than `before` and have no delivery left."""
    old = events.c.created_at < before
    return _ids(tx, events, after, _made_before(events, "evt", before), old, _has_no_delivery())


def drop_events(tx: Tx, before: float, ids: Sequence[str]) -> int:
    """Delete those of these events that have no delivery; return how many."""
    wanted = events.c.id.in_(ids), events.c.created_at < before, _has_no_delivery()
    gone = tx.execute(sa.delete(events).where(*wanted).returning(events.c.place)).scalars().all()
    event_order.note_dropped(tx, gone)
    return len(gone)


def list_old_import_jobs(tx: Tx, before: float, after: str) -> Sequence[str]:
    """Return the ids of the next import jobs after `after` that ended before `before`."""
    over = _over(import_jobs, tuple(imports.TERMINAL), before)
    return _ids(tx, import_jobs, after, _made_before(import_jobs, "job", before), *over)


def drop_files(tx: Tx, job_ids: Sequence[str]) -> int:
    """Delete some files of these ended import jobs; return how many, 0 when there are no more."""
    some = sa.select(import_files.c.id).where(import_files.c.job_id.in_(job_ids)).limit(AT_ONCE)
    return tx.execute(sa.delete(import_files).where(import_files.c.id.in_(some))).rowcount


def drop_import_jobs(tx: Tx, before: float, ids: Sequence[str]) -> int:
    """Delete those of these import jobs that have no file left; return how many."""
    over = _over(import_jobs, tuple(imports.TERMINAL), before)
    empty = ~sa.exists().where(import_files.c.job_id == import_jobs.c.id)
    return tx.execute(sa.delete(import_jobs).where(import_jobs.c.id.in_(ids), *over, empty)).rowcount


def _result_free(before: float) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for runs with results that ended long ago and that no export is being built from."""
    whole = sa.and_(exports.c.run_id.is_(None), exports.c.index_id == prompt_runs.c.index_id)
    mine = sa.or_(exports.c.run_id == prompt_runs.c.id, whole)
    return (
        *_over(prompt_runs, tuple(runs.TERMINAL), before),
        prompt_runs.c.results != Results.DROPPED,
        ~sa.exists().where(mine, exports.c.status.not_in(_ENDED_EXPORT)),
    )


def list_old_runs(tx: Tx, before: float, after: str) -> Sequence[str]:
    """Return the ids of the next runs after `after` whose results can go."""
    return _ids(tx, prompt_runs, after, _made_before(prompt_runs, "run", before), *_result_free(before))


def begin_dropping(tx: Tx, before: float, run_id: str) -> bool:
    """Allow no more exports of the run's results; False if an export is being built from them again."""
    chosen = prompt_runs.c.id == run_id, *_result_free(before)
    return bool(tx.execute(sa.update(prompt_runs).where(*chosen).values(results=Results.DROPPING)).rowcount)


@dataclass(frozen=True, slots=True)
class Portion:
    """Items whose segments from ordinal `first` on are deleted together."""

    item_ids: tuple[int, ...]
    first: int = 0


def list_portions(tx: Tx, run_id: str, after: int) -> tuple[int, Sequence[Portion]]:
    """Return the last of the next items of a run, and the items in portions; no portions at the end."""
    table = run_items
    wanted = table.c.run_id == run_id, table.c.id > after
    chosen = sa.select(table.c.id, table.c.segment_count).where(*wanted).order_by(table.c.id)
    rows = [(row.id, row.segment_count) for row in tx.all(chosen.limit(AT_ONCE))]
    return (rows[-1][0] if rows else after), list(_portions(rows))


def _portions(items: Sequence[tuple[int, int]]) -> Iterator[Portion]:
    """Join items with few segments; delete one with too many from its end."""
    some: tuple[int, ...] = ()
    room = AT_ONCE
    for item_id, count in items:
        if count > room and some:
            yield Portion(some)
            some, room = (), AT_ONCE
        for first in range(count - AT_ONCE, 0, -AT_ONCE):
            yield Portion((item_id,), first)
        some, room = (*some, item_id), room - min(count, AT_ONCE)
    if some:
        yield Portion(some)


def drop_results(tx: Tx, portion: Portion) -> int:
    """Delete the portion's segments, and with the last of them documents and calls; return how many items are done.

    The run, the day and the month keep the costs.
    """
    search_documents.unindex_items(tx, portion.item_ids, portion.first or WHOLE)
    table = segment_results
    chosen = table.c.run_item_id.in_(portion.item_ids), table.c.ordinal >= portion.first
    tx.execute(sa.delete(table).where(*chosen))
    if portion.first:
        return 0
    journal.delete_journals(tx, portion.item_ids)
    llm_calls.delete_calls(tx, portion.item_ids)
    items = run_items.c.id.in_(portion.item_ids)
    tx.execute(sa.update(run_items).where(items).values(video_metadata=None, video_metadata_text=""))
    return len(portion.item_ids)


def end_dropping(tx: Tx, run_id: str) -> None:
    """Mark the run's results as deleted."""
    tx.update(prompt_runs, run_id, results=Results.DROPPED)
