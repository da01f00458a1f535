"""Every event there is: how loud it is, what it means, which metrics it moves.

The fields in brackets are those that callers give; more are welcome. Failures carry `error`, the exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vvwatch.telemetry.metrics import Update, count, observe, put, stamp


@dataclass(frozen=True, slots=True)
class EventSpec:
    """What an event is: its level when the caller names none, its meaning, the metrics it moves."""

    level: str
    doc: str
    updates: tuple[Update, ...] = ()


def _debug(doc: str, *updates: Update) -> EventSpec:
    return EventSpec("debug", doc, updates)


def _info(doc: str, *updates: Update) -> EventSpec:
    return EventSpec("info", doc, updates)


def _warning(doc: str, *updates: Update) -> EventSpec:
    return EventSpec("warning", doc, updates)


def _error(doc: str, *updates: Update) -> EventSpec:
    return EventSpec("error", doc, updates)


def _failure(step: str) -> Update:
    return count("errors_total", "error_type", step=step)


def _retry(step: str) -> Update:
    return count("step_retries_total", step=step)


_CONFIG_TAKEN: Final = (
    put("config_last_reload_successful", value=1),
    stamp("config_last_reload_success_timestamp_seconds"),
)

CATALOGUE: Final[dict[str, EventSpec]] = {
    # the daemon
    "daemon.started": _info(
        "The process begins with a sound configuration (version, state_dir).", *_CONFIG_TAKEN
    ),
    "daemon.ready": _info("Everything is up and requests are answered (address)."),
    "daemon.measured": _debug(
        "What is under way (windows_open, delivery_backlog, jobs_due).",
        put("windows_open"),
        put("delivery_backlog"),
        put("jobs_due"),
    ),
    "daemon.state_dumped": _info("The answer to SIGUSR1: what is under way."),
    "daemon.draining": _info("No new work is begun; running steps may end (drain_seconds)."),
    "daemon.drain_expired": _warning("Steps were cut off; they begin again at the next start (steps)."),
    "daemon.stopped": _info("The process ends (reason)."),
    "config.warned": _warning("The configuration is doubtful (problem)."),
    "config.reloaded": _info("A changed configuration is in use (changed).", *_CONFIG_TAKEN),
    "config.rejected": _error(
        "The configuration is wrong and the old one stays (problem).",
        put("config_last_reload_successful", value=0),
    ),
    "store.opened": _info("The database is open (path, schema_version)."),
    "store.migrated": _info("The database has a new schema (schema_version)."),
    "sweep.finished": _debug("Overdue work was looked for (found)."),
    # work
    "job.started": _debug("A piece of work begins (kind, ref, attempt)."),
    "job.finished": _debug("A piece of work is done (kind, ref, duration_seconds)."),
    "job.dropped": _debug("A piece of work was out of date (kind, ref)."),
    "job.failed": _error(
        "A piece of work broke and is tried again (kind, ref, error).",
        count("errors_total", "error_type", step="job"),
    ),
    "task.failed": _error("A part of the daemon broke and is started again (task, error).", _failure("task")),
    # changes
    "source.started": _info(
        "Changes are learnt of early (automation).", put("source_healthy", "automation", value=1)
    ),
    "source.hinted": _debug("Something may have changed (automation, object_keys, rescan)."),
    "hint.failed": _warning(
        "A hint could not be followed; the next scan finds what it was about (automation, error).",
        _failure("hint"),
    ),
    "source.degraded": _warning(
        "Changes are learnt of by listing only (automation, reason, hint).",
        put("source_healthy", "automation", value=0),
    ),
    "source.recovered": _info(
        "Changes are learnt of early again (automation).", put("source_healthy", "automation", value=1)
    ),
    "source.failed": _error(
        "The source is down (automation, error).",
        put("source_healthy", "automation", value=0),
        _failure("source"),
    ),
    "scan.started": _debug("A listing begins (automation, connector)."),
    "scan.finished": _debug(
        "A listing is whole (automation, listed, matched, known, new, gone, duration_seconds).",
        count("scans_total", outcome="ok"),
        count("objects_listed_total", by="listed"),
        observe("scan_duration_seconds"),
        stamp("last_scan_timestamp_seconds", "automation"),
    ),
    "scan.failed": _warning(
        "A listing broke off and proves nothing (automation, connector, error).",
        count("scans_total", outcome="failed"),
        _failure("scan"),
    ),
    "change.accepted": _debug(
        "New objects join the window (automation, kind, window, object_key of one or objects of many).",
        count("changes_total", "kind", by="objects"),
    ),
    "change.skipped": _debug(
        "Objects are left out (automation, reason, object_key of one or objects of many).",
        count("changes_skipped_total", "reason", by="objects"),
    ),
    "change.postponed": _debug("An object is not complete yet (automation, object_key, reason)."),
    # windows
    "window.opened": _info("A window has its first object (automation, window, due_at)."),
    "window.extended": _debug("A window has more objects (automation, window, objects, due_at)."),
    "window.closed": _info(
        "A window becomes an import job (automation, window, reason, objects, import_job).",
        count("windows_closed_total", "reason"),
    ),
    # what becomes of a window
    "import.started": _info("An import job begins (import_job, index, files)."),
    "import.file_finished": _debug(
        "Files were imported, failed or skipped (import_job, status, reason, object_key of one or objects of many).",
        count("import_files_total", "status", by="objects"),
    ),
    "import.file_retried": _info(
        "A file is tried again (import_job, object_key, attempt, error).", _retry("import")
    ),
    "import.finished": _info(
        "An import job ended (import_job, automation, status, imported, failed, skipped, "
        "change_to_done_seconds).",
        count("import_jobs_total", "status"),
        observe("change_to_done_seconds", "change_to_done_seconds"),
        stamp("last_success_timestamp_seconds", "automation"),
    ),
    "import.failed": _error("An import job could not be done (import_job, error).", _failure("import")),
    # prompt runs
    "run.started": _info("A prompt run begins (run, index, prompt, items)."),
    "run.item_started": _debug("A media item is being processed (run, media, attempt)."),
    "run.item_progressed": _debug("A media item is processed in part (run, media, fraction)."),
    "run.item_finished": _debug(
        "A media item was processed or failed (run, media, status, duration_seconds).",
        count("run_items_total", "status"),
        observe("item_duration_seconds"),
    ),
    "run.item_retried": _warning(
        "A media item is tried again (run, media, attempt, error).", _retry("run"), _failure("run")
    ),
    "run.finished": _info(
        "A prompt run ended (run, status, completed, partial, failed).", count("runs_total", "status")
    ),
    # exports
    "export.started": _info("An export is being written (export, run, destination)."),
    "export.finished": _info(
        "An export stands at its destination (export, run, uri, size_bytes, duration_seconds).",
        count("exports_total", status="completed"),
        observe("export_duration_seconds"),
    ),
    "export.retried": _warning(
        "An export is tried again (export, attempt, error).", _retry("export"), _failure("export")
    ),
    "export.failed": _error(
        "An export was given up (export, run, error).",
        count("exports_total", status="failed"),
        _failure("export"),
    ),
    # webhooks
    "event.announced": _debug("An event was written for its webhooks (event_type, subject)."),
    "delivery.sent": _info(
        "A webhook took an event (delivery, webhook, event_type, attempt, status_code, duration_seconds).",
        count("deliveries_total", outcome="delivered"),
        observe("delivery_duration_seconds"),
    ),
    "delivery.retried": _warning(
        "A webhook did not take an event and will be asked again (delivery, webhook, attempt, error).",
        count("deliveries_total", outcome="retrying"),
        observe("delivery_duration_seconds"),
        _retry("delivery"),
    ),
    "delivery.failed": _error(
        "A webhook never took an event (delivery, webhook, attempt, error).",
        count("deliveries_total", outcome="failed"),
        observe("delivery_duration_seconds"),
        _failure("delivery"),
    ),
    "webhook.disabled": _warning("A webhook failed too often and gets nothing more (webhook, failures)."),
    # resources
    "automation.changed": _info("What is watched was set (automation, index)."),
    "automation.paused": _info("An automation rests (automation)."),
    "automation.resumed": _info("An automation works again (automation)."),
    "automation.stalled": _warning("An automation has made no progress (automation, reason, hint)."),
    "connector.tested": _info("A connector was tried (connector, result, hint)."),
    "api_key.created": _info("An API key was made (name, scopes)."),
    "api_key.revoked": _info("An API key was revoked (name)."),
    # the API
    "request.finished": _debug(
        "A request was answered (method, route, status, request_id, duration_seconds).",
        count("http_requests_total", "method", "status"),
        observe("http_request_duration_seconds"),
    ),
    "request.failed": _error(
        "A request met a fault of ours (method, route, request_id, error).", _failure("request")
    ),
}
