"""Every event: its level, its meaning, and the metrics it moves.

The fields in brackets are those that callers give. `error` is an exception, or a text beside its `error_type`. A
trouble is logged once, then at growing intervals with the number of lines left out since (`repeats`) and its duration
(`lasts_seconds`).
"""

from __future__ import annotations

from typing import Final

from vvwatch.telemetry.daemon_events import DAEMON_EVENTS
from vvwatch.telemetry.metrics import count, observe, set_gauge, set_state, set_time
from vvwatch.telemetry.specs import EventSpec, count_failure, count_retry, debug, error, info, once, warning

_DELIVERY: Final = (
    "delivery, webhook, event_type, about, attempt, status_code, error, error_type, duration_seconds"
)

CATALOGUE: Final[dict[str, EventSpec]] = {
    **DAEMON_EVENTS,
    # changes
    "hint.failed": warning(
        "A change notification failed; the next scan finds the change (automation, error).",
        count_failure("hint"),
    ),
    "source.listening": info(
        "The event source reports changes (automation, state, reason, hint).",
        set_gauge("source_healthy", "automation", value=1),
        set_state("source_state", "automation", "healthy"),
    ),
    "source.degraded": warning(
        "Only listings find changes (automation, state, reason, hint).",
        set_gauge("source_healthy", "automation", value=0),
        set_state("source_state", "automation", "degraded"),
    ),
    "source.failed": error(
        "The event source is down (automation, state, reason, hint).",
        set_gauge("source_healthy", "automation", value=0),
        set_state("source_state", "automation", "failed"),
        count("errors_total", step="source", error_type="source_failed"),
    ),
    "source.recovered": info(
        "The event source reports changes again (automation, state, reason, hint).",
        set_gauge("source_healthy", "automation", value=1),
        set_state("source_state", "automation", "healthy"),
    ),
    "queue.listening": info(
        "The queue of a connector reports changes (connector).",
        set_gauge("queue_healthy", "connector", value=1),
        set_state("queue_state", "connector", "healthy"),
    ),
    "queue.degraded": warning(
        "The queue may be behind; listings continue as without it (connector, reason, hint).",
        set_gauge("queue_healthy", "connector", value=0),
        set_state("queue_state", "connector", "degraded"),
    ),
    "queue.failed": error(
        "The queue cannot be used; listings continue as without it (connector, reason, hint).",
        set_gauge("queue_healthy", "connector", value=0),
        set_state("queue_state", "connector", "failed"),
        count("errors_total", step="queue", error_type="queue_failed"),
    ),
    "queue.recovered": info(
        "The queue reports changes again (connector).",
        set_gauge("queue_healthy", "connector", value=1),
        set_state("queue_state", "connector", "healthy"),
    ),
    "queue.batch_taken": debug(
        "Messages were stored and acknowledged (connector, messages, acknowledged, quarantined, lag_seconds, "
        "duration_seconds).",
        count("queue_messages_received_total", "connector", by="messages"),
        count("queue_messages_acknowledged_total", "connector", by="acknowledged"),
        count("queue_messages_quarantined_total", "connector", by="quarantined"),
        observe("event_lag_seconds", "lag_seconds"),
    ),
    "queue.quarantined": info(
        "Messages that no automation can use were quarantined, with reason and detail of the first (connector, "
        "messages, reason, detail)."
    ),
    "scan.finished": debug(
        "A scan finished (automation, listed, accepted, skipped, settling, list_calls, stretched, duration_seconds).",
        count("scans_total", outcome="ok"),
        count("list_calls_total", by="list_calls"),
        count("objects_listed_total", by="listed"),
        observe("scan_duration_seconds"),
        set_time("last_scan_timestamp_seconds", "automation"),
        set_gauge("stretched", "automation"),
    ),
    "scan.failed": once(
        warning(
            "A listing failed and proves nothing (automation, connector, error).",
            count("scans_total", outcome="failed"),
            count_failure("scan"),
        ),
        "automation",
    ),
    "scan.recovered": info("A listing is complete again (automation, failures, outage_seconds)."),
    "reconcile.doubted": once(
        warning(
            "Too many objects are missing at once: none counts as deleted (automation, remark).",
            count("scans_unproven_total"),
        ),
        "automation",
    ),
    "reconcile.finished": debug(
        "A full scan finished (automation, complete, proof, remark, listed, matched, known, created, "
        "changed, gone, recovered, list_calls, cost_usd, duration_seconds).",
        count("objects_gone_total", by="gone"),
        count("objects_recovered_total", by="recovered"),
        set_time("last_complete_sweep_timestamp_seconds", "automation", complete=True),
    ),
    "change.accepted": debug(
        "New objects join the window; object_key is the first (automation, window, objects, object_key, due_at).",
        count("changes_total", by="objects"),
    ),
    "store.odd": warning(
        "A store deviates from its protocol; logged once for each connector (connector, oddity, message)."
    ),
    "change.skipped": debug(
        "An object is skipped (automation, object_key, reason).",
        count("changes_skipped_total", "reason"),
    ),
    # windows
    "window.opened": info("A window has its first object (automation, window, due_at)."),
    "window.held": info("A person keeps a window open (automation, window)."),
    "window.released": info("A held window closes at its deadline again (automation, window)."),
    "window.closed": info(
        "A window becomes an import job (automation, window, reason, objects, import_job).",
        count("windows_closed_total", "reason"),
    ),
    # the import jobs
    "import.started": info("An import job starts (import_job, files)."),
    "import.listing_retried": warning(
        "A one-time import job could not list its connector and is retried (import_job, connector, attempt, error).",
        count_retry("import_listing"),
        count_failure("import_listing"),
    ),
    "import.cancelled": info("A person cancelled an import job (import_job, imported, failed, skipped)."),
    "import.file_finished": debug(
        "A file was imported, failed or skipped (import_job, object_key, status, reason, message).",
        count("import_files_total", "status"),
    ),
    "import.file_failed": warning(
        "A file could not be imported (import_job, object_key, reason, message).",
        count("import_files_failed_total", "reason"),
    ),
    "import.file_retried": info(
        "A file will be retried (import_job, object_key, attempt, error).",
        count_retry("import"),
        count_failure("import"),
    ),
    "import.finished": info(
        "An import job ended (import_job, automation, status, imported, failed, skipped).",
        count("import_jobs_total", "status"),
        set_time("last_success_timestamp_seconds", "automation", status="completed"),
    ),
    "trouble.put_off": debug(
        "An object still cannot be read; it will be retried later (connector, object_key, tries, retry_at, error).",
        count_retry("trouble"),
    ),
    "trouble.over": info(
        "An object that could not be imported can be read again; its import starts over (connector, object_key, tries)."
    ),
    # prompt runs
    "run.requested": info("A prompt run was requested over the API (run, prompt, requested_by)."),
    "run.started": info("A prompt run starts (run, import_job, items)."),
    "run.item_progressed": debug("Processing of a media item progressed (run, media, object_key, fraction)."),
    "run.item_finished": debug(
        "A media item was processed or failed (run, media, object_key, status, message, duration_seconds).",
        count("run_items_total", "status"),
        observe("item_duration_seconds"),
    ),
    "run.item_failed": warning("A media item could not be processed (run, media, object_key, message)."),
    "run.item_partial": warning(
        "A media item was processed partially: it is damaged, or segments failed (run, media, object_key, message)."
    ),
    "run.item_retried": warning(
        "A media item will be retried (run, media, attempt, error).", count_retry("run"), count_failure("run")
    ),
    "run.item_waits": once(
        warning(
            "A media item waits for its processor, which is away, paused or out of budget (run, media, processor, "
            "error).",
            count_failure("run"),
        ),
        "processor",
        "error_type",
    ),
    "run.segment_retried": info(
        "A failed segment was retried; the message says why it failed again (run, retry, message)."
    ),
    "run.finished": info("A prompt run ended (run, status).", count("runs_total", "status")),
    # processors
    "processor.called": debug(
        "A call of a model ended (processor, run, model, status, input_tokens, output_tokens, cost_usd).",
        count("processor_calls_total", "processor", "status"),
        count("processor_input_tokens_total", "processor", by="input_tokens"),
        count("processor_output_tokens_total", "processor", by="output_tokens"),
        count("processor_cost_usd_total", "processor", by="cost_usd"),
    ),
    "processor.paused": error(
        "A processor is paused until its configuration changes, a person resumes it, or `until_at` (processor, "
        "reason, message, hint, until_at).",
        count("processor_pauses_total", "processor", "reason"),
    ),
    "processor.resumed": info(
        "A paused processor resumes; work that waited for it is due at once (processor, reason)."
    ),
    "processor.held_back": once(
        warning(
            "The endpoint of a processor asked to wait, and all calls wait (processor, seconds).",
            count("processor_hold_backs_total", "processor"),
        ),
        "processor",
    ),
    "budget.reached": error(
        "The budget of a run is used up; its items wait until it is raised (processor, run, error).",
        count("processor_pauses_total", "processor", reason="budget_reached"),
    ),
    "pictures.skipped": once(
        warning("An item gets no pictures: the disk has no room for them, or refuses (error).")
    ),
    # exports
    "export.started": info("An export is being written (export, run)."),
    "export.finished": info(
        "An export was written to its destination (export, run, uri, size_bytes).",
        count("exports_total", status="completed"),
    ),
    "facts.updated": info(
        "A sidecar came after its media or changed; its facts were replaced (media, export)."
    ),
    "facts.unusable": warning(
        "A sidecar came after its media or changed, and cannot be used (media, reason)."
    ),
    "export.retried": warning(
        "An export will be retried (export, attempt, error).", count_retry("export"), count_failure("export")
    ),
    "export.failed": error(
        "An export was given up (export, run, error).",
        count("exports_total", status="failed"),
        count_failure("export"),
    ),
    # webhooks
    "delivery.sent": info(
        f"A webhook accepted an event ({_DELIVERY}).",
        count("deliveries_total", outcome="delivered"),
        observe("delivery_duration_seconds"),
    ),
    "delivery.retried": warning(
        f"A webhook did not accept an event; the delivery will be retried ({_DELIVERY}).",
        count("deliveries_total", outcome="retrying"),
        observe("delivery_duration_seconds"),
        count_retry("delivery"),
        count_failure("delivery"),
    ),
    "webhook.disabled": error(
        "A webhook failed too often in a row, or asked for no more events; it gets none any more (webhook, name).",
        count("webhooks_disabled_total"),
    ),
    "delivery.failed": error(
        f"A delivery was given up ({_DELIVERY}).",
        count("deliveries_total", outcome="failed"),
        observe("delivery_duration_seconds"),
        count_failure("delivery"),
    ),
}
