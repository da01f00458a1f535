"""Queries of the segments that prompt runs found in media items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.imports import media_queries
from vvwatch.store.models.runs import FoundSegment
from vvwatch.store.runs import run_queries
from vvwatch.store.schema import prompt_runs, run_items, segment_results


class SegmentPosition(NamedTuple):
    """The position of a segment in lists: newest run first, then by ordinal."""

    item_id: int
    ordinal: int


class MediaSegments(NamedTuple):
    """The segments of a media item; `run_id` is the requested run or None."""

    media_id: str
    run_id: str | None
    rows: Sequence[FoundSegment]


def list_page(
    tx: Tx, media_id: str, run_id: str | None, latest: bool, after: SegmentPosition | None, limit: int
) -> Sequence[FoundSegment]:
    """Return segments of a media item after `after`, of one run, of the `latest` run that found any, or of all.

    Pages of the latest run keep to the run of the first page. Raises NotFound for the media item or the run.
    """
    media_queries.get(tx, media_id)
    if run_id is not None:
        run_queries.get(tx, run_id)
    elif latest:
        return _list_of_item(
            tx, after.item_id if after else _latest_item_id(tx, media_id), media_id, after, limit
        )
    wanted = [run_items.c.media_id == media_id]
    wanted += [run_items.c.run_id == run_id] if run_id is not None else []
    return _list_matching(tx, wanted, after, limit)


def _list_of_item(
    tx: Tx, item_id: int | None, media_id: str, after: SegmentPosition | None, limit: int
) -> Sequence[FoundSegment]:
    wanted = [run_items.c.id == item_id, run_items.c.media_id == media_id]
    return [] if item_id is None else _list_matching(tx, wanted, after, limit)


def _list_matching(
    tx: Tx, wanted: Sequence[sa.ColumnElement[bool]], after: SegmentPosition | None, limit: int
) -> Sequence[FoundSegment]:
    table = segment_results
    columns = run_items.c.media_id, run_items.c.run_id, run_items.c.completed_at.label("found_at")
    chosen = (
        sa.select(table, *columns, prompt_runs.c.not_done)
        .join(run_items, run_items.c.id == table.c.run_item_id)
        .join(prompt_runs, prompt_runs.c.id == run_items.c.run_id)
        .where(*wanted)
    )
    if after is not None:
        later = sa.and_(table.c.run_item_id == after.item_id, table.c.ordinal > after.ordinal)
        chosen = chosen.where(sa.or_(table.c.run_item_id < after.item_id, later))
    chosen = chosen.order_by(table.c.run_item_id.desc(), table.c.ordinal).limit(limit)
    return models_of(FoundSegment, tx.all(chosen))


def _latest_item_id(tx: Tx, media_id: str) -> int | None:
    found = run_items.c.media_id == media_id, run_items.c.segment_count > 0
    newest: int | None = tx.execute(sa.select(sa.func.max(run_items.c.id)).where(*found)).scalar()
    return newest


def list_many(tx: Tx, targets: Mapping[tuple[str, str | None], None], limit: int) -> list[MediaSegments]:
    """Return the segments of each target, a media item and optionally a run; without one, of its latest run.

    Returns at most `limit` segments in total. Media that do not exist are left out.
    """
    there = {view.row.id for view in media_queries.list_kept_views(tx, [media_id for media_id, _ in targets])}
    found = []
    for media_id, run_id in targets:
        if media_id in there:
            rows = _list_target(tx, media_id, run_id, limit)
            found.append(MediaSegments(media_id, run_id, rows))
            limit -= len(rows)
    return found


def _list_target(tx: Tx, media_id: str, run_id: str | None, limit: int) -> Sequence[FoundSegment]:
    if run_id is None:
        return _list_of_item(tx, _latest_item_id(tx, media_id), media_id, None, limit)
    return _list_matching(tx, [run_items.c.media_id == media_id, run_items.c.run_id == run_id], None, limit)
