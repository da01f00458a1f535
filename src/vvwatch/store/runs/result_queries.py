"""Pages of the results of a prompt run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from vvwatch.core.runs import ItemStatus
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.runs import Run, RunItemWithMedia, SegmentResult
from vvwatch.store.runs import run_queries
from vvwatch.store.schema import run_items, segment_results

_ENDED = (ItemStatus.COMPLETED, ItemStatus.PARTIAL, ItemStatus.FAILED)


class ResultPosition(NamedTuple):
    """The position of a result: by media, then by ordinal. A whole media item has the ordinal -1."""

    media_id: str
    ordinal: int


@dataclass(frozen=True, slots=True)
class Result:
    """An item and one of its segments, or None for the item as a whole."""

    item: RunItemWithMedia
    segment: SegmentResult | None

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
    return Results(run, [Result(items[row.run_item_id], row) for row in rows])


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
