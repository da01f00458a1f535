"""Automations: what to import and where to export. Each index has at most one of each; both are editable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.cadence import ScanSchedule
from vvwatch.core.exports import USUAL_OPTIONS, ExportOptions
from vvwatch.core.filters import check_rules, rules_of
from vvwatch.core.runs import TERMINAL
from vvwatch.core.windows import WindowPolicy
from vvwatch.errors import Conflict, InvalidInput, NotFound
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.typed import Model, first_of, model_of, models_of
from vvwatch.store.delivery import exports
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.runs import Run
from vvwatch.store.models.watching import ExportAutomation, ImportAutomation, ScanReport
from vvwatch.store.schema import (
    connectors,
    export_automations,
    import_automations,
    prompt_runs,
    windows,
)
from vvwatch.store.watching import ledger, scans
from vvwatch.store.watching import windows as gathering

_DECLARED_HINT = "it is declared in the configuration file: edit it there and reload"
_SIZES = ("min_size_bytes", "max_size_bytes")
_RULES = ("source_prefix", "file_pattern", "recursive", "exclude_patterns", *_SIZES)
_WATCHED_COLUMNS = ("connector_id", *_RULES, "import_mode_override")


@dataclass(frozen=True, slots=True)
class ImportSpec:
    """The settings of an import automation. `preset` holds `prompt_id` and the run settings.

    `concurrency` None keeps the current value or the default. `max_list_calls_per_hour` None means no limit.
    """

    connector_id: str
    source_prefix: str
    file_pattern: str
    recursive: bool
    debounce_interval: str
    policy: WindowPolicy
    scan_seconds: float
    settle_seconds: float
    preset: dict[str, Any]
    enabled: bool = True
    paused: bool = False
    process_existing: bool = True
    import_mode_override: str | None = None
    concurrency: int | None = None
    max_list_calls_per_hour: int | None = None
    exclude: Sequence[str] = ()
    min_size_bytes: int | None = None
    max_size_bytes: int | None = None
    facts: dict[str, Any] | None = None
    declared: bool = False


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """The settings of an export automation."""

    destination_connector_id: str
    destination_subpath: str | None = None
    options: ExportOptions = USUAL_OPTIONS
    enabled: bool = True
    paused: bool = False
    declared: bool = False


def get_import(tx: Tx, index_id: str) -> ImportAutomation:
    """Return the index's import automation. Raises NotFound for the index or the automation."""
    return _get_automation(tx, ImportAutomation, import_automations, index_id)


def get_export(tx: Tx, index_id: str) -> ExportAutomation:
    """Return the index's export automation. Raises NotFound for the index or the automation."""
    return _get_automation(tx, ExportAutomation, export_automations, index_id)


def _get_automation(tx: Tx, model: type[Model], table: sa.Table, index_id: str) -> Model:
    catalog.get_index(tx, index_id)
    row = first_of(model, tx.execute(sa.select(table).where(table.c.index_id == index_id)))
    if row is None:
        raise NotFound("automation", index_id, "create it with PUT")
    return row


def require_connector(tx: Tx, connector_id: str, scope: str) -> Connector:
    """Return the connector if it has `scope`. Raises NotFound or InvalidInput."""
    row = catalog.get_connector(tx, connector_id)
    if scope not in row.scopes:
        raise InvalidInput(
            f"connector {connector_id!r} lacks the scope {scope!r}",
            f"its scopes are {', '.join(row.scopes)}; use a connector that has it",
        )
    return row


def save_import(
    tx: Tx, index_id: str, spec: ImportSpec, automation_id: str | None = None, *, rescan: bool = True
) -> ImportAutomation:
    """Create or replace the index's import automation and start it. The ledger is kept.

    Without `rescan`, an unchanged automation with a planned scan stays as it is.
    Raises NotFound (index, connector, prompt), InvalidInput, or Conflict when the configuration file owns it.
    """
    catalog.get_index(tx, index_id)
    require_connector(tx, spec.connector_id, "import")
    prompt = catalog.get_prompt(tx, str(spec.preset.get("prompt_id", "")))
    of_index = sa.select(import_automations).where(import_automations.c.index_id == index_id)
    found = first_of(ImportAutomation, tx.execute(of_index))
    _check_owner(found, declared=spec.declared)
    values = _import_values(tx, index_id, spec, prompt.prompt_version)
    check_rules(values)
    if found is None:
        fresh = _choose_id(tx, import_automations, automation_id)
        moments = {"created_at": tx.now, "updated_at": tx.now}
        tx.insert(import_automations, id=fresh, index_id=index_id, **moments, **values)
    elif _has_changed(found, values):
        values["updated_at"] = tx.now
        if found.connector_id != spec.connector_id:
            gathering.close_before_move(tx, found.id)
        if _has_changed(found, values, _WATCHED_COLUMNS):
            begun = _schedule_after_edit(found, spec.connector_id, tx.now).document()
            values |= {"generation": found.generation + 1, "baseline_done": False, "cadence": begun}
        tx.update(import_automations, found.id, **values)
        gathering.reschedule_window(tx, found.id)
    elif found.next_at is not None and not rescan:
        return found
    return _restart_import(tx, get_import(tx, index_id))


def _schedule_after_edit(found: ImportAutomation, connector_id: str, now: float) -> ScanSchedule:
    """Return the schedule after an edit. Objects that it wanted before and has not taken yet are not old."""
    if found.connector_id != connector_id:
        return ScanSchedule(since=now)
    if found.baseline_done:
        return ScanSchedule(since=now, covered=list(rules_of(found)))
    before = ScanSchedule.of(found.cadence)
    return ScanSchedule(since=before.since, covered=before.covered)


def _import_values(tx: Tx, index_id: str, spec: ImportSpec, prompt_version: int) -> dict[str, Any]:
    share = {} if spec.concurrency is None else {"concurrency": spec.concurrency}
    return share | {
        "connector_id": spec.connector_id,
        "scope_id": ledger.ensure_scope(tx, index_id, spec.connector_id),
        "enabled": spec.enabled,
        "paused": spec.paused,
        "source_prefix": spec.source_prefix,
        "file_pattern": spec.file_pattern,
        "recursive": spec.recursive,
        "exclude_patterns": list(spec.exclude) or None,
        "min_size_bytes": spec.min_size_bytes,
        "max_size_bytes": spec.max_size_bytes,
        "facts": spec.facts,
        "debounce_interval": spec.debounce_interval,
        "quiet_seconds": spec.policy.quiet_seconds,
        "max_wait_seconds": spec.policy.max_wait_seconds,
        "max_objects": spec.policy.max_objects,
        "scan_seconds": spec.scan_seconds,
        "settle_seconds": spec.settle_seconds,
        "process_existing": spec.process_existing,
        "prompt_preset": {**spec.preset, "prompt_version": prompt_version},
        "import_mode_override": spec.import_mode_override,
        "max_list_calls_per_hour": spec.max_list_calls_per_hour,
        "declared": spec.declared,
    }


def _choose_id(tx: Tx, table: sa.Table, wanted: str | None) -> str:
    """Return the wanted id, or a new one if another automation has it."""
    taken = wanted is None or tx.first(sa.select(table.c.id).where(table.c.id == wanted)) is not None
    return tx.new_id("auto") if wanted is None or taken else wanted


def _has_changed(found: ImportAutomation, values: dict[str, Any], names: Iterable[str] = ()) -> bool:
    return any(getattr(found, name) != values[name] for name in names or values)


def _check_owner(found: ImportAutomation | ExportAutomation | None, *, declared: bool) -> None:
    if found is not None and found.declared and not declared:
        raise Conflict(f"automation {found.id!r} is read-only here", _DECLARED_HINT)


def pause_import(tx: Tx, index_id: str, *, paused: bool) -> ImportAutomation:
    """Pause or resume; settings and the open window are kept. Idempotent."""
    found = get_import(tx, index_id)
    tx.update(import_automations, found.id, paused=paused, updated_at=tx.now)
    return _restart_import(tx, get_import(tx, index_id))


def _restart_import(tx: Tx, row: ImportAutomation) -> ImportAutomation:
    """If active, make a full scan and the open window due now; otherwise nothing is due."""
    if not row.enabled or row.paused:
        tx.update(import_automations, row.id, next_at=None, revision=row.revision + 1)
        return get_import(tx, row.index_id)
    tx.update(import_automations, row.id, cadence=ScanSchedule.of(row.cadence).restart().document())
    tx.nudge(Kind.SCAN, row, tx.now)
    waiting = tx.first(sa.select(windows).where(windows.c.automation_id == row.id, windows.c.state == "open"))
    if waiting is not None:
        tx.nudge(Kind.WINDOW, waiting, tx.now)
    return get_import(tx, row.index_id)


def find_active(tx: Tx, automation_id: str) -> tuple[ImportAutomation, Connector] | None:
    """Return the import automation and its connector, or None if it is not active."""
    table = import_automations
    wanted = sa.select(table).where(table.c.id == automation_id, table.c.enabled, ~table.c.paused)
    row = first_of(ImportAutomation, tx.execute(wanted))
    return None if row is None else (row, catalog.read_connector(tx, row.connector_id))


def list_active(tx: Tx) -> list[tuple[ImportAutomation, Connector]]:
    """List active import automations with their connectors, without those of disabled connectors."""
    table = import_automations
    active = sa.select(table).where(table.c.enabled, ~table.c.paused).order_by(table.c.id)
    rows = models_of(ImportAutomation, tx.all(active))
    by_id = {row.id: row for row in catalog.list_connectors(tx) if row.status != catalog.DISABLED}
    return [(row, by_id[row.connector_id]) for row in rows if row.connector_id in by_id]


def list_export_automations(tx: Tx) -> list[ExportAutomation]:
    """List all export automations."""
    return models_of(
        ExportAutomation, tx.all(sa.select(export_automations).order_by(export_automations.c.id))
    )


def has_import_automations(tx: Tx) -> bool:
    """Return whether an import automation exists."""
    return tx.first(sa.select(import_automations.c.id).limit(1)) is not None


def read_edit_marker(tx: Tx) -> tuple[object, ...]:
    """Return a value that changes whenever an import automation or a connector is created or edited.

    It sums all moments, so it also changes if the clock was set back.
    """
    edits = [
        tx.execute(sa.select(sa.func.count(), sa.func.sum(table.c.updated_at))).one()
        for table in (import_automations, connectors)
    ]
    generations = tx.execute(sa.select(sa.func.sum(import_automations.c.generation))).scalar()
    return (generations, *(value for row in edits for value in row))


def find_scan_target(tx: Tx, job: Job) -> tuple[ImportAutomation, Connector] | None:
    """Return the automation to scan and its connector; None for a stale job or an inactive automation."""
    row = tx.current(job)
    return None if row is None else find_active(tx, row.id)


_NO_FAILURE: Final = {"last_error": None, "last_error_hint": None, "failing_since": None, "failures": 0}


@by_locks
def record_scan(
    tx: Tx,
    job: Job,
    wait_seconds: float,
    learnt: ScanSchedule | None = None,
    report: ScanReport | None = None,
    swept: Mapping[str, Any] | None = None,
) -> None:
    """Record a complete scan, its schedule and its report, and plan the next scan.

    `swept` holds the columns that only a full scan sets.
    """
    taught = {} if learnt is None else {"cadence": learnt.document()}
    whole = {} if swept is None else {**swept, "accept_missing": False}
    done = {"last_scan_at": tx.now, "baseline_done": True, **_NO_FAILURE}
    _finish_scan(tx, job, wait_seconds, report, done | taught | whole)


@by_locks
def record_scan_failure(
    tx: Tx, job: Job, wait_seconds: float, error: str, hint: str, report: ScanReport | None = None
) -> None:
    """Record why the scan failed and plan a retry."""
    columns = import_automations.c
    failing = {
        "failing_since": sa.func.coalesce(columns.failing_since, tx.now),
        "failures": columns.failures + 1,
        "accept_missing": False,
    }
    _finish_scan(tx, job, wait_seconds, report, {"last_error": error, "last_error_hint": hint, **failing})


@by_locks
def postpone_scan(tx: Tx, job: Job, wait_seconds: float) -> None:
    """Plan the same scan again, later; nothing was listed."""
    row = tx.claim(job)
    if row is not None:
        tx.enqueue(Kind.SCAN, row.id, row.revision, tx.now + wait_seconds, job.priority)


def _finish_scan(
    tx: Tx, job: Job, wait_seconds: float, report: ScanReport | None, values: dict[str, Any]
) -> None:
    row = tx.claim(job, **values)
    if row is not None:
        tx.enqueue(Kind.SCAN, row.id, row.revision, tx.now + wait_seconds)
        if report is not None:
            scans.record_report(tx, model_of(ImportAutomation, row), report)


def bring_scans_forward(tx: Tx, connector_id: str) -> None:
    """Bring the connector's scans forward to their normal time, because its events no longer arrive."""
    for row, connector in list_active(tx):
        due = max((row.last_scan_at or 0.0) + row.scan_seconds, tx.now)
        if connector.id == connector_id and row.next_at is not None and row.next_at > due:
            tx.nudge(Kind.SCAN, row, due)


def scan_now(tx: Tx, automation_id: str, *, accept_missing: bool = False) -> None:
    """Make an active automation's next scan due now, with priority: a person waits for it.

    `accept_missing`: everything that the scan misses, if complete, is marked gone.
    """
    row = tx.require(import_automations, "automation", automation_id)
    if row.enabled and not row.paused:
        if accept_missing:
            tx.update(import_automations, row.id, accept_missing=True)
        tx.nudge(Kind.SCAN, row, tx.now, Priority.MANUAL)


def save_export(
    tx: Tx, index_id: str, spec: ExportSpec, automation_id: str | None = None
) -> ExportAutomation:
    """Create or replace the index's export automation.

    Raises NotFound (index, connector), InvalidInput, or Conflict when the configuration file owns it.
    """
    catalog.get_index(tx, index_id)
    connector = require_connector(tx, spec.destination_connector_id, "export")
    exports.check_destination(connector.export_base_path, spec.destination_subpath, spec.options)
    of_index = sa.select(export_automations).where(export_automations.c.index_id == index_id)
    found = first_of(ExportAutomation, tx.execute(of_index))
    _check_owner(found, declared=spec.declared)
    values = {
        "destination_connector_id": spec.destination_connector_id,
        "destination_subpath": spec.destination_subpath,
        "options": spec.options.document(),
        "enabled": spec.enabled,
        "paused": spec.paused,
        "declared": spec.declared,
        "updated_at": tx.now,
    }
    if found is None:
        fresh = _choose_id(tx, export_automations, automation_id)
        tx.insert(export_automations, id=fresh, index_id=index_id, created_at=tx.now, **values)
    else:
        tx.update(export_automations, found.id, **values)
    return _export_backlog(tx, get_export(tx, index_id))


def pause_export(tx: Tx, index_id: str, *, paused: bool) -> ExportAutomation:
    """Pause or resume; on resume, runs that ended in the meantime are exported. Idempotent."""
    found = get_export(tx, index_id)
    tx.update(export_automations, found.id, paused=paused, updated_at=tx.now)
    return _export_backlog(tx, get_export(tx, index_id))


def _export_backlog(tx: Tx, row: ExportAutomation) -> ExportAutomation:
    """If active, export the runs that ended since the automation was created and were not exported."""
    if row.enabled and not row.paused:
        ended = sa.select(prompt_runs).where(
            prompt_runs.c.index_id == row.index_id,
            prompt_runs.c.status.in_(TERMINAL),
            prompt_runs.c.completed_at >= row.created_at,
            prompt_runs.c.id.not_in(exports.select_exported_runs(row.id)),
        )
        for run in models_of(Run, tx.all(ended)):
            exports.request_automatic(tx, run)
    return get_export(tx, row.index_id)
