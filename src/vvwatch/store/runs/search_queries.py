"""Read the results of prompt runs in small chunks, for a search that scans all of them.

The order is newest run first, then newest media item, then segment: new results never move old ones. Documents stay
JSON text, so the reader decides where to parse them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import sqlalchemy as sa

from vvwatch.core.identities import WHOLE as WHOLE_ITEM
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.deleted import is_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.imports import media_queries
from vvwatch.store.models.runs import SearchItem, SearchSegment
from vvwatch.store.runs import run_queries
from vvwatch.store.schema import media, prompt_runs, run_items, segment_results

Level = Literal["segment", "video"]

WHOLE: Final = 2**53
"""The ordinal of a position after all segments of a media item."""

_NO_MEDIA: Final = ""  # before every other id: all of the run was read
_RUNS_AT_ONCE: Final = 64
_ITEMS_AT_ONCE: Final = 1_000
_WHOLE_AT_ONCE: Final = 100
_SEGMENTS_AT_ONCE: Final = 250


@dataclass(frozen=True, slots=True)
class SearchScope:
    """Where to search; an empty part restricts nothing."""

    index_ids: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    video_ids: tuple[str, ...] = ()


class SearchPosition(NamedTuple):
    """How far the search came: all results of this item up to `ordinal` were read."""

    run_id: str
    media_id: str
    ordinal: int


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One result: an item, and a `segment` of it or None for the whole. `metadata` is JSON text."""

    item: SearchItem
    segment: SearchSegment | None
    metadata: str | None

    @property
    def key(self) -> tuple[int, int]:
        """Item and ordinal."""
        return self.item.id, self.segment.ordinal if self.segment else WHOLE_ITEM

    @property
    def place(self) -> SearchPosition:
        """The position of the result."""
        return SearchPosition(
            self.item.run_id, self.item.media_id, self.segment.ordinal if self.segment else WHOLE
        )


@dataclass(frozen=True, slots=True)
class SearchChunk:
    """Results in order, and the position after them; None if nothing follows."""

    found: Sequence[SearchHit]
    place: SearchPosition | None


class _Items(NamedTuple):
    rows: Sequence[SearchItem]
    behind: SearchPosition | None  # where to continue after all of them; None at the end


def require_scope(tx: Tx, scope: SearchScope) -> None:
    """Raise NotFound for an index, run or media item of the scope that does not exist."""
    for index_id in scope.index_ids:
        catalog.get_index(tx, index_id)
    for run_id in scope.run_ids:
        run_queries.get(tx, run_id)
    for video_id in scope.video_ids:
        media_queries.get(tx, video_id)


def read_chunk(tx: Tx, scope: SearchScope, level: Level, after: SearchPosition | None) -> SearchChunk:
    """Return the next results after `after`, as many as can be read quickly. It may be empty though more follow."""
    items = (
        _read_media_items(tx, scope, level, after)
        if scope.video_ids
        else _read_run_items(tx, scope, level, after)
    )
    if level == "video":
        return SearchChunk([SearchHit(row, None, row.video_metadata) for row in items.rows], items.behind)
    return _read_segments(tx, items, after)


def _read_media_items(tx: Tx, scope: SearchScope, level: Level, after: SearchPosition | None) -> _Items:
    wanted: list[sa.ColumnElement[bool]] = [run_items.c.media_id.in_(scope.video_ids)]
    wanted += [run_items.c.run_id.in_(scope.run_ids)] if scope.run_ids else []
    rows = _list_items(tx, wanted, after)
    behind = _end_of_item(rows[-1]) if len(rows) == _ITEMS_AT_ONCE else None
    return _read_with_results(tx, scope, level, rows, behind)


def _read_run_items(tx: Tx, scope: SearchScope, level: Level, after: SearchPosition | None) -> _Items:
    """Read the items of several small runs, or part of one large run."""
    found = _list_runs(tx, scope, after)
    together, items = 0, 0
    for run in found:
        if together and items + run.total_items > _ITEMS_AT_ONCE:
            break
        together, items = together + 1, items + run.total_items
    taken = [run.id for run in found[:together]]
    rows = _list_items(tx, [run_items.c.run_id.in_(taken)], after) if taken else []
    is_last = together == len(found) < _RUNS_AT_ONCE
    behind = None if is_last else SearchPosition(taken[-1], _NO_MEDIA, WHOLE)
    if len(rows) == _ITEMS_AT_ONCE:
        behind = _end_of_item(rows[-1])
    return _read_with_results(tx, scope, level, rows, behind)


class _RunSize(NamedTuple):
    id: str
    total_items: int


def _list_runs(tx: Tx, scope: SearchScope, after: SearchPosition | None) -> list[_RunSize]:
    columns = prompt_runs.c
    wanted: list[sa.ColumnElement[bool]] = []
    wanted += [columns.id.in_(scope.run_ids)] if scope.run_ids else []
    if after is not None:
        wanted += [columns.id < after.run_id if after.media_id == _NO_MEDIA else columns.id <= after.run_id]
    if scope.index_ids:  # a run over selected media has no index
        wanted += [sa.or_(columns.index_id.in_(scope.index_ids), columns.index_id.is_(None))]
    chosen = sa.select(columns.id, columns.total_items).where(*wanted)
    return models_of(_RunSize, tx.all(chosen.order_by(columns.id.desc()).limit(_RUNS_AT_ONCE)))


class _ItemSize(NamedTuple):
    id: int
    run_id: str
    media_id: str
    segment_count: int
    has_document: bool


def _list_items(
    tx: Tx, wanted: Sequence[sa.ColumnElement[bool]], after: SearchPosition | None
) -> list[_ItemSize]:
    """Return items after `after`, with or without results, and the item of `after` unless it was read wholly."""
    columns = run_items.c
    if after is not None:
        earlier = columns.media_id < after.media_id
        rest = earlier if after.ordinal >= WHOLE else columns.media_id <= after.media_id
        wanted = [*wanted, columns.run_id <= after.run_id, sa.or_(columns.run_id < after.run_id, rest)]
    has_document = columns.video_metadata.is_not(None).label("has_document")
    chosen = sa.select(columns.id, columns.run_id, columns.media_id, columns.segment_count, has_document)
    chosen = chosen.where(*wanted).order_by(columns.run_id.desc(), columns.media_id.desc())
    return models_of(_ItemSize, tx.all(chosen.limit(_ITEMS_AT_ONCE)))


def _read_with_results(
    tx: Tx, scope: SearchScope, level: Level, rows: Sequence[_ItemSize], behind: SearchPosition | None
) -> _Items:
    """Return those of the items that have results, complete, and not too many."""
    good = [row for row in rows if (row.segment_count if level == "segment" else row.has_document)]
    if len(good) > _WHOLE_AT_ONCE:
        good = good[:_WHOLE_AT_ONCE]
        behind = _end_of_item(good[-1])
    wanted = [
        run_items.c.id.in_([row.id for row in good]),
        is_not_deleted(media.c.id),
        is_not_deleted(media.c.index_id),
    ]
    wanted += [media.c.index_id.in_(scope.index_ids)] if scope.index_ids else []
    chosen = sa.select(*_COLUMNS).join(media, media.c.id == run_items.c.media_id)
    chosen = chosen.join(prompt_runs, prompt_runs.c.id == run_items.c.run_id).where(*wanted)
    chosen = chosen.order_by(run_items.c.run_id.desc(), run_items.c.media_id.desc())
    return _Items(models_of(SearchItem, tx.all(chosen)) if good else [], behind)


_COLUMNS: Final = (
    run_items.c.id,
    run_items.c.run_id,
    run_items.c.media_id,
    run_items.c.segment_count,
    sa.type_coerce(run_items.c.video_metadata, sa.Text).label("video_metadata"),
    run_items.c.video_metadata_text,
    prompt_runs.c.prompt_id,
    media.c.title,
    media.c.uri,
    media.c.media_type,
    media.c.index_id,
)


_SEGMENT_COLUMNS: Final = (
    segment_results.c.run_item_id,
    segment_results.c.ordinal,
    segment_results.c.start_time,
    segment_results.c.end_time,
    sa.type_coerce(segment_results.c.metadata, sa.Text).label("metadata"),
    segment_results.c.metadata_text,
)


def _read_segments(tx: Tx, items: _Items, after: SearchPosition | None) -> SearchChunk:
    """Return the segments of several items, or part of those of one item."""
    taken, count = 0, 0
    for row in items.rows:
        if taken and count + row.segment_count > _SEGMENTS_AT_ONCE:
            break
        taken, count = taken + 1, count + row.segment_count
    of = {row.id: row for row in items.rows[:taken]}
    begun = items.rows[0].id if taken and after and _is_in(items.rows[0], after) else None
    rows = _list_good_segments(tx, list(of), begun, after.ordinal if after else -1)
    order = {item_id: number for number, item_id in enumerate(of)}
    found = [
        SearchHit(of[row.run_item_id], row, row.metadata)
        for row in sorted(rows, key=lambda row: (order[row.run_item_id], row.ordinal))
    ]
    if len(rows) == _SEGMENTS_AT_ONCE:
        return SearchChunk(found, found[-1].place)
    return SearchChunk(
        found, items.behind if taken == len(items.rows) else _end_of_item(items.rows[taken - 1])
    )


def _list_good_segments(
    tx: Tx, item_ids: Sequence[int], begun: int | None, ordinal: int
) -> Sequence[SearchSegment]:
    columns = segment_results.c
    wanted: list[sa.ColumnElement[bool]] = [columns.run_item_id.in_(item_ids), columns.error.is_(None)]
    wanted += [sa.or_(columns.run_item_id != begun, columns.ordinal > ordinal)] if begun is not None else []
    read = sa.select(*_SEGMENT_COLUMNS).where(*wanted)
    if len(item_ids) == 1:
        read = read.order_by(columns.ordinal).limit(_SEGMENTS_AT_ONCE)
    return models_of(SearchSegment, tx.all(read)) if item_ids else []


def _is_in(item: SearchItem, place: SearchPosition) -> bool:
    return (item.run_id, item.media_id) == (place.run_id, place.media_id)


def _end_of_item(item: _ItemSize | SearchItem) -> SearchPosition:
    return SearchPosition(item.run_id, item.media_id, WHOLE)


def read_hits(tx: Tx, places: Sequence[tuple[int, int]]) -> list[SearchHit]:
    """Return the results at these places (item and ordinal; `WHOLE_ITEM` for the whole), in this order."""
    ids = list({item_id for item_id, _ in places})
    chosen = sa.select(*_COLUMNS).join(media, media.c.id == run_items.c.media_id)
    chosen = chosen.join(prompt_runs, prompt_runs.c.id == run_items.c.run_id)
    items = models_of(SearchItem, tx.all(chosen.where(run_items.c.id.in_(ids)))) if ids else []
    of = {item.id: item for item in items}
    its = segment_results.c
    wanted = sa.or_(
        sa.false(),
        *(sa.and_(its.run_item_id == item, its.ordinal == at) for item, at in places if at > WHOLE_ITEM),
    )
    rows = models_of(SearchSegment, tx.all(sa.select(*_SEGMENT_COLUMNS).where(wanted))) if places else []
    segments = {(row.run_item_id, row.ordinal): row for row in rows}
    found = (
        (of.get(item_id), segments.get((item_id, ordinal)), ordinal == WHOLE_ITEM)
        for item_id, ordinal in places
    )
    return [
        SearchHit(item, segment, item.video_metadata if segment is None else segment.metadata)
        for item, segment, whole in found
        if item is not None and (whole or segment is not None)
    ]
