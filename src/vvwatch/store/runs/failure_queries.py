"""Queries of what failed in a prompt run: segments, and whole media items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from vvwatch.core.runs import SEGMENTS_FAILED, WHOLE_FAILED, ItemStatus
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.runs import Run, RunItem, SegmentResult
from vvwatch.store.runs import run_queries
from vvwatch.store.schema import run_items, segment_results


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item with failures, and its failed segments in order, if their results are kept."""

    item: RunItem
    segments: Sequence[SegmentResult]


@dataclass(frozen=True, slots=True)
class Failures:
    """Some items of a run with failures, and counts over all of them.

    `whole_count` counts items that failed as a whole or lack the video-level result. An item all of whose segments
    failed counts by its segments.
    """

    run: Run
    items: Sequence[FailedItem]
    item_count: int
    segment_count: int
    whole_count: int


def list_failures(tx: Tx, run_id: str, after_item: int, limit: int) -> Failures:
    """Return the failures of the items after `after_item`. Raises NotFound."""
    run = run_queries.get(tx, run_id)
    code = sa.func.coalesce(run_items.c.error_code, "")
    failed = sa.and_(run_items.c.status == ItemStatus.FAILED, code != SEGMENTS_FAILED)
    lacks = sa.or_(failed, code == WHOLE_FAILED)
    wanted = (
        run_items.c.run_id == run_id,
        sa.or_(lacks, run_items.c.failed_segment_count > 0),
        run_queries.is_item_present(),
    )
    whole = sa.func.coalesce(sa.func.sum(sa.case((lacks, 1), else_=0)), 0)
    of_results = sa.case((failed, 0), else_=run_items.c.failed_segment_count)
    segments = sa.func.coalesce(sa.func.sum(of_results), 0)
    counts = tx.execute(sa.select(sa.func.count(), segments, whole).where(*wanted)).one()
    some = (
        sa.select(run_items).where(*wanted, run_items.c.id > after_item).order_by(run_items.c.id).limit(limit)
    )
    rows = models_of(RunItem, tx.all(some))
    found = _failed_segments(tx, [row.id for row in rows])
    return Failures(run, [FailedItem(row, found.get(row.id, ())) for row in rows], *map(int, counts))


def _failed_segments(tx: Tx, item_ids: Sequence[int]) -> Mapping[int, Sequence[SegmentResult]]:
    table = segment_results
    wanted = table.c.run_item_id.in_(item_ids), table.c.error.is_not(None)
    found: dict[int, list[SegmentResult]] = {}
    chosen = sa.select(table).where(*wanted).order_by(table.c.run_item_id, table.c.ordinal)
    for row in models_of(SegmentResult, tx.all(chosen)):
        found.setdefault(row.run_item_id, []).append(row)
    return found
