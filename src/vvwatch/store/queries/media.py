"""Media as they are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vvwatch.store import catalog
from vvwatch.store.database import Tx
from vvwatch.store.deleted import kept, require_kept
from vvwatch.store.schema import media, prompt_runs, run_items


@dataclass(frozen=True, slots=True)
class MediaView:
    """A media item, and its items of prompt runs (without their documents, with `run_prompt_id`, `run_created_at`)."""

    row: sa.Row[Any]
    items: Sequence[sa.Row[Any]]


def get(tx: Tx, media_id: str) -> sa.Row[Any]:
    """The media item; raises NotFound, also for one that was deleted."""
    row = tx.require(media, "video", media_id)
    require_kept(tx, "video", media_id, row.index_id)
    return row


def view(tx: Tx, media_id: str) -> MediaView:
    """The media item with its runs, newest first, also when it was deleted; raises NotFound."""
    return _views(tx, [tx.require(media, "video", media_id)])[0]


def present(tx: Tx, media_id: str) -> MediaView:
    """As `view`, of one that was not deleted."""
    return _views(tx, [get(tx, media_id)])[0]


def present_among(tx: Tx, media_ids: Sequence[str]) -> list[MediaView]:
    """Those of these media that are there and were not deleted, in this order, each once."""
    there = media.c.id.in_(media_ids), kept(media.c.id), kept(media.c.index_id)
    found = {row.id: row for row in tx.all(sa.select(media).where(*there))}
    return _views(tx, [found[media_id] for media_id in dict.fromkeys(media_ids) if media_id in found])


def _views(tx: Tx, rows: Sequence[sa.Row[Any]]) -> list[MediaView]:
    """One read for the runs of all."""
    items: dict[str, list[sa.Row[Any]]] = {row.id: [] for row in rows}
    columns = prompt_runs.c.prompt_id.label("run_prompt_id"), prompt_runs.c.created_at.label("run_created_at")
    standing = (column for column in run_items.c if not column.name.startswith("video_metadata"))
    chosen = sa.select(*standing, *columns).join(prompt_runs, prompt_runs.c.id == run_items.c.run_id)
    of_these = chosen.where(run_items.c.media_id.in_(items)).order_by(run_items.c.id.desc())
    for item in tx.all(of_these):
        items[item.media_id].append(item)
    return [MediaView(row, items[row.id]) for row in rows]


def at(tx: Tx, uri: str) -> sa.Row[Any] | None:
    """The newest media item of this address; None when there is none that was not deleted. Looks through all media."""
    there = media.c.uri == uri, kept(media.c.id), kept(media.c.index_id)
    return tx.first(sa.select(media).where(*there).order_by(media.c.id.desc()).limit(1))


def run_ids(tx: Tx, media_id: str, limit: int) -> Sequence[str]:
    """The prompt runs that have the media item, newest first. Raises NotFound."""
    get(tx, media_id)
    chosen = sa.select(run_items.c.run_id).where(run_items.c.media_id == media_id)
    return tx.execute(chosen.order_by(run_items.c.run_id.desc()).limit(limit)).scalars().all()


def page(tx: Tx, index_id: str, before_id: str | None, limit: int) -> Sequence[sa.Row[Any]]:
    """Media of an index, newest first, from the one before `before_id`. Raises NotFound for the index."""
    catalog.get_index(tx, index_id)
    return _newest(tx, index_id, before_id, limit)


def in_playground(tx: Tx, before_id: str | None, limit: int) -> Sequence[sa.Row[Any]]:
    """As `page`, of the playground, which may not be there yet."""
    return _newest(tx, catalog.PLAYGROUND_ID, before_id, limit)


def _newest(tx: Tx, index_id: str, before_id: str | None, limit: int) -> Sequence[sa.Row[Any]]:
    wanted = [media.c.index_id == index_id, kept(media.c.id)]
    wanted += [media.c.id < before_id] if before_id is not None else []
    return tx.all(sa.select(media).where(*wanted).order_by(media.c.id.desc()).limit(limit))
