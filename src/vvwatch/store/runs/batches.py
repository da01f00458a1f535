"""Add media to a run, and cancel its items, in bounded batches: one batch per transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.runs import ItemStatus
from vvwatch.core.tallies import count_in_tally
from vvwatch.store.catalog.deleted import is_not_deleted
from vvwatch.store.db.database import Tx, is_one_of, upsert
from vvwatch.store.db.typed import model_of
from vvwatch.store.models.runs import Run
from vvwatch.store.runs import llm_calls, search_documents
from vvwatch.store.runs.journal import SegmentCounts
from vvwatch.store.schema import media, prompt_runs, run_items, segment_results

AT_ONCE: Final = 2000
"""The most items that one transaction adds or cancels."""

TOTAL: Final = "total"
"""The key under which a tally counts all items of a media type."""


@dataclass(frozen=True, slots=True)
class MediaSet:
    """All media `of` an `index` or an `import_job` with this id, in their order, from the one after `after`.

    `upto` is the last one that belongs to it; None includes media added later. `awaited`: the import has not ended.
    """

    of: str
    id: str
    after: str = ""
    upto: str | None = None
    awaited: bool = False


# The column of the owner, and the order of its media, as in an index.
_MEDIA_SETS: Final[Mapping[str, tuple[sa.Column[Any], sa.Column[Any]]]] = {
    "index": (media.c.index_id, media.c.id),
    "import_job": (media.c.import_job_id, media.c.key),
}


_PENDING: Final = sa.literal(str(ItemStatus.PENDING), literal_execute=True)
NEVER_QUEUED: Final = run_items.c.status == _PENDING, run_items.c.next_at.is_(None)
"""Conditions for items that were never queued, written as their index needs them."""


MEDIA_STATUS: Final[Mapping[str, str]] = {
    ItemStatus.COMPLETED: "processed",
    ItemStatus.PARTIAL: "processed",
    ItemStatus.FAILED: "failed",
}
"""The media status after a run ended its item with a status."""

_LAST_END: Final = (
    sa.select(sa.case(MEDIA_STATUS, value=run_items.c.status))
    .where(run_items.c.media_id == media.c.id, run_items.c.status.in_(MEDIA_STATUS))
    .order_by(run_items.c.completed_at.desc(), run_items.c.id.desc())
    .limit(1)
    .correlate(media)
    .scalar_subquery()
)


@cache
def _insert_items(dialect: str) -> Any:
    return upsert(dialect, run_items).on_conflict_do_nothing()


def add_items(tx: Tx, run_id: str, media_ids: Sequence[str]) -> None:
    """Add these media to the run as items, in this order."""
    if media_ids:
        rows = [(run_id, media_id) for media_id in media_ids]
        tx.insert_tuples(_insert_items(tx.conn.dialect.name), ("run_id", "media_id"), rows)


def add_to_tally(
    tx: Tx, tally: Mapping[str, Any] | None, media_ids: Sequence[str], status: str
) -> Mapping[str, Any] | None:
    """Return the tally with these media added as `total` (with their seconds) or under this status."""
    if tally is None or not media_ids:
        return tally
    seconds = sa.func.coalesce(sa.func.sum(media.c.duration_seconds), 0.0).label("seconds")
    grouped = sa.select(media.c.media_type, sa.func.count().label("number"), seconds).where(
        is_one_of(media.c.id)
    )
    keys = {"keys": json.dumps(list(media_ids))}
    for row in tx.execute(grouped.group_by(media.c.media_type), keys).all():
        more = {status: row.number} | ({"seconds": row.seconds} if status == TOTAL else {})
        tally = count_in_tally(tally, row.media_type, **more)
    return tally


def whole_index(tx: Tx, index_id: str) -> MediaSet:
    """Return the set of all media that the index has now."""
    last = tx.execute(sa.select(sa.func.max(media.c.id)).where(media.c.index_id == index_id)).scalar()
    return MediaSet("index", index_id, upto=last or "")


def select_media(whole: MediaSet) -> sa.Select[Any]:
    """Return the query of the set's media that were not deleted: their ids and their `place`."""
    belongs, order = _MEDIA_SETS[whole.of]
    wanted = [belongs == whole.id, order > whole.after, is_not_deleted(media.c.id)]
    wanted += [order <= whole.upto] if whole.upto is not None else []
    return sa.select(media.c.id, order.label("place")).where(*wanted).order_by(order)


def add_next_items(tx: Tx, run: Run) -> Run:
    """Add the next batch of media to the run and return the changed run; `filling` is None when all are added."""
    whole = MediaSet(**(run.filling or {}))
    rows = tx.all(select_media(whole).limit(AT_ONCE))
    ids = [row.id for row in rows]
    add_items(tx, run.id, ids)
    tally = add_to_tally(tx, run.tally, ids, TOTAL)
    rest = asdict(whole) | {"after": rows[-1].place} if len(rows) == AT_ONCE else None
    return update_run(tx, run, total_items=run.total_items + len(rows), filling=rest, tally=tally)


def cancel_items(tx: Tx, run: Run, *which: sa.ColumnElement[bool], few: bool = False) -> Run:
    """Cancel the next batch of matching items, or all of them if they are `few`; return the changed run."""
    table = run_items
    some = (
        sa.select(table.c.id)
        .where(table.c.run_id == run.id, *which)
        .order_by(table.c.id)
        .limit(None if few else AT_ONCE)
    )
    ended = {
        "status": ItemStatus.CANCELLED,
        "completed_at": tx.now,
        "revision": table.c.revision + 1,
        "next_at": None,
    }
    update = sa.update(table).where(table.c.id.in_(some)).values(ended)
    gone = tx.all(update.returning(table.c.id, table.c.media_id, table.c.attempts))
    begun = [row for row in gone if row.attempts]
    restore_media_status(tx, [row.media_id for row in begun])
    found = _count_results(tx, [row.id for row in begun])
    tally = add_to_tally(tx, run.tally, [row.media_id for row in gone], ItemStatus.CANCELLED)
    return update_run(
        tx,
        run,
        cancelled_items=run.cancelled_items + len(gone),
        total_segments=run.total_segments + found.segments,
        completed_segments=run.completed_segments + found.good,
        tally=tally,
    )


def _count_results(tx: Tx, item_ids: Sequence[int]) -> SegmentCounts:
    """Close the calls of cancelled items, store how many segments each has, and return the sums."""
    for item_id in item_ids:
        llm_calls.close_calls(tx, item_id)
    results = segment_results
    counts = sa.func.count().label("segments"), sa.func.count(results.c.error).label("failed")
    chosen = sa.select(results.c.run_item_id, *counts).where(results.c.run_item_id.in_(item_ids))
    rows = tx.all(chosen.group_by(results.c.run_item_id))
    for row in rows:
        tx.update(run_items, row.run_item_id, **SegmentCounts(row.segments, row.failed).columns)
        search_documents.index_item(tx, row.run_item_id)
    return SegmentCounts(sum(row.segments for row in rows), sum(row.failed for row in rows))


def restore_media_status(tx: Tx, media_ids: Sequence[str]) -> None:
    """Give media that no other run processes the status that the last run to finish them left."""
    if media_ids:
        another = run_items.c.media_id == media.c.id, run_items.c.status == ItemStatus.PROCESSING
        begun = media.c.id.in_(media_ids), media.c.status == "processing", ~sa.exists().where(*another)
        stands = sa.func.coalesce(_LAST_END, "not_processed")
        tx.execute(sa.update(media).where(*begun).values(status=stands, updated_at=tx.now))


def has_never_queued(tx: Tx, run_id: str) -> bool:
    """Return whether the run has items that were never queued."""
    return (
        tx.first(sa.select(run_items.c.id).where(run_items.c.run_id == run_id, *NEVER_QUEUED).limit(1))
        is not None
    )


def update_run(tx: Tx, run: Run, **values: Any) -> Run:
    """Set columns of the run and return it."""
    table = prompt_runs
    update = sa.update(table).where(table.c.id == run.id).values(updated_at=tx.now, **values)
    return model_of(Run, tx.execute(update.returning(table)).one())
