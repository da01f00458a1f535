"""One lane an automation: source, changes, window, import, run, export, webhook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from vvwatch.api.pages.access import PageRequest
from vvwatch.api.pages.actions import ActionForm
from vvwatch.api.pages.strips import Strip, build_strip
from vvwatch.api.pages.wording import describe_bytes
from vvwatch.api.routes.status_bodies import AutomationStatus
from vvwatch.store.admin.lane_queries import Lanes, LastExport, PastWindow, Progress
from vvwatch.store.models.watching import NamedAutomation, Window


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the way: its state, what it does now, since when or at what time, and the page that says more."""

    name: str
    state: str
    text: str = ""
    at: float | str | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """The window that gathers: seconds until it closes because of quiet, or at the latest, and of how many."""

    object_count: int
    size: str
    held: bool
    due_at: float
    quiet_left: float
    quiet_seconds: float
    wait_left: float
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One automation and what is on its way. `before` and `after` are the stages around the window."""

    id: str
    name: str
    status: str
    remarks: Sequence[str]
    error: str | None
    error_hint: str | None
    before: Sequence[Stage]
    window: OpenWindow | None
    after: Sequence[Stage]
    fire: ActionForm | None
    strip: Strip


def build_lane(
    page: PageRequest, row: NamedAutomation, status: AutomationStatus, window: Window | None, lanes: Lanes
) -> Lane:
    """Return the lane of one automation."""
    past = lanes.strips.get(row.id, ())
    now = page.context.clock.now()
    return Lane(
        id=row.id,
        name=row.index_name,
        status=status.status,
        remarks=status.remarks,
        error=status.last_error,
        error_hint=status.last_error_hint,
        before=(_source(status), _changes(status)),
        window=None if window is None else build_window(row, window, now),
        after=(
            _import(past, lanes.imports.get(row.id)),
            _run(past, lanes.runs.get(row.index_id)),
            _export(status, lanes.exports.get(row.index_id), lanes.last_exports.get(row.index_id)),
            _webhook(lanes.deliveries.get(row.index_id)),
        ),
        fire=None if window is None else page.action("fire-window", index_id=row.index_id),
        strip=build_strip([each for each in past if each.state != "open"]),
    )


def build_window(row: NamedAutomation, window: Window, now: float) -> OpenWindow:
    """Return the open window as pages show it at `now`."""
    return OpenWindow(
        object_count=window.object_count,
        size=describe_bytes(window.size_bytes),
        held=window.held,
        due_at=window.due_at,
        quiet_left=max(0.0, window.last_change_at + row.quiet_seconds - now),
        quiet_seconds=row.quiet_seconds,
        wait_left=max(0.0, window.opened_at + row.max_wait_seconds - now),
        wait_seconds=row.max_wait_seconds,
    )


def _source(status: AutomationStatus) -> Stage:
    where = f"{status.source_prefix or '/'} {status.file_pattern}"
    link = f"/connectors/{quote(status.connector_id, safe='')}"
    if status.connector_status in {"deleted", "disabled"}:
        return Stage("Source", status.connector_status, where, link=link)
    if status.failing_since is not None:
        return Stage("Source", "failing", where, status.failing_since, link)
    source = None if status.watching is None else status.watching.source
    return Stage("Source", "watched" if source is None else source.state, where, link=link)


def _changes(status: AutomationStatus) -> Stage:
    watching = status.watching
    if watching is None:
        return Stage("Changes", status.status, "not looked for", status.last_scan_at)
    swept = watching.last_sweep
    known = "" if swept is None else f", {swept.known + swept.created + swept.changed:,} known"
    state = "found" if swept is None or swept.complete else "incomplete"
    return Stage("Changes", state, f"by {watching.learnt_by}{known}", status.last_scan_at)


def _import(past: Sequence[PastWindow], progress: Progress | None) -> Stage:
    closed = next((each for each in past if each.job_status is not None), None)
    link = "" if closed is None else f"/jobs/{closed.import_job_id}"
    if progress is not None:
        return _under_way("Import", progress, "files", link)
    if closed is None:
        return Stage("Import", "none", "none yet")
    return Stage("Import", _with_failures(closed), f"{closed.object_count:,} files", closed.closed_at, link)


def _with_failures(window: PastWindow) -> str:
    partly = window.job_status == "completed" and window.job_failed
    return "completed_with_failures" if partly else str(window.job_status)


def _run(past: Sequence[PastWindow], progress: Progress | None) -> Stage:
    ran = next((each for each in past if each.run_id is not None), None)
    link = "" if ran is None else f"/runs/{ran.run_id}"
    if progress is not None:
        return _under_way("Run", progress, "media", link)
    if ran is None:
        return Stage("Run", "none", "none yet")
    return Stage("Run", str(ran.run_status), "", ran.run_ended_at, link)


def _export(status: AutomationStatus, progress: Progress | None, last: LastExport | None) -> Stage:
    if progress is not None:
        return Stage("Export", "waiting" if progress.trouble else "running", f"{progress.count:,} to write")
    if status.export is None:
        return Stage("Export", "none", "only on request")
    if status.export.status != "active":
        return Stage("Export", status.export.status)
    if last is None:
        return Stage("Export", "none", "none yet")
    return Stage("Export", last.status, "", last.completed_at, f"/exports/{last.id}")


def _webhook(progress: Progress | None) -> Stage:
    if progress is None:
        return Stage("Webhook", "none", "nothing waits", link="/deliveries")
    state = "waiting" if progress.trouble else "running"
    return Stage("Webhook", state, f"{progress.count:,} to send", link="/deliveries")


def _under_way(name: str, progress: Progress, what: str, link: str) -> Stage:
    several = f" in {progress.count:,}" if progress.count > 1 else ""
    text = f"{progress.done:,} of {progress.total:,} {what}{several}"
    return Stage(name, "running", text, link=link)
