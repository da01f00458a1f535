"""Queries that show media and their originals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from vvwatch.core.identities import segment_of
from vvwatch.errors import NotFound
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.deleted import is_not_deleted, require_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import columns, first_of, model_of, models_of
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.imports import Media
from vvwatch.store.models.runs import ItemState, ItemWithRun, SegmentState
from vvwatch.store.runs import run_queries
from vvwatch.store.schema import connectors, media, prompt_runs, run_items, segment_results


@dataclass(frozen=True, slots=True)
class MediaView:
    """A media item, and its items of prompt runs.

    `prompts` has the prompt of each run by the run's id, `segments` the first segments of each item by the item's id.
    """

    row: Media
    items: Sequence[ItemWithRun]
    prompts: Mapping[str, Mapping[str, Any]]
    segments: Mapping[int, Sequence[SegmentState]]


def get(tx: Tx, media_id: str) -> Media:
    """Return the media item. Raises NotFound, also for a deleted one."""
    row = model_of(Media, tx.require(media, "video", media_id))
    require_not_deleted(tx, "video", media_id, row.index_id)
    return row


def get_view(tx: Tx, media_id: str) -> MediaView:
    """Return the media item with its runs, newest first, also a deleted one. Raises NotFound."""
    return _load_views(tx, [model_of(Media, tx.require(media, "video", media_id))])[0]


def get_kept_view(tx: Tx, media_id: str, most_segments: int = 0) -> MediaView:
    """As `view`, but not of a deleted one, and with so many segments of each run."""
    return _load_views(tx, [get(tx, media_id)], most_segments)[0]


def list_kept_views(tx: Tx, media_ids: Sequence[str], most_segments: int = 0) -> list[MediaView]:
    """Return those of these media that exist and are not deleted, in this order, each once."""
    there = media.c.id.in_(media_ids), is_not_deleted(media.c.id), is_not_deleted(media.c.index_id)
    found = {row.id: row for row in models_of(Media, tx.all(sa.select(media).where(*there)))}
    rows = [found[media_id] for media_id in dict.fromkeys(media_ids) if media_id in found]
    return _load_views(tx, rows, most_segments)


def _load_views(tx: Tx, rows: Sequence[Media], most_segments: int = 0) -> list[MediaView]:
    """Return the views by one query for all runs, one for their prompts and one for their segments."""
    items: dict[str, list[ItemWithRun]] = {row.id: [] for row in rows}
    of_run = (prompt_runs.c[name].label(f"run_{name}") for name in ("prompt_id", "processor", "created_at"))
    chosen = sa.select(*columns(ItemState, run_items), *of_run).join(
        prompt_runs, prompt_runs.c.id == run_items.c.run_id
    )
    of_these = chosen.where(run_items.c.media_id.in_(items)).order_by(run_items.c.id.desc())
    for item in models_of(ItemWithRun, tx.all(of_these)):
        items[item.media_id].append(item)
    its_runs = run_items.c.media_id.in_(items)
    prompts = _load_prompts(tx, its_runs)
    segments = _load_segments(tx, its_runs, most_segments)
    return [MediaView(row, items[row.id], prompts, segments) for row in rows]


def _load_prompts(tx: Tx, its_runs: sa.ColumnElement[bool]) -> dict[str, Mapping[str, Any]]:
    run_ids = sa.select(run_items.c.run_id).where(its_runs)
    chosen = sa.select(prompt_runs.c.id, prompt_runs.c.prompt).where(prompt_runs.c.id.in_(run_ids))
    return {row.id: row.prompt for row in tx.all(chosen)}


def _load_segments(tx: Tx, its_runs: sa.ColumnElement[bool], most: int) -> Mapping[int, list[SegmentState]]:
    found: defaultdict[int, list[SegmentState]] = defaultdict(list)
    if not most:
        return found
    table = segment_results.c
    chosen = sa.select(*columns(SegmentState, segment_results))
    wanted = chosen.join(run_items, run_items.c.id == table.run_item_id).where(its_runs, table.ordinal < most)
    for row in models_of(SegmentState, tx.all(wanted.order_by(table.run_item_id, table.ordinal))):
        found[row.run_item_id].append(row)
    return found


def find_by_uri(tx: Tx, uri: str) -> Media | None:
    """Return the newest media item of this address that is not deleted, or None. Reads all media."""
    there = media.c.uri == uri, is_not_deleted(media.c.id), is_not_deleted(media.c.index_id)
    chosen = sa.select(media).where(*there).order_by(media.c.id.desc()).limit(1)
    return first_of(Media, tx.execute(chosen))


def list_run_ids(tx: Tx, media_id: str, limit: int) -> Sequence[str]:
    """Return the prompt runs of the media item, newest first. Raises NotFound."""
    get(tx, media_id)
    chosen = sa.select(run_items.c.run_id).where(run_items.c.media_id == media_id)
    return tx.execute(chosen.order_by(run_items.c.run_id.desc()).limit(limit)).scalars().all()


def list_page(tx: Tx, index_id: str, before_id: str | None, limit: int) -> Sequence[MediaView]:
    """Return media of an index, newest first, before `before_id`. Raises NotFound for the index."""
    catalog.get_index(tx, index_id)
    return _list_newest(tx, index_id, before_id, limit)


def list_playground(tx: Tx, before_id: str | None, limit: int) -> Sequence[MediaView]:
    """As `page`, of the playground, which may not exist yet."""
    return _list_newest(tx, catalog.PLAYGROUND_ID, before_id, limit)


def list_all(tx: Tx, before_id: str | None, limit: int) -> Sequence[MediaView]:
    """As `list_page`, of all indexes."""
    return _list_newest(tx, None, before_id, limit)


def list_newest_ids(tx: Tx, index_id: str, limit: int) -> Sequence[str]:
    """Return the ids of the newest media of an index that are not deleted."""
    wanted = media.c.index_id == index_id, is_not_deleted(media.c.id), is_not_deleted(media.c.index_id)
    chosen = sa.select(media.c.id).where(*wanted).order_by(media.c.id.desc()).limit(limit)
    return tx.execute(chosen).scalars().all()


def _list_newest(tx: Tx, index_id: str | None, before_id: str | None, limit: int) -> Sequence[MediaView]:
    wanted = [is_not_deleted(media.c.id), is_not_deleted(media.c.index_id)]
    wanted += [media.c.index_id == index_id] if index_id is not None else []
    wanted += [media.c.id < before_id] if before_id is not None else []
    chosen = sa.select(media).where(*wanted).order_by(media.c.id.desc()).limit(limit)
    return _load_views(tx, models_of(Media, tx.all(chosen)))


def require_original(tx: Tx, media_id: str, run_id: str | None, segment_id: str | None) -> Media:
    """Return the media item. Raises NotFound for it, for a run without it, or for a segment that is not of both."""
    row = get(tx, media_id)
    if run_id is not None:
        run_queries.get_item(tx, run_id, media_id)
    if segment_id is not None:
        _require_segment(tx, media_id, run_id, segment_id)
    return row


def _require_segment(tx: Tx, media_id: str, run_id: str | None, segment_id: str) -> None:
    item_id, ordinal = segment_of(segment_id) or (0, 0)
    its = [run_items.c.id == item_id, run_items.c.media_id == media_id]
    its += [run_items.c.run_id == run_id] if run_id is not None else []
    table = segment_results
    joined = sa.select(table.c.ordinal).join(run_items, run_items.c.id == table.c.run_item_id)
    if tx.first(joined.where(table.c.ordinal == ordinal, *its)) is None:
        raise NotFound("segment", segment_id, f"it is not a segment of video {media_id}")


class SegmentSource(NamedTuple):
    """A segment's media item, and its times in it."""

    row: Media
    start_time: float
    end_time: float


def find_segment_source(tx: Tx, segment_id: str) -> SegmentSource:
    """Return where the segment is. Raises NotFound for an unknown segment, and of a deleted media item."""
    item_id, ordinal = segment_of(segment_id) or (0, 0)
    table = segment_results
    chosen = sa.select(run_items.c.media_id, table.c.start_time, table.c.end_time)
    joined = chosen.join(run_items, run_items.c.id == table.c.run_item_id)
    found = tx.first(joined.where(run_items.c.id == item_id, table.c.ordinal == ordinal))
    if found is None:
        raise NotFound("segment", segment_id)
    return SegmentSource(get(tx, found.media_id), found.start_time, found.end_time)


def find_source(tx: Tx, media_id: str) -> tuple[Media, Connector | None]:
    """Return the media item and the connector of its original, if that still exists. Raises NotFound."""
    row = get(tx, media_id)
    connector = sa.select(connectors).where(connectors.c.id == row.connector_id)
    return row, first_of(Connector, tx.execute(connector))
