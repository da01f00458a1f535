"""The daemon's status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from anyio import to_thread

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import to_iso
from vvwatch.api.routes.attention import list_attention, recent_since
from vvwatch.api.routes.automations import status_of
from vvwatch.api.routes.scans import to_response as to_scan_report
from vvwatch.api.routes.status_bodies import (
    AttentionCounts,
    AutomationStatus,
    Budget,
    DatabaseStatus,
    ExportingStatus,
    NodeStatus,
    SourceStatus,
    Status,
    UnderWay,
    Watching,
    WindowStatus,
    Work,
    WorkItem,
)
from vvwatch.core.cadence import ScanSchedule
from vvwatch.core.keys import Scope
from vvwatch.store.admin import status_queries as queries
from vvwatch.store.admin.status_queries import State
from vvwatch.store.catalog import catalog
from vvwatch.store.models.delivery import Export
from vvwatch.store.models.imports import ImportJob
from vvwatch.store.models.runs import Run
from vvwatch.store.models.watching import ExportAutomation, NamedAutomation, Window
from vvwatch.workflow.upkeep.findings import automation_remarks, full_scan_seconds

router = resource_router("status")

Document = dict[str, Any]
_MOMENTS: Final = ("started_at", "seen_at", "since", "lost_at")


@router.get("/status", **extension("What the daemon is doing", Scope.READ))
async def get_status(context: Context) -> Status:
    """Return automations, windows, work in progress and what needs attention."""
    daemon = await context.status()
    found = await context.database.read(queries.read_state, recent_since(context.clock.now()))
    return await to_thread.run_sync(_to_status, found, daemon)  # thousands of automations would block others


def _to_status(found: State, daemon: Document) -> Status:
    automations = [to_automation(row, found, daemon) for row in found.automations]
    return Status(
        version=daemon.get("version", ""),
        address=daemon.get("address", ""),
        started_at=to_iso(daemon.get("started_at")),
        ready=daemon.get("ready", True),
        node=daemon.get("node"),
        database=DatabaseStatus(**daemon.get("database") or {"writable": True, "error": None}),
        automations=automations,
        watching={each.automation_id: each.watching for each in automations if each.watching},
        work=_to_under_way(found, daemon.get("settling", 0)),
        attention=list_attention(found, daemon),
        attention_counts=AttentionCounts(**found.failures.counts),
        nodes=[NodeStatus(**_with_iso_moments(node)) for node in daemon.get("nodes") or ()],
        sources=_to_sources(daemon, "sources"),
        queues=_to_sources(daemon, "queues"),
        connectors=_to_sources(daemon, "connectors"),
        budgets=list(_list_budgets(automations)),
    )


def _with_iso_moments(document: Mapping[str, Any]) -> Document:
    """Convert times to ISO-8601; a time that never was becomes null."""
    moments = {name: to_iso(document[name] or None) for name in _MOMENTS if name in document}
    return {**document, **moments}


def _to_sources(daemon: Document, name: str) -> dict[str, SourceStatus]:
    return {
        each: SourceStatus(**_with_iso_moments(health)) for each, health in (daemon.get(name) or {}).items()
    }


def to_automation(row: NamedAutomation, found: State, daemon: Document) -> AutomationStatus:
    """Return the status of one automation."""
    exporting, sweep = found.exporting.get(row.index_id), found.sweeps.get(row.id)
    active = status_of(row) == "active" and row.connector_status != catalog.DELETED
    return AutomationStatus.of(
        row,
        automation_id=row.id,
        status=status_of(row),
        window=_to_window(found.windows.get(row.id)),
        watching=_to_watching(row, found, daemon) if active else None,
        export=None if exporting is None else _to_exporting(exporting),
        next_scan_at=to_iso(row.next_at),
        failing_since=to_iso(row.failing_since),
        remarks=list(automation_remarks(row, sweep, exporting)),
    )


def _to_window(row: Window | None) -> WindowStatus | None:
    if row is None:
        return None
    return WindowStatus.of(row, window_id=row.id)


def _to_exporting(row: ExportAutomation) -> ExportingStatus:
    return ExportingStatus.of(row, automation_id=row.id, status=status_of(row))


def _to_watching(row: NamedAutomation, found: State, daemon: Document) -> Watching:
    learnt, sweep = ScanSchedule.of(row.cadence), found.sweeps.get(row.id)
    local = (daemon.get("sources") or {}).get(row.id)
    queue = (daemon.get("queues") or {}).get(row.connector_id)
    source = queue or local
    return Watching(
        learnt_by="events" if queue else "notices" if local else "listing",
        source=None if source is None else SourceStatus(**_with_iso_moments(source)),
        scan_seconds=row.scan_seconds,
        sweep_seconds=full_scan_seconds(row),
        stretched=learnt.stretched,
        max_list_calls_per_hour=row.max_list_calls_per_hour,
        calls_per_hour=learnt.calls_per_hour,
        hot_prefixes=max(len(learnt.hot) - 1, 0),
        last_sweep=None if sweep is None else to_scan_report(sweep),
        next_sweep_at=to_iso(learnt.next_full_at or row.next_at),
        refused_messages=found.refused.get(row.connector_id, 0),
    )


def _list_budgets(automations: list[AutomationStatus]) -> Iterator[Budget]:
    for each in automations:
        found = each.watching
        if found is not None and found.max_list_calls_per_hour is not None:
            yield Budget(
                automation_id=each.automation_id,
                max_list_calls_per_hour=found.max_list_calls_per_hour,
                calls_per_hour=found.calls_per_hour,
                stretched=found.stretched,
            )


def _to_under_way(found: State, settling: int) -> UnderWay:
    return UnderWay(
        settling=settling,
        import_jobs=Work(count=found.jobs.count, newest=[_job_item(row) for row in found.jobs.newest]),
        prompt_runs=Work(count=found.runs.count, newest=[_run_item(row) for row in found.runs.newest]),
        exports=Work(count=found.exports.count, newest=[_export_item(row) for row in found.exports.newest]),
    )


def _job_item(row: ImportJob) -> WorkItem:
    done = row.imported + row.failed + row.skipped
    return WorkItem.of(row, done=done, total=row.total_files)


def _run_item(row: Run) -> WorkItem:
    done = row.completed_items + row.partial_items + row.failed_items + row.cancelled_items
    return WorkItem.of(row, done=done, total=row.total_items, failed=row.failed_items, automation_id=None)


def _export_item(row: Export) -> WorkItem:
    waiting = {"trouble": row.last_error, "next_try_at": to_iso(row.next_at)} if row.last_error else {}
    return WorkItem.of(row, done=0, total=1, failed=0, **waiting)
