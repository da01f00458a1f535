"""The history of an object in the database: ledger, window, import file, media, runs, exports, deliveries, end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import sqlalchemy as sa

from vvwatch.core.events import EVENT_TYPES
from vvwatch.core.filters import Reason
from vvwatch.core.identities import id_time
from vvwatch.core.objects import StorageObject
from vvwatch.core.outputs import Output
from vvwatch.core.versions import is_same_version
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of, models_of
from vvwatch.store.delivery import webhooks
from vvwatch.store.imports import media_queries
from vvwatch.store.imports.imports import GONE
from vvwatch.store.imports.media_queries import MediaView
from vvwatch.store.models.delivery import DeliveryOfEvent, Export
from vvwatch.store.models.imports import ImportFile, ImportJob, Trouble
from vvwatch.store.models.runs import SegmentResult
from vvwatch.store.models.watching import ExportAutomation, ImportAutomation, Observation, Window
from vvwatch.store.schema import (
    absences,
    claims,
    export_automations,
    exports,
    import_automations,
    import_files,
    import_jobs,
    ledger_scopes,
    objects,
    observations,
    reconciles,
    segment_results,
    tombstones,
    troubles,
    windows,
)
from vvwatch.store.schema import media as media_table
from vvwatch.store.watching import own_files

_MOST_RUNS: Final = 10
_MOST_SEGMENTS: Final = 10


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """The history of one version. `job_id` is the import job that took it, with or without a `window`; None for a
    version that is known and not to be imported, empty if the job is unknown.

    `file` is the row of the job's manifest, which may hold a newer version. `file` and `job` are None after a closed
    window if retention removed them. `absent_since` is the start of the scan that first missed it, `gone_at` when it
    was marked gone, by `proof` (`sweeps`, `event` or `person`). `trouble`: the store failed to deliver it;
    vvwatch retries. `failed` maps a run item to its first failed segments.
    """

    version: str
    window: Window | None
    file: ImportFile | None
    job: ImportJob | None
    media: MediaView | None
    exports: Sequence[Export]
    deliveries: Sequence[DeliveryOfEvent]
    absent_since: float | None = None
    gone_at: float | None = None
    proof: str = ""
    trouble: Trouble | None = None
    failed: Mapping[int, Sequence[SegmentResult]] = field(default_factory=dict)
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """The history of an object in one index; `automation` None: no automation of the index watches the connector.

    `versions` are in the ledger, `gone` have left it; both oldest first. Without any, `unimported` is the file of the
    last import job that found the object deleted.
    """

    index_id: str
    automation: ImportAutomation | None
    observation: Observation | None
    versions: Sequence[VersionRecord]
    gone: Sequence[VersionRecord] = ()
    exporting: ExportAutomation | None = None
    unimported: ImportFile | None = None


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """The history of an object in all indexes; `own` is the export that claimed its address, if any."""

    own: Output | None
    indexes: Sequence[IndexRecord]

    def find_own_export(self, obj: StorageObject | None) -> str | None:
        """Return the export that wrote the object which is there now; None if somebody is known to have changed it."""
        if self.own is None:
            return None
        if obj is None:
            return self.own.export_id
        observed = (index.observation for index in self.indexes)
        is_changed = any(
            each.reason == Reason.SIDECAR and is_same_version(each.version, obj.version)
            for each in observed
            if each is not None
        )
        return self.own.export_id if self.own.may_have(obj.size_bytes) and not is_changed else None


def read_object_record(tx: Tx, connector_id: str, key: str, uri: str) -> ObjectRecord:
    """Return all that is known of the object at `key` of the connector; `uri` is its address."""
    table = ledger_scopes
    scopes = tx.all(sa.select(table).where(table.c.connector_id == connector_id).order_by(table.c.id))
    own = own_files.find_outputs(tx, [uri]).get(uri)
    return ObjectRecord(own, [_read_index(tx, scope, key) for scope in models_of(_Scope, scopes)])


class _Scope(NamedTuple):
    """What the ledger counts apart: the objects of a connector in an index."""

    id: int
    index_id: str
    connector_id: str


def _read_index(tx: Tx, scope: _Scope, key: str) -> IndexRecord:
    of_scope = sa.select(import_automations).where(import_automations.c.scope_id == scope.id)
    automation = first_of(ImportAutomation, tx.execute(of_scope))
    its_exports = export_automations.c.index_id == scope.index_id
    exporting = first_of(ExportAutomation, tx.execute(sa.select(export_automations).where(its_exports)))
    observation = None
    if automation is not None:
        seen = observations.c.automation_id == automation.id, observations.c.key == key
        observation = first_of(Observation, tx.execute(sa.select(observations).where(*seen)))
    recorded, gone = _list_recorded(tx, scope.id, key), _list_gone(tx, scope.id, key)
    unimported = None if recorded or gone else _find_unimported(tx, scope, key)
    return IndexRecord(scope.index_id, automation, observation, recorded, gone, exporting, unimported)


def _find_unimported(tx: Tx, scope: _Scope, key: str) -> ImportFile | None:
    jobs, files = import_jobs.c, import_files.c
    of_scope = jobs.index_id == scope.index_id, jobs.connector_id == scope.connector_id
    found = sa.select(import_files).join(import_jobs, jobs.id == files.job_id).where(*of_scope)
    last = found.where(files.key == key, files.reason == GONE).order_by(jobs.id.desc()).limit(1)
    return first_of(ImportFile, tx.execute(last))


def _list_recorded(tx: Tx, scope_id: int, key: str) -> list[VersionRecord]:
    known = sa.select(objects.c.version, objects.c.window_seq).where(
        objects.c.scope_id == scope_id, objects.c.key == key
    )
    rows, absent = tx.all(known.order_by(objects.c.window_seq)), _map_missing_since(tx, scope_id, key)
    lives = [_read_version(tx, scope_id, key, row.version, row.window_seq, gone=False) for row in rows]
    return [replace(life, absent_since=absent.get(life.version)) for life in sorted(lives, key=_taken_at)]


def _taken_at(life: VersionRecord) -> float:
    """Return about when a window or an import job took the version; 0 if neither did.

    It joined its window while that was open, and not before it was written.
    """
    if life.window is None:
        return id_time(life.job_id) if life.job_id else 0.0
    if life.file is None or life.file.version != life.version:
        return life.window.opened_at
    return min(max(life.window.opened_at, life.file.modified_at or 0.0), life.window.last_change_at)


def _map_missing_since(tx: Tx, scope_id: int, key: str) -> dict[str, float]:
    """Map each missing version to the start of the scan that first missed it."""
    missed = sa.select(absences.c.version, reconciles.c.started_at).where(
        absences.c.scope_id == scope_id, absences.c.key == key
    )
    of_sweep = reconciles.c.id == absences.c.reconcile_id
    return {row.version: row.started_at for row in tx.all(missed.join(reconciles, of_sweep))}


def _list_gone(tx: Tx, scope_id: int, key: str) -> list[VersionRecord]:
    table = tombstones
    ended = sa.select(table).where(table.c.scope_id == scope_id, table.c.key == key)
    lives = [
        replace(
            _read_version(tx, scope_id, key, row.version, row.window_seq, gone=True),
            gone_at=row.gone_at,
            proof=row.proof,
        )
        for row in tx.all(ended.order_by(table.c.gone_at, table.c.window_seq))
    ]
    return sorted(lives, key=lambda life: (life.gone_at, _taken_at(life)))


def _read_version(
    tx: Tx, scope_id: int, key: str, version: str, window_seq: int, *, gone: bool
) -> VersionRecord:
    window = first_of(Window, tx.execute(sa.select(windows).where(windows.c.seq == window_seq)))
    job_id = _find_claimant(tx, scope_id, key, version, gone=gone) if window is None else window.import_job_id
    if job_id is None:
        return VersionRecord(version, None, None, None, None, (), ())
    its_file = sa.select(import_files).where(import_files.c.job_id == job_id, import_files.c.key == key)
    file = first_of(ImportFile, tx.execute(its_file))
    job = first_of(ImportJob, tx.execute(sa.select(import_jobs).where(import_jobs.c.id == job_id)))
    item = _find_media(tx, file, job_id, key, version)
    made = _list_exports(tx, item)
    sent = webhooks.list_deliveries_of(tx, _list_occurrences(job_id, item, made))
    trouble, failed = _find_trouble(tx, scope_id, key, job_id), _list_failed_segments(tx, item)
    return VersionRecord(
        version, window, file, job, item, made, sent, trouble=trouble, failed=failed, job_id=job_id
    )


def _list_failed_segments(tx: Tx, item: MediaView | None) -> dict[int, Sequence[SegmentResult]]:
    """Return failed segments of the newest runs, by run item."""
    table = segment_results
    lacking = [each.id for each in item.items if each.failed_segment_count] if item is not None else []
    wanted = (
        sa.select(table).where(table.c.error.is_not(None)).order_by(table.c.ordinal).limit(_MOST_SEGMENTS)
    )
    return {
        each: models_of(SegmentResult, tx.all(wanted.where(table.c.run_item_id == each)))
        for each in lacking[:_MOST_RUNS]
    }


def _find_trouble(tx: Tx, scope_id: int, key: str, job_id: str) -> Trouble | None:
    table = troubles
    its = table.c.scope_id == scope_id, table.c.key == key, table.c.job_id == job_id
    return first_of(Trouble, tx.execute(sa.select(table).where(*its, table.c.retry_at.is_not(None))))


def _find_claimant(tx: Tx, scope_id: int, key: str, version: str, *, gone: bool) -> str | None:
    """Return the last job without a window that took the version; None without one, empty if it is unknown."""
    table = claims
    its = table.c.scope_id == scope_id, table.c.key == key, table.c.version == version, table.c.gone == gone
    found: str | None = tx.execute(sa.select(sa.func.max(table.c.job_id)).where(*its)).scalar()
    return found


def _find_media(tx: Tx, file: ImportFile | None, job_id: str, key: str, version: str) -> MediaView | None:
    """Return the media of the file; without a manifest, the media that the job made of this version."""
    table = media_table
    made = table.c.import_job_id == job_id, table.c.key == key, table.c.version == version
    wanted = made if file is None else (table.c.id == file.media_id,)
    found = tx.first(sa.select(table.c.id).where(*wanted))
    return None if found is None else media_queries.get_view(tx, found.id)


def _list_exports(tx: Tx, item: MediaView | None) -> Sequence[Export]:
    run_ids = [row.run_id for row in item.items] if item is not None else []
    if item is None or not run_ids:
        return ()
    wanted = exports.c.index_id == item.row.index_id, exports.c.run_id.in_(run_ids)
    return models_of(Export, tx.all(sa.select(exports).where(*wanted).order_by(exports.c.id)))


def _list_occurrences(job_id: str, item: MediaView | None, made: Sequence[Export]) -> list[str]:
    """List every occurrence that could concern the object, without progress steps."""
    subjects = [job_id, *(row.id for row in made)]
    if item is not None:
        runs = [row.run_id for row in item.items]
        subjects += [item.row.id, *runs, *(f"{run_id}:{item.row.id}" for run_id in runs)]
    return [f"{event_type}:{subject}" for event_type in EVENT_TYPES for subject in subjects]
