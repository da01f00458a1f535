"""The originals of media: what must be known to give them away."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from vvwatch.core.identities import segment_of
from vvwatch.errors import NotFound
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of
from vvwatch.store.imports import media_queries
from vvwatch.store.models.catalog import Connector
from vvwatch.store.runs import run_queries
from vvwatch.store.schema import connectors, run_items, segment_results


def require_original(tx: Tx, media_id: str, run_id: str | None, segment_id: str | None) -> sa.Row[Any]:
    """The media item. Raises NotFound for it, for a run that does not have it, or a segment that is not of both."""
    row = media_queries.get(tx, media_id)
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


def find_source(tx: Tx, media_id: str) -> tuple[sa.Row[Any], Connector | None]:
    """The media item and the connector that its original came from, if there still is one. Raises NotFound."""
    row = media_queries.get(tx, media_id)
    connector = sa.select(connectors).where(connectors.c.id == row.connector_id)
    return row, first_of(Connector, tx.execute(connector))
