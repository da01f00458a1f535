"""Retry objects whose import failed because their store did not deliver them, with growing pauses.

A retry only reads. If that succeeds, the object is taken up: the ledger forgets the version, so that it joins a window
and an import job of its own; an object that no automation found gets a job at once. A retry that a crash interrupts is
repeated when its lease ends. A version that was imported another way meanwhile, replaced or deleted is not retried.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from vvwatch.core.retries import Patience
from vvwatch.errors import AccessDenied
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx, is_one_of
from vvwatch.store.db.typed import first_of, model_of, models_of
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.imports import ImportFile, ImportJob, Trouble
from vvwatch.store.schema import (
    connectors,
    import_automations,
    import_files,
    import_jobs,
    ledger_scopes,
    objects,
    troubles,
    windows,
)
from vvwatch.store.watching import ledger

LEASE_SECONDS: Final = 300.0
"""The lease of a retry: nobody else makes it meanwhile."""

_SHORTEST_RECHECK_SECONDS: Final = 30.0
_SKEW_SECONDS: Final = 5.0
_MOST_BROUGHT_FORWARD: Final = 500
_KEPT_SECONDS: Final = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class DueTry:
    """An object to retry, and its connector. `trouble.retry_at` is when the lease of the retry ends."""

    trouble: Trouble
    connector: Connector


def record_failure(tx: Tx, job: ImportJob, file: ImportFile, patience: Patience) -> None:
    """Record that the file of the job failed and its object is to be retried; earlier retries of it continue."""
    if catalog.is_uploads(job.connector_id):
        return
    scope_id = ledger.ensure_scope(tx, job.index_id, job.connector_id)
    known = tx.first(sa.select(troubles).where(*_match_version(scope_id, file.key, file.version)))
    tries = known.tries + 1 if known is not None else 0
    row = {
        "scope_id": scope_id,
        "key": file.key,
        "version": file.version,
        "job_id": job.id,
        "file_id": file.id,
        "automation_id": job.automation_id,
        "reason": file.reason,
        "message": file.message or "",
        "tries": tries,
        "first_failed_at": known.first_failed_at if known is not None else tx.now,
        "failed_at": tx.now,
        "retry_at": tx.now + _compute_delay(tx, job.automation_id, file.reason or "", tries, patience),
        "begun_by": "",
    }
    upsert = tx.upsert(troubles).values(row)
    keyed = ["scope_id", "key", "version"]
    changed = {name: upsert.excluded[name] for name in row if name not in keyed}
    tx.execute(upsert.on_conflict_do_update(index_elements=keyed, set_=changed))


def _compute_delay(tx: Tx, automation_id: str | None, reason: str, tries: int, patience: Patience) -> float:
    """Limit the pause for denied objects: access may be granted at any time, and asking costs little."""
    if reason != AccessDenied.code:
        return patience.delay(tries)
    scans = sa.select(import_automations.c.scan_seconds).where(import_automations.c.id == automation_id)
    seconds = float(tx.execute(scans).scalar() or 0.0)
    return patience.delay(tries, max(seconds, _SHORTEST_RECHECK_SECONDS))


def _match_version(scope_id: int, key: str, version: str) -> tuple[sa.ColumnElement[bool], ...]:
    return troubles.c.scope_id == scope_id, troubles.c.key == key, troubles.c.version == version


class VersionRef(NamedTuple):
    """A version of an object."""

    scope_id: int
    key: str
    version: str


def list_due(tx: Tx, node: str, most: int) -> list[VersionRef]:
    """Return some due objects that this node can reach, the longest waiting first."""
    automation = import_automations
    found = (
        sa.select(troubles.c.scope_id, troubles.c.key, troubles.c.version)
        .join(ledger_scopes, ledger_scopes.c.id == troubles.c.scope_id)
        .join(connectors, connectors.c.id == ledger_scopes.c.connector_id)
        .outerjoin(automation, automation.c.id == troubles.c.automation_id)
        .where(
            _is_due(tx.now),
            connectors.c.status == "active",
            connectors.c.node.in_(("", node)),
            sa.or_(troubles.c.automation_id.is_(None), sa.and_(automation.c.enabled, ~automation.c.paused)),
        )
    )
    return [
        VersionRef(row.scope_id, row.key, row.version)
        for row in tx.all(found.order_by(troubles.c.retry_at).limit(most))
    ]


def _is_due(now: float) -> sa.ColumnElement[bool]:
    """Return the condition for due retries, also those planned by a clock that was set back since."""
    table = troubles.c
    planned = sa.and_(table.retry_at.is_not(None), table.failed_at > now + _SKEW_SECONDS)
    return sa.or_(table.retry_at <= now, planned)


def begin_try(tx: Tx, scope_id: int, key: str, version: str, node: str) -> DueTry | None:
    """Take a due retry for this node; None if another was first."""
    taken = sa.update(troubles).where(*_match_version(scope_id, key, version), _is_due(tx.now))
    planned_by = sa.case((troubles.c.failed_at > tx.now, tx.now), else_=troubles.c.failed_at)
    lease = {"retry_at": tx.now + LEASE_SECONDS, "begun_by": node, "failed_at": planned_by}
    row = first_of(Trouble, tx.execute(taken.values(lease).returning(troubles)))
    if row is None:
        return None
    if not is_known(tx, row):
        _delete(tx, row)
        return None
    of_scope = ledger_scopes.c.connector_id == connectors.c.id, ledger_scopes.c.id == scope_id
    connector = model_of(Connector, tx.execute(sa.select(connectors).where(*of_scope)).one())
    return DueTry(row, connector)


def give_back(tx: Tx, node: str) -> None:
    """Make the retries that this node had begun before its start due at once."""
    mine = troubles.c.begun_by == node, troubles.c.retry_at.is_not(None)
    tx.execute(sa.update(troubles).where(*mine).values(begun_by="", retry_at=tx.now))


def is_known(tx: Tx, trouble: Trouble) -> bool:
    """Return whether the ledger still has the failed version under its window: nobody took it up."""
    if trouble.automation_id is None:
        return tx.first(sa.select(import_jobs.c.id).where(import_jobs.c.id == trouble.job_id)) is not None
    here = objects.c.scope_id == trouble.scope_id, objects.c.key == trouble.key
    its = sa.select(windows.c.import_job_id).join(objects, objects.c.window_seq == windows.c.seq)
    taken_by = tx.execute(its.where(*here, objects.c.version == trouble.version)).scalar()
    return bool(taken_by == trouble.job_id)


def end_try(tx: Tx, begun: Trouble, **values: Any) -> bool:
    """End the retry; return whether it counted: its lease still held, and the object was not taken up meanwhile."""
    its = *_match_version(begun.scope_id, begun.key, begun.version), troubles.c.retry_at == begun.retry_at
    changed = sa.update(troubles).where(*its, troubles.c.job_id == begun.job_id).values(begun_by="", **values)
    count = int(tx.execute(changed).rowcount)
    return count == 1


def put_off(tx: Tx, begun: Trouble, reason: str, message: str, patience: Patience) -> float | None:
    """Postpone an object that is still not delivered; return its next retry. None if this retry no longer counts."""
    tries = begun.tries + 1
    delay = _compute_delay(tx, begun.automation_id, reason, tries, patience)
    failure = {"tries": tries, "reason": reason, "message": message, "failed_at": tx.now}
    return tx.now + delay if end_try(tx, begun, retry_at=tx.now + delay, **failure) else None


def bring_forward(tx: Tx, scope_id: int, reason: str) -> None:
    """Retry similar failures soon after one object is delivered again: a fix rarely concerns only one."""
    table = troubles.c
    alike = table.scope_id == scope_id, table.reason == reason, table.retry_at > tx.now
    some = sa.select(table.key).where(*alike, table.begun_by == "").order_by(table.retry_at)
    keys = [row.key for row in tx.all(some.limit(_MOST_BROUGHT_FORWARD))]
    if keys:
        mine = table.scope_id == scope_id, table.key.in_(keys), table.retry_at > tx.now
        tx.execute(sa.update(troubles).where(*mine).values(retry_at=tx.now))


def wait_for_store(tx: Tx, begun: Trouble, seconds: float) -> None:
    """Postpone the retry while the whole store is unreachable; it does not count."""
    end_try(tx, begun, retry_at=tx.now + seconds)


def drop_replaced(tx: Tx, begun: Trouble) -> None:
    """Drop a version that is gone or replaced: found again, it counts as new."""
    if end_try(tx, begun, retry_at=None):
        scope = tx.execute(sa.select(ledger_scopes).where(ledger_scopes.c.id == begun.scope_id)).one()
        ledger.forget_version(tx, scope.index_id, scope.connector_id, begun.key, begun.version)
        note_retried(tx, begun.file_id)
        _delete(tx, begun)


def note_retried(tx: Tx, file_id: int | None) -> None:
    """Record once that the failed file of an import job was retried."""
    its = import_files.c.id == file_id, import_files.c.status == "failed", import_files.c.retried_at.is_(None)
    retried = sa.update(import_files).where(*its).values(retried_at=tx.now).returning(import_files.c.job_id)
    for job_id in tx.execute(retried).scalars().all():
        tx.update(import_jobs, job_id, retried=import_jobs.c.retried + 1)


def _delete(tx: Tx, trouble: Trouble) -> None:
    tx.execute(sa.delete(troubles).where(*_match_version(trouble.scope_id, trouble.key, trouble.version)))


def forget(tx: Tx, scope_id: int, keys: Sequence[str]) -> None:
    """Stop automatic retries at these keys, because another import handles them; if it fails too, they resume."""
    those = troubles.c.scope_id == scope_id, troubles.c.retry_at.is_not(None), is_one_of(troubles.c.key)
    tx.execute(sa.update(troubles).where(*those).values(retry_at=None), {"keys": json.dumps(list(keys))})


def find_by_files(tx: Tx, file_ids: Sequence[int]) -> dict[int, Trouble]:
    """Return the open trouble of each of these files of import jobs."""
    if not file_ids:
        return {}
    table = troubles
    rows = tx.all(sa.select(table).where(table.c.file_id.in_(file_ids), table.c.retry_at.is_not(None)))
    return {row.file_id: row for row in models_of(Trouble, rows)}


def prune(tx: Tx, most: int = 500) -> int:
    """Delete what was taken up long ago without failing again, and what is no longer watched; return how many."""
    table, automations = troubles.c, import_automations.c.id
    taken_up = sa.and_(table.retry_at.is_(None), table.failed_at < tx.now - _KEPT_SECONDS)
    watched = sa.exists().where(automations == table.automation_id)
    unwatched = sa.and_(table.automation_id.is_not(None), ~watched)
    chosen = tx.all(
        sa.select(table.scope_id, table.key, table.version).where(sa.or_(taken_up, unwatched)).limit(most)
    )
    for row in chosen:
        tx.execute(sa.delete(troubles).where(*_match_version(row.scope_id, row.key, row.version)))
    return len(chosen)
