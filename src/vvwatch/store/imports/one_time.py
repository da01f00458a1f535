"""One-time import jobs: a connector is listed once, and its objects gathered into the manifest page by page.

A listing that broke off begins again; what it had gathered stays, and what it skipped is counted again. So nothing
is in the manifest twice, however often that happens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import sqlalchemy as sa

from vvwatch.core.filters import Reason, check_rules
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.objects import StorageObject
from vvwatch.core.selection import Choice, SkippedObject
from vvwatch.core.state_machine import check_transition
from vvwatch.errors import Conflict
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store.catalog import catalog
from vvwatch.store.db import fairness
from vvwatch.store.db.database import Tx, is_one_of
from vvwatch.store.db.typed import model_of, model_or_none, models_of
from vvwatch.store.delivery.events import announce
from vvwatch.store.imports import cancellation, imports, unreadable
from vvwatch.store.imports.imports import FileEnd
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.imports import ImportJob
from vvwatch.store.schema import import_files, import_jobs
from vvwatch.store.watching import claims, ledger
from vvwatch.store.watching.automations import require_connector

MOST_LISTED: Final = 1_000
"""The most skipped files of a job that are listed with their reasons; all are counted."""

NEW_ONLY: Final = "new_only"
_COLUMNS: Final = ("job_id", "ordinal", "key", "version", "size_bytes", "modified_at", "status", "claimed")
_insert = sa.insert(import_files)
_BEGUN: Final = (ImportStatus.PENDING, ImportStatus.SCANNING)


@dataclass(frozen=True, slots=True)
class OneTimeSpec:
    """The request. `import_mode` None: the connector's."""

    connector_id: str
    index_id: str
    source_prefix: str = ""
    file_pattern: str = "*"
    recursive: bool = True
    import_mode: str | None = None
    exclude: Sequence[str] = ()
    min_size_bytes: int | None = None
    max_size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The listing to make: the job and its connector. `row.attempts` distinguishes it from earlier attempts."""

    row: ImportJob
    connector: Connector


def require_usable(tx: Tx, connector_id: str, index_id: str) -> Connector:
    """Return the connector if a job may import from it into the index. Raises NotFound, InvalidInput or Conflict."""
    catalog.get_index(tx, index_id)
    row = require_connector(tx, connector_id, "import")
    if row.status == catalog.DISABLED:
        raise Conflict(f"connector {connector_id!r} is disabled", "PATCH its status to active")
    return row


def create(tx: Tx, wanted: OneTimeSpec) -> ImportJob:
    """Create a job that begins at once; return it. Raises as `require_usable`, and InvalidInput for the rules."""
    connector = require_usable(tx, wanted.connector_id, wanted.index_id)
    rules = {
        "source_prefix": wanted.source_prefix,
        "file_pattern": wanted.file_pattern,
        "recursive": wanted.recursive,
        "exclude_patterns": list(wanted.exclude) or None,
        "min_size_bytes": wanted.min_size_bytes,
        "max_size_bytes": wanted.max_size_bytes,
    }
    check_rules(rules)
    job_id = tx.new_id("job")
    tx.insert(
        import_jobs,
        id=job_id,
        index_id=wanted.index_id,
        connector_id=wanted.connector_id,
        **rules,
        import_mode=wanted.import_mode or connector.import_mode,
        status=ImportStatus.PENDING,
        priority=Priority.MANUAL,
        created_at=tx.now,
        updated_at=tx.now,
    )
    tx.enqueue(Kind.IMPORT_JOB, job_id, 0, tx.now, Priority.MANUAL)
    return imports.get(tx, job_id)


def begin(tx: Tx, job: Job) -> Listing | None:
    """Record the attempt and return the work; None if the job is stale or has nothing to list."""
    row = model_or_none(ImportJob, tx.current(job))
    if row is None or row.status not in _BEGUN:
        return None
    connector = catalog.read_connector(tx, row.connector_id)
    if row.status == ImportStatus.PENDING:
        check_transition(row.status, ImportStatus.SCANNING)
    touched = tx.touch(
        job,
        status=ImportStatus.SCANNING,
        attempts=row.attempts + 1,
        total_files=row.total_files - row.unlisted,
        skipped=row.skipped - row.unlisted,
        unlisted=0,
        error_message=None,
        started_at=sa.func.coalesce(import_jobs.c.started_at, tx.now),
        updated_at=tx.now,
    )
    assert touched is not None  # noqa: S101  # it was read in this transaction
    row = model_of(ImportJob, touched)
    announce(tx, "import_job.started", row.id, row.index_id, imports.event_data(row))
    return Listing(row, connector)


def record_listed(
    tx: Tx, job: Job, listing: Listing, wanted: Sequence[StorageObject], left: Sequence[SkippedObject]
) -> ImportJob | None:
    """Add listed objects to the manifest; return the job, or None if this listing no longer counts."""
    row = _find_current(tx, job, listing)
    if row is None:
        return None
    there = _find_files(tx, row.id, [*(obj.key for obj in wanted), *(each.key for each in left)])
    fresh = {obj.key: obj for obj in wanted if obj[:2] not in _select_pending(there)}
    strange = [key for key in fresh if key not in there]
    scope_id = ledger.ensure_scope(tx, row.index_id, row.connector_id)
    known = claims.find_imported(tx, scope_id, strange) if row.import_mode == NEW_ONLY else set()
    left = [
        *left,
        *(Choice(fresh.pop(key), Reason.NEW_ONLY_KNOWN_KEY).to_skipped() for key in strange if key in known),
    ]
    left = list({each.key: each for each in left if each.key not in there and each.key not in fresh}.values())
    overtaken = [(key, there[key].version) for key in fresh if key in there and there[key].claimed]
    claims.release_versions(tx, row, overtaken)
    new = [fresh[key] for key in strange if key not in known]
    taken_up = [obj for obj in fresh.values() if obj.key in there]
    claimed = claims.claim_versions(tx, scope_id, row.id, [obj[:2] for obj in fresh.values()])
    unreadable.forget(tx, scope_id, list(fresh))
    _add_files(tx, row, new, claimed)
    _replace_versions(tx, row, taken_up, claimed)
    unlisted = _add_skipped(tx, row, left, len(new))
    touched = tx.touch(
        job,
        total_files=row.total_files + len(new) + len(left),
        skipped=row.skipped + len(left) - sum(_is_skipped(there[obj.key]) for obj in taken_up),
        unlisted=row.unlisted + unlisted,
        updated_at=tx.now,
    )
    return model_or_none(ImportJob, touched)


def _find_current(tx: Tx, job: Job, listing: Listing) -> ImportJob | None:
    row = model_or_none(ImportJob, tx.current(job))
    mine = row is not None and (row.status, row.attempts) == (ImportStatus.SCANNING, listing.row.attempts)
    return row if mine else None


class _KnownFile(NamedTuple):
    """A file in the manifest."""

    key: str
    version: str
    status: str
    claimed: bool


def _find_files(tx: Tx, job_id: str, keys: Sequence[str]) -> dict[str, _KnownFile]:
    if not keys:
        return {}
    columns = import_files.c
    chosen = sa.select(columns.key, columns.version, columns.status, columns.claimed)
    rows = tx.execute(
        chosen.where(columns.job_id == job_id, is_one_of(columns.key)), {"keys": json.dumps(keys)}
    )
    return {row.key: row for row in models_of(_KnownFile, rows)}


def _is_skipped(file: _KnownFile) -> bool:
    return file.status == FileStatus.SKIPPED


def _select_pending(there: Mapping[str, _KnownFile]) -> set[tuple[str, str]]:
    return {(row.key, row.version) for row in there.values() if row.status == FileStatus.PENDING}


def _add_files(tx: Tx, job: ImportJob, new: Sequence[StorageObject], claimed: set[claims.Pair]) -> None:
    first = job.total_files - job.unlisted
    pending = FileStatus.PENDING.value
    rows = [(job.id, first + n, *obj[:4], pending, obj[:2] in claimed) for n, obj in enumerate(new)]
    if rows:
        tx.insert_tuples(_insert, _COLUMNS, rows)


def _replace_versions(
    tx: Tx, job: ImportJob, found: Sequence[StorageObject], claimed: set[claims.Pair]
) -> None:
    """Replace the versions in the manifest under the same keys."""
    for obj in found:
        now = {
            "version": obj.version,
            "size_bytes": obj.size_bytes,
            "modified_at": obj.modified_at,
            "claimed": obj[:2] in claimed,
            "status": FileStatus.PENDING,
            "reason": None,
            "message": None,
        }
        mine = import_files.c.job_id == job.id, import_files.c.key == obj.key
        tx.execute(sa.update(import_files).where(*mine).values(now))


def _add_skipped(tx: Tx, job: ImportJob, left: Sequence[SkippedObject], gathered: int) -> int:
    """List skipped objects after the gathered ones, as far as there is room; return how many are not listed."""
    room = max(MOST_LISTED - (job.skipped - job.unlisted), 0)
    first = job.total_files - job.unlisted + gathered
    rows = [
        {
            "job_id": job.id,
            "ordinal": first + position,
            "key": each.key,
            "version": each.version,
            "size_bytes": each.size_bytes,
            "status": FileStatus.SKIPPED,
            "reason": each.reason,
            "message": each.detail,
        }
        for position, each in enumerate(left[:room])
    ]
    if rows:
        tx.execute(sa.insert(import_files), rows)
    return len(left[room:])


def seal(tx: Tx, job: Job, listing: Listing) -> FileEnd | None:
    """Start the import after a complete listing; end the job if there is nothing to import."""
    if _find_current(tx, job, listing) is None:
        return None
    claimed = tx.claim(job, status=ImportStatus.IMPORTING, updated_at=tx.now)
    assert claimed is not None  # noqa: S101  # it was read in this transaction
    row = model_of(ImportJob, claimed)
    check_transition(ImportStatus.SCANNING, ImportStatus.IMPORTING)
    if row.total_files == row.skipped:
        return imports.finish_job(tx, row)
    fairness.enqueue_next(tx, fairness.FILES, row)
    return FileEnd(row.id, None, None)


def list_again(tx: Tx, job: Job, listing: Listing, at: float, message: str) -> None:
    """Repeat the listing later; `message` says why."""
    if _find_current(tx, job, listing) is None:
        return
    row = tx.claim(job, error_message=message, updated_at=tx.now)
    if row is not None:
        tx.enqueue(Kind.IMPORT_JOB, row.id, row.revision, at, Priority.MANUAL)


def fail(tx: Tx, job: Job, listing: Listing, message: str) -> FileEnd | None:
    """Fail the job that cannot be listed; what it had gathered is released in batches."""
    row = _find_current(tx, job, listing)
    if row is None:
        return None
    check_transition(row.status, ImportStatus.FAILED)
    return cancellation.end_job(tx, row, ImportStatus.FAILED, message)
