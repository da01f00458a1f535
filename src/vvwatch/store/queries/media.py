"""Media as they are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vvwatch.store import catalog
from vvwatch.store.database import Tx
from vvwatch.store.schema import media, prompt_runs, run_items


@dataclass(frozen=True, slots=True)
class MediaView:
    """A media item, and its items of prompt runs (with columns `run_prompt_id`, `run_created_at`)."""

    row: sa.Row[Any]
    items: Sequence[sa.Row[Any]]


def get(tx: Tx, media_id: str) -> sa.Row[Any]:
    """The media item; raises NotFound."""
    return tx.require(media, "video", media_id)


def view(tx: Tx, media_id: str) -> MediaView:
    """The media item with its runs, newest first; raises NotFound."""
    row = get(tx, media_id)
    columns = prompt_runs.c.prompt_id.label("run_prompt_id"), prompt_runs.c.created_at.label("run_created_at")
    chosen = sa.select(run_items, *columns).join(prompt_runs, prompt_runs.c.id == run_items.c.run_id)
    items = tx.all(chosen.where(run_items.c.media_id == media_id).order_by(run_items.c.id.desc()))
    return MediaView(row, items)


def page(tx: Tx, index_id: str, before_id: str | None, limit: int) -> Sequence[sa.Row[Any]]:
    """Media of an index, newest first, from the one before `before_id`. Raises NotFound for the index."""
    catalog.get_index(tx, index_id)
    wanted = [media.c.index_id == index_id]
    wanted += [media.c.id < before_id] if before_id is not None else []
    return tx.all(sa.select(media).where(*wanted).order_by(media.c.id.desc()).limit(limit))
