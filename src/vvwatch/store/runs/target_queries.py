"""Resolve what a prompt run is requested for: an index, media items, the playground, or an import."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.imports import TERMINAL
from vvwatch.core.segments import Amount
from vvwatch.errors import InvalidInput, NotFound
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.deleted import is_not_deleted, require_not_deleted
from vvwatch.store.db.database import Tx, is_one_of
from vvwatch.store.runs.batches import MediaSet, select_media, whole_index
from vvwatch.store.schema import import_jobs, indexes, media, prompt_runs

_MOST_LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class Target:
    """Media that exist: a list, or a whole set. `context` says what was requested; `index_id` is None for several."""

    index_id: str | None
    media_ids: Sequence[str] | MediaSet
    context: Mapping[str, Any]


def resolve_index(tx: Tx, index_id: str) -> Target:
    """Return all media that an index has now. Raises NotFound, or InvalidInput if there are none."""
    catalog.get_index(tx, index_id)
    return _resolve_all(tx, index_id, {"type": "index", "index_id": index_id}, f"index {index_id!r}")


def resolve_playground(tx: Tx) -> Target:
    """Return all media that the playground has now. Raises InvalidInput if there are none."""
    index_id = catalog.PLAYGROUND_ID
    context = {"type": "playground", "is_playground": True, "index_id": index_id}
    return _resolve_all(tx, index_id, context, "the playground")


def _resolve_all(tx: Tx, index_id: str, context: Mapping[str, Any], name: str) -> Target:
    whole = whole_index(tx, index_id)
    if tx.first(select_media(whole).limit(1)) is None:
        raise InvalidInput(f"{name} has no media: there is nothing to process", "import some first")
    return Target(index_id, whole, context)


def resolve_videos(tx: Tx, video_ids: Sequence[str], index_id: str | None = None) -> Target:
    """Return these media, each once, all in the index if one is named. Raises NotFound for any that is not there."""
    if index_id is not None:
        catalog.get_index(tx, index_id)
    wanted = list(dict.fromkeys(video_ids))
    there = sa.select(media.c.id, media.c.index_id).where(_is_listed(), is_not_deleted(media.c.index_id))
    homes = {row.id: row.index_id for row in tx.execute(there, _keys(wanted))}
    for video_id in wanted:
        if homes.get(video_id) != (index_id or homes.get(video_id, "")):
            raise NotFound("video", video_id, f"it is not in index {index_id!r}" if video_id in homes else "")
    own = index_id or (homes[wanted[0]] if len(set(homes.values())) == 1 else None)
    context = {
        "type": "videos",
        "video_ids": wanted[:_MOST_LISTED],
        "video_count": len(wanted),
        "index_id": own,
    }
    return Target(own, wanted, context)


def find_index_id(tx: Tx, name: str) -> str:
    """Return the id of the oldest index with exactly this name. Raises NotFound."""
    table = indexes
    named = sa.select(table.c.id).where(table.c.name == name, is_not_deleted(table.c.id))
    found = tx.first(named.order_by(table.c.created_at, table.c.id).limit(1))
    if found is None:
        raise NotFound("index", name, "GET /indexes lists them")
    return str(found.id)


def resolve_import(tx: Tx, job_id: str) -> tuple[Target, str | None]:
    """Return all media that an import job made or will make, and its id if no run follows it yet.

    Raises NotFound, or InvalidInput for one that ended without media.
    """
    job = tx.require(import_jobs, "import_job", job_id)
    require_not_deleted(tx, "import_job", job_id, job.index_id)
    whole = MediaSet("import_job", job_id, awaited=job.status not in TERMINAL)
    if not whole.awaited and tx.first(select_media(whole).limit(1)) is None:
        raise InvalidInput(
            f"import job {job_id!r} made no media", "GET …/files shows what happened to its files"
        )
    followed = job.prompt_preset or tx.first(
        sa.select(prompt_runs.c.id).where(prompt_runs.c.import_job_id == job_id)
    )
    context = {"type": "import_job", "import_job_id": job_id, "index_id": job.index_id}
    return Target(job.index_id, whole, context), None if followed else job_id


def _is_listed() -> sa.ColumnElement[bool]:
    return sa.and_(is_one_of(media.c.id), is_not_deleted(media.c.id))


def _keys(media_ids: Sequence[str]) -> dict[str, str]:
    return {"keys": json.dumps(list(media_ids))}


def count_amounts(tx: Tx, target: Target) -> list[Amount]:
    """Count the media to process and their seconds, by media type."""
    seconds = sa.func.coalesce(sa.func.sum(media.c.duration_seconds), 0.0).label("seconds")
    counts = media.c.media_type, sa.func.count().label("number"), seconds
    grouped = sa.select(*counts).group_by(media.c.media_type)
    if isinstance(target.media_ids, MediaSet):
        all_of = select_media(target.media_ids).order_by(None).with_only_columns(media.c.id)
        rows = tx.execute(grouped.where(media.c.id.in_(all_of)))
    else:
        rows = tx.execute(grouped.where(_is_listed()), _keys(target.media_ids))
    return [Amount(row.media_type, row.number, row.seconds) for row in rows]
