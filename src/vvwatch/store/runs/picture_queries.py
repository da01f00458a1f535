"""Queries of the pictures of segments and of media items."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from vvwatch.core.identities import segment_of
from vvwatch.core.pictures import PicturePack
from vvwatch.errors import NotFound
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import media_queries
from vvwatch.store.runs import run_queries
from vvwatch.store.runs.pictures import load_packs
from vvwatch.store.schema import pictures, run_items, segment_results

_MOST_RUNS = 20


class SegmentPictures(NamedTuple):
    """The pack of the item that a segment is of, None without one, and the segment's ordinal."""

    pack: PicturePack | None
    ordinal: int


def find_segment_pictures(tx: Tx, segment_id: str) -> SegmentPictures:
    """Return the pictures of the segment's item. Raises NotFound for an unknown segment, and of a deleted item."""
    item_id, ordinal = segment_of(segment_id) or (0, 0)
    table = segment_results
    chosen = sa.select(run_items.c.media_id).join(table, table.c.run_item_id == run_items.c.id)
    found = tx.first(chosen.where(run_items.c.id == item_id, table.c.ordinal == ordinal))
    if found is None:
        raise NotFound("segment", segment_id)
    media_queries.get(tx, found.media_id)
    return SegmentPictures(load_packs(tx, [item_id]).get(item_id), ordinal)


def list_packs(tx: Tx, media_id: str, run_id: str | None) -> list[PicturePack]:
    """Return the packs of the media item's newest runs, or of one run, newest first. Raises NotFound."""
    media_queries.get(tx, media_id)
    wanted = [run_items.c.media_id == media_id]
    if run_id is not None:
        run_queries.get_item(tx, run_id, media_id)
        wanted.append(run_items.c.run_id == run_id)
    chosen = sa.select(run_items.c.id).join(pictures, pictures.c.run_item_id == run_items.c.id).where(*wanted)
    ids = tx.execute(chosen.order_by(run_items.c.id.desc()).limit(_MOST_RUNS)).scalars().all()
    packs = load_packs(tx, ids)
    return [packs[item_id] for item_id in ids]
