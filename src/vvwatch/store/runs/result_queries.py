"""Pages of what a prompt run found, of what failed in it, and of its model calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from vvwatch.core.runs import SEGMENTS_FAILED, WHOLE_FAILED, ItemStatus
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import columns, models_of
from vvwatch.store.models.runs import LlmCall, Run, RunItem, RunItemWithMedia, SegmentResult, SegmentRetry
from vvwatch.store.runs import run_queries
from vvwatch.store.runs.transcripts import NOTHING_KNOWN, Said, load_said
from vvwatch.store.schema import llm_calls, run_items, segment_results, transcripts

_ENDED = (ItemStatus.COMPLETED, ItemStatus.PARTIAL, ItemStatus.FAILED)


class ResultPosition(NamedTuple):
    """The position of a result: by media, then by ordinal. A whole media item has the ordinal -1."""

    media_id: str
    ordinal: int


@dataclass(frozen=True, slots=True)
class Result:
    """An item and one of its segments, or None for the item as a whole; with a segment, what is said in the item."""

    item: RunItemWithMedia
    segment: SegmentResult | None
    said: Said = NOTHING_KNOWN

    @property
    def place(self) -> ResultPosition:
        """The position of the result."""
        return ResultPosition(self.item.media_id, -1 if self.segment is None else self.segment.ordinal)


@dataclass(frozen=True, slots=True)
class Results:
    """A run and some of its results."""

    run: Run
    results: Sequence[Result]


def list_segments(
    tx: Tx, run_id: str, video_id: str | None, after: ResultPosition | None, limit: int
) -> Results:
    """Return segments after `after`, of one media item if given. Raises NotFound for the run, or a video not in it."""
    run = _get_run(tx, run_id, video_id)
    table, wanted = segment_results, _conditions(run_id, video_id)
    if after is not None:
        later = sa.or_(run_items.c.media_id > after.media_id, table.c.ordinal > after.ordinal)
        wanted += [run_items.c.media_id >= after.media_id, later]
    chosen = sa.select(table).join(run_items, run_items.c.id == table.c.run_item_id).where(*wanted)
    rows = models_of(
        SegmentResult, tx.all(chosen.order_by(run_items.c.media_id, table.c.ordinal).limit(limit))
    )
    items = {
        item.id: item for item in _list_items(tx, [run_items.c.id.in_({row.run_item_id for row in rows})])
    }
    said = load_said(tx, list(items))
    return Results(
        run,
        [Result(items[row.run_item_id], row, said.get(row.run_item_id, NOTHING_KNOWN)) for row in rows],
    )


def list_videos(
    tx: Tx, run_id: str, video_id: str | None, after: ResultPosition | None, limit: int
) -> Results:
    """Return ended media items like `list_segments`, each as a whole."""
    run = _get_run(tx, run_id, video_id)
    wanted = [*_conditions(run_id, video_id), run_items.c.status.in_(_ENDED)]
    wanted += [run_items.c.media_id > after.media_id] if after is not None else []
    return Results(run, [Result(item, None) for item in _list_items(tx, wanted, limit)])


def _get_run(tx: Tx, run_id: str, video_id: str | None) -> Run:
    return run_queries.get(tx, run_id) if video_id is None else run_queries.get_item(tx, run_id, video_id).run


def _conditions(run_id: str, video_id: str | None) -> list[sa.ColumnElement[bool]]:
    there: list[sa.ColumnElement[bool]] = [run_items.c.run_id == run_id, run_queries.is_item_present()]
    return there if video_id is None else [*there, run_items.c.media_id == video_id]


def _list_items(
    tx: Tx, wanted: Sequence[sa.ColumnElement[bool]], limit: int | None = None
) -> Sequence[RunItemWithMedia]:
    chosen = run_queries.select_items().where(*wanted).order_by(run_items.c.media_id).limit(limit)
    return models_of(RunItemWithMedia, tx.all(chosen))


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item with failures, and its failed segments in order, if their results are kept."""

    item: RunItem
    segments: Sequence[SegmentResult]
    transcription_error: str | None = None


@dataclass(frozen=True, slots=True)
class Failures:
    """Some items of a run with failures, and counts over all of them.

    `whole_count` counts items that failed as a whole or lack the video-level result. An item all of whose segments
    failed counts by its segments. `untranscribed` counts all items of the run without the transcript that they should
    have.
    """

    run: Run
    items: Sequence[FailedItem]
    item_count: int
    segment_count: int
    whole_count: int
    untranscribed: int


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
    found = list_failed_segments(tx, [row.id for row in rows])
    errors = _transcription_errors(tx, [row.id for row in rows])
    items = [FailedItem(row, found.get(row.id, ()), errors.get(row.id)) for row in rows]
    untranscribed = run_queries.get_view(tx, run_id).tally.untranscribed
    some_items, some_segments, wholes = map(int, counts)
    return Failures(run, items, some_items, some_segments, wholes, untranscribed)


def _transcription_errors(tx: Tx, item_ids: Sequence[int]) -> Mapping[int, str]:
    table = transcripts.c
    wanted = table.run_item_id.in_(item_ids), table.error.is_not(None)
    return {
        row.run_item_id: row.error for row in tx.all(sa.select(table.run_item_id, table.error).where(*wanted))
    }


def list_failed_segments(
    tx: Tx, item_ids: Sequence[int], most: int | None = None
) -> Mapping[int, Sequence[SegmentResult]]:
    """Return the failed segments of these items in order, at most so many of each."""
    table = segment_results
    wanted = table.c.run_item_id.in_(item_ids), table.c.error.is_not(None)
    number = sa.func.row_number().over(partition_by=table.c.run_item_id, order_by=table.c.ordinal)
    some = sa.select(table, number.label("number")).where(*wanted).subquery()
    chosen = sa.select(*(some.c[column.name] for column in table.c)).order_by(
        some.c.run_item_id, some.c.ordinal
    )
    chosen = chosen if most is None else chosen.where(some.c.number <= most)
    found: dict[int, list[SegmentResult]] = {}
    for row in models_of(SegmentResult, tx.all(chosen) if item_ids else ()):
        found.setdefault(row.run_item_id, []).append(row)
    return found


def list_calls(tx: Tx, run_id: str, after: str | None, limit: int) -> tuple[Run, Sequence[LlmCall]]:
    """Return the run and its calls in the order they began, from the one after `after`. Raises NotFound."""
    run = run_queries.get(tx, run_id)
    table = llm_calls
    wanted = table.c.run_id == run_id, table.c.id > (after or "")
    chosen = sa.select(*columns(LlmCall, table)).where(*wanted).order_by(table.c.id).limit(limit)
    return run, models_of(LlmCall, tx.all(chosen))


def sum_retry_calls(tx: Tx, retry: SegmentRetry) -> tuple[int, int, int]:
    """Return the number of ended calls of a retry, how many of them have no price, and what the others cost."""
    table = llm_calls
    mine = table.c.run_item_id == retry.run_item_id, table.c.generation == retry.id
    rows = tx.all(sa.select(table.c.cost_nanousd).where(*mine, table.c.completed_at.is_not(None)))
    costs = [row.cost_nanousd for row in rows]
    return len(costs), costs.count(None), sum(cost or 0 for cost in costs)
