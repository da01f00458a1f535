"""The sidecar of a media item is read again: it came after its media, or changed.

The facts of the media item are replaced, and an automation that exported its newest run exports that once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.exports import ExportStatus
from vvwatch.core.facts import name_sidecars, wants_sidecar
from vvwatch.core.filters import Reason
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.deleted import is_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of, model_of
from vvwatch.store.delivery import exports
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.imports import Media
from vvwatch.store.runs import runs
from vvwatch.store.schema import exports as exports_table
from vvwatch.store.schema import fact_updates as table
from vvwatch.store.schema import import_automations, import_jobs, media, observations, run_items

_MOST: Final = 50
_EXPORT_SECONDS: Final = 2.0
"""The pause while an export of the results is built."""


@dataclass(frozen=True, slots=True)
class UpdateWork:
    """A media item whose sidecar is to be read."""

    media: Media
    connector: Connector
    attempts: int


@dataclass(frozen=True, slots=True)
class UpdateEnd:
    """The media item whose facts changed, and the export that follows, if any."""

    media_id: str
    export_id: str | None


def find_media(tx: Tx, automation_id: str, key: str) -> list[str]:
    """Return the media items of the automation that a sidecar of this key goes with."""
    stem = key.rpartition(".")[0]
    named = media.c.key > f"{stem}.", media.c.key < f"{stem}/"
    its = import_jobs.c.automation_id == automation_id, media.c.status != "deleted"
    chosen = (
        sa.select(media.c.id, media.c.key)
        .join(import_jobs, import_jobs.c.id == media.c.import_job_id)
        .where(*named, *its, is_not_deleted(media.c.id))
        .limit(_MOST)
    )
    return [row.id for row in tx.all(chosen) if key in name_sidecars(row.key)]


def request(tx: Tx, media_id: str, at: float) -> None:
    """Read the sidecar of the media item at `at`; an attempt under way is made again."""
    row = {"id": media_id, "created_at": tx.now}
    if tx.insert_new(table, [row]):
        tx.enqueue(Kind.FACTS, media_id, 0, at)
        return
    moved = sa.update(table).where(table.c.id == media_id).values(revision=table.c.revision + 1, attempts=0)
    revision = tx.execute(moved.returning(table.c.revision)).scalar_one()
    tx.enqueue(Kind.FACTS, media_id, revision, at)


def request_if_observed(tx: Tx, automation_id: str, media_id: str, key: str, since: float) -> None:
    """Read the sidecar of a new media item again if one was seen since the import looked for it."""
    tx.guard(import_automations, automation_id)  # who records a sidecar meanwhile sees the media item
    seen = observations.c.automation_id == automation_id, observations.c.reason == Reason.SIDECAR
    named = observations.c.key.in_(name_sidecars(key)), observations.c.seen_at >= since
    if tx.first(sa.select(observations.c.key).where(*seen, *named).limit(1)) is not None:
        request(tx, media_id, tx.now)


def begin(tx: Tx, job: Job) -> UpdateWork | None:
    """Count the attempt and return the work; None if the job is stale, or nothing is to be done."""
    row = tx.touch(job, attempts=table.c.attempts + 1)
    if row is None:
        return None
    there = media.c.id == job.ref, is_not_deleted(media.c.id), is_not_deleted(media.c.index_id)
    found = first_of(Media, tx.execute(sa.select(media).where(*there)))
    if found is None or not _is_wanted(tx, found):
        end(tx, job)
        return None
    if _is_exported_now(tx, found):
        retry(tx, job, tx.now + _EXPORT_SECONDS)
        return None
    return UpdateWork(found, catalog.read_connector(tx, found.connector_id), row.attempts)


def _is_wanted(tx: Tx, found: Media) -> bool:
    """Return whether the automation that imported the media item still wants its sidecar."""
    chosen = (
        sa.select(import_automations.c.facts)
        .join(import_jobs, import_jobs.c.automation_id == import_automations.c.id)
        .where(import_jobs.c.id == found.import_job_id)
    )
    return wants_sidecar(tx.execute(chosen).scalar())


def _is_exported_now(tx: Tx, found: Media) -> bool:
    """Return whether an export reads the facts now; they must not change meanwhile."""
    runs_of_media = sa.select(run_items.c.run_id).where(run_items.c.media_id == found.id)
    reads = sa.or_(exports_table.c.index_id == found.index_id, exports_table.c.run_id.in_(runs_of_media))
    building = exports_table.c.status == ExportStatus.PROCESSING
    return tx.first(sa.select(exports_table.c.id).where(building, reads).limit(1)) is not None


def retry(tx: Tx, job: Job, at: float, message: str | None = None) -> None:
    """Make the attempt again at `at`; `message` says why, None that it only waits, which is no attempt."""
    attempts = table.c.attempts - int(message is None)
    row = tx.claim(job, attempts=attempts, error_message=message)
    if row is not None:
        tx.enqueue(Kind.FACTS, row.id, row.revision, at, Priority.MANUAL)


def end(tx: Tx, job: Job) -> bool:
    """End the update; False for a stale job."""
    ended = sa.delete(table).where(table.c.id == job.ref, table.c.revision == job.revision)
    return tx.execute(ended).rowcount > 0


def finish(tx: Tx, job: Job, sidecar: dict[str, Any]) -> UpdateEnd | None:
    """Replace what the sidecar says and end the update; None if it says the same, or for a stale job."""
    if tx.current(job) is None:
        return None
    found = model_of(Media, tx.execute(sa.select(media).where(media.c.id == job.ref)).one())
    if _is_exported_now(tx, found):
        retry(tx, job, tx.now + _EXPORT_SECONDS)
        return None
    if not end(tx, job) or (found.facts or {}).get("sidecar") == sidecar:
        return None
    known = {**(found.facts or {}), "sidecar": sidecar}
    tx.update(media, found.id, facts=known, updated_at=tx.now)
    newest = sa.select(run_items.c.run_id).where(run_items.c.media_id == found.id)
    run_id = tx.execute(newest.order_by(run_items.c.id.desc()).limit(1)).scalar()
    export_id = None if run_id is None else exports.request_automatic(tx, runs.get(tx, run_id), again=True)
    return UpdateEnd(found.id, export_id)
