"""The status and probe of a media item, as runs change them."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from vvwatch.core.media import Probe
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of
from vvwatch.store.delivery.events import announce
from vvwatch.store.models.imports import Media
from vvwatch.store.models.runs import Run
from vvwatch.store.schema import media


def correct_probe(tx: Tx, media_id: str, probe: Probe | None) -> float:
    """Store `probe`, which has read the whole file; return by how many seconds the media is longer than before."""
    chosen = sa.select(media).where(media.c.id == media_id, media.c.status != "deleted")
    row = first_of(Media, tx.execute(chosen))
    if probe is None or row is None:
        return 0.0
    changes = {
        "duration_seconds": probe.duration_seconds,
        "probe": {**asdict(probe), "damage": list(probe.damage)},
    }
    if any(getattr(row, name) != value for name, value in changes.items()):
        tx.update(media, media_id, updated_at=tx.now, **changes)
    return (probe.duration_seconds or 0.0) - (row.duration_seconds or 0.0)


def set_media_status(
    tx: Tx, event_type: str, run: Run, row: Media, status: str, error: str | None = None
) -> None:
    """Set the status of the media item in `row` and announce it."""
    tx.update(media, row.id, status=status, updated_at=tx.now)
    data = {
        "video_id": row.id,
        "index_id": row.index_id,
        "run_id": run.id,
        "title": row.title,
        "media_type": row.media_type,
        "status": status,
        "error": error,
    }
    announce(tx, event_type, f"{run.id}:{row.id}", row.index_id, data)
