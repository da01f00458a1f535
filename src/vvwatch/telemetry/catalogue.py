"""Every event there is: how loud it is, what it means, which metrics it moves.

The fields in brackets are those that callers give. `error` is an exception, or a text beside its `error_type`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vvwatch.telemetry.metrics import Update, count, observe, put, stamp, turn


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

_DELIVERY: Final = "delivery, webhook, event_type, attempt, status_code, error, error_type, duration_seconds"

CATALOGUE: Final[dict[str, EventSpec]] = {
    # the daemon
    "daemon.started": _info(
        "The process begins with a sound configuration (version, state_dir).", *_CONFIG_TAKEN
    ),
    "daemon.ready": _info("Everything is up and requests are answered (address, version)."),
    "daemon.measured": _debug(
        "What is under way (automations, windows_open, files_pending, items_pending, delivery_backlog, "
        "jobs_due).",
        put("windows_open"),
        put("delivery_backlog"),
        put("jobs_due"),
    ),
    "daemon.state_dumped": _info("The answer to SIGUSR1: the fields of daemon.measured."),
    "daemon.draining": _info("No new work is begun; running steps may end (hint)."),
    "daemon.drain_expired": _warning(
        "Steps were cut off; they begin again at the next start (drain_seconds)."
    ),
    "daemon.stopped": _info("The process ends (reason)."),
    "config.warned": _warning("The configuration is doubtful (problem)."),
    "config.reloaded": _info("A changed configuration is in use (file, needs_restart).", *_CONFIG_TAKEN),
    "config.rejected": _error(
        "The configuration is wrong and the old one stays (error).",
        put("config_last_reload_successful", value=0),
    ),
    "sweep.finished": _debug("Overdue work was looked for (found)."),
    "retention.finished": _info(
        "What was kept long enough is dropped (deliveries, events, import_jobs, results, receipts, engine_rows)."
    ),
    "deletion.finished": _info("What hung on something that was deleted is gone (resource, id, rows)."),
    "job.failed": _error(
        "A piece of work broke and is tried again (kind, ref, attempt, error).", _failure("job")
    ),
    "task.failed": _error("A part of the daemon broke and is started again (task, error).", _failure("task")),
    "request.failed": _error(
        "A request broke and was answered with 500 (request_id, method, path, error).", _failure("request")
    ),
    # changes
    "hint.failed": _warning(
        "A hint could not be followed; the next scan finds what it was about (automation, error).",
        _failure("hint"),
    ),
    "source.listening": _info(
        "Changes are learnt of early (automation, state, reason, hint).",
        put("source_healthy", "automation", value=1),
        turn("source_state", "automation", "healthy"),
    ),
    "source.degraded": _warning(
        "Changes are learnt of by listing only (automation, state, reason, hint).",
        put("source_healthy", "automation", value=0),
        turn("source_state", "automation", "degraded"),
    ),
    "source.failed": _error(
        "The source is down (automation, state, reason, hint).",
        put("source_healthy", "automation", value=0),
        turn("source_state", "automation", "failed"),
        count("errors_total", step="source", error_type="source_failed"),
    ),
    "source.recovered": _info(
        "Changes are learnt of early again (automation, state, reason, hint).",
        put("source_healthy", "automation", value=1),
        turn("source_state", "automation", "healthy"),
    ),
    "queue.listening": _info(
        "The queue of a connector tells of changes (connector).",
        put("queue_healthy", "connector", value=1),
        turn("queue_state", "connector", "healthy"),
    ),
    "queue.degraded": _warning(
        "The queue may be behind; listings go on as without it (connector, reason, hint).",
        put("queue_healthy", "connector", value=0),
        turn("queue_state", "connector", "degraded"),
    ),
    "queue.failed": _error(
        "The queue cannot be used; listings go on as without it (connector, reason, hint).",
        put("queue_healthy", "connector", value=0),
        turn("queue_state", "connector", "failed"),
        count("errors_total", step="queue", error_type="queue_failed"),
    ),
    "queue.recovered": _info(
        "The queue tells of changes again (connector).",
        put("queue_healthy", "connector", value=1),
        turn("queue_state", "connector", "healthy"),
    ),
    "queue.batch_taken": _debug(
        "Messages were committed and answered (connector, messages, acknowledged, quarantined, lag_seconds, "
        "duration_seconds).",
        count("queue_messages_received_total", "connector", by="messages"),
        count("queue_messages_acknowledged_total", "connector", by="acknowledged"),
        count("queue_messages_quarantined_total", "connector", by="quarantined"),
        observe("event_lag_seconds", "lag_seconds"),
    ),
    "queue.quarantined": _info(
        "Messages are kept aside that no automation can use, reason and detail of the first (connector, messages, "
        "reason, detail)."
    ),
    "scan.finished": _debug(
        "A look is over (automation, listed, accepted, skipped, settling, list_calls, stretched, duration_seconds).",
        count("scans_total", outcome="ok"),
        count("list_calls_total", by="list_calls"),
        count("objects_listed_total", by="listed"),
        observe("scan_duration_seconds"),
        stamp("last_scan_timestamp_seconds", "automation"),
        put("stretched", "automation"),
    ),
    "scan.failed": _warning(
        "A listing broke off and proves nothing (automation, connector, error).",
        count("scans_total", outcome="failed"),
        _failure("scan"),
    ),
    "reconcile.finished": _debug(
        "A sweep ended, and says what it proves (automation, complete, proof, remark, listed, matched, known, created, "
        "changed, gone, recovered, list_calls, cost_usd, duration_seconds).",
        count("objects_gone_total", by="gone"),
        count("objects_recovered_total", by="recovered"),
        stamp("last_complete_sweep_timestamp_seconds", "automation", complete=True),
    ),
    "change.accepted": _debug(
        "New objects join the window, object_key the first (automation, window, objects, object_key, due_at).",
        count("changes_total", by="objects"),
    ),
    "change.skipped": _debug(
        "An object is left out (automation, object_key, reason).",
        count("changes_skipped_total", "reason"),
    ),
    # windows
    "window.opened": _info("A window has its first object (automation, window, due_at)."),
    "window.held": _info("A person keeps a window open (automation, window)."),
    "window.released": _info("The deadline of a held window counts again (automation, window)."),
    "window.closed": _info(
        "A window becomes an import job (automation, window, reason, objects, import_job).",
        count("windows_closed_total", "reason"),
    ),
    # what becomes of a window
    "import.started": _info("An import job begins (import_job, files)."),
    "import.listing_retried": _warning(
        "A one-time import job could not list its connector and begins again (import_job, connector, attempt, error).",
        _retry("import_listing"),
        _failure("import_listing"),
    ),
    "import.cancelled": _info("A person cancelled an import job (import_job, imported, failed, skipped)."),
    "import.file_finished": _debug(
        "A file was imported, failed or skipped (import_job, object_key, status, reason, message).",
        count("import_files_total", "status"),
    ),
    "import.file_retried": _info(
        "A file is tried again (import_job, object_key, attempt, error).",
        _retry("import"),
        _failure("import"),
    ),
    "import.finished": _info(
        "An import job ended (import_job, automation, status, imported, failed, skipped).",
        count("import_jobs_total", "status"),
        stamp("last_success_timestamp_seconds", "automation", status="completed"),
    ),
    # prompt runs
    "run.requested": _info("A prompt run was asked for over the API (run, prompt, requested_by)."),
    "run.started": _info("A prompt run begins (run, import_job, items)."),
    "run.item_progressed": _debug("A media item is processed in part (run, media, object_key, fraction)."),
    "run.item_finished": _debug(
        "A media item was processed or failed (run, media, object_key, status, message, duration_seconds).",
        count("run_items_total", "status"),
        observe("item_duration_seconds"),
    ),
    "run.item_retried": _warning(
        "A media item is tried again (run, media, attempt, error).", _retry("run"), _failure("run")
    ),
    "run.segment_retried": _info(
        "A failed segment was tried again, and the message tells why it failed anew (run, retry, message)."
    ),
    "run.finished": _info("A prompt run ended (run, status).", count("runs_total", "status")),
    # exports
    "export.started": _info("An export is being written (export, run)."),
    "export.finished": _info(
        "An export stands at its destination (export, run, uri, size_bytes).",
        count("exports_total", status="completed"),
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
    "delivery.sent": _info(
        f"A webhook took an event ({_DELIVERY}).",
        count("deliveries_total", outcome="delivered"),
        observe("delivery_duration_seconds"),
    ),
    "delivery.retried": _warning(
        f"A webhook did not take an event and will be asked again ({_DELIVERY}).",
        count("deliveries_total", outcome="retrying"),
        observe("delivery_duration_seconds"),
        _retry("delivery"),
        _failure("delivery"),
    ),
    "webhook.disabled": _error(
        "A webhook failed too often in a row, or asked not to be told again: it is told nothing more (webhook, name).",
        count("webhooks_disabled_total"),
    ),
    "delivery.failed": _error(
        f"A webhook never took an event ({_DELIVERY}).",
        count("deliveries_total", outcome="failed"),
        observe("delivery_duration_seconds"),
        _failure("delivery"),
    ),
}
