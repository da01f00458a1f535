"""The events of the daemon itself: its life, nodes, configuration, machine, requests and alerts."""

from __future__ import annotations

from typing import Final

from vvwatch.telemetry.metrics import count, set_each, set_gauge, set_time
from vvwatch.telemetry.specs import EventSpec, count_failure, debug, error, info, once, warning

_CONFIG_TAKEN: Final = (
    set_gauge("config_last_reload_successful", value=1),
    set_time("config_last_reload_success_timestamp_seconds"),
)

_MEASURED: Final = (
    "windows_open",
    "files_pending",
    "items_pending",
    "delivery_backlog",
    "jobs_due",
    "nodes_lost",
    "nodes_up",
    "connections_open",
    "spool_used_bytes",
    "spool_limit_bytes",
    "state_dir_free_bytes",
    "state_dir_size_bytes",
)

DAEMON_EVENTS: Final[dict[str, EventSpec]] = {
    "daemon.started": info(
        "The process starts with a valid configuration (version, state_dir).", *_CONFIG_TAKEN
    ),
    "daemon.ready": info("Everything runs and the API answers (address, version)."),
    "daemon.idle": warning("Nothing is watched: no automation exists yet (hint)."),
    "daemon.measured": debug(
        "Work under way, and transactions since the last measurement (automations, windows_open, files_pending, "
        "items_pending, delivery_backlog, jobs_due, nodes_lost, nodes_up, connections_open, transactions, reruns, "
        "automation_failing, scan_unproven, oldest_waiting_seconds, spend_usd, budget_used_ratio, "
        "spool_used_bytes, spool_limit_bytes, state_dir_free_bytes, state_dir_size_bytes, "
        "last_success_timestamp_seconds).",
        *map(set_gauge, _MEASURED),
        set_each("automation_failing", "automation"),
        set_each("scan_unproven", "automation"),
        set_each("last_success_timestamp_seconds", "automation"),
        set_each("oldest_waiting_seconds", "stage"),
        set_each("spend_usd", "processor", "period"),
        set_each("budget_used_ratio", "processor", "period"),
        count("database_transactions_total", by="transactions"),
        count("database_reruns_total", by="reruns"),
    ),
    "loop.blocked": once(
        warning(
            "The event loop was blocked for this long, at this place in the code (seconds, where, stack, "
            "event_loop_blocked_seconds).",
            set_gauge("event_loop_blocked_seconds"),
            count("event_loop_blocks_total"),
        ),
        "where",
    ),
    "loop.measured": debug(
        "The longest block of the event loop in the last minute (event_loop_blocked_seconds).",
        set_gauge("event_loop_blocked_seconds"),
    ),
    "daemon.state_dumped": info("The answer to SIGUSR1: the fields of daemon.measured."),
    "daemon.draining": info("No new work starts; running steps may finish (hint)."),
    "daemon.drain_expired": warning(
        "Running steps were cut off; they start over on the next start (drain_seconds)."
    ),
    "daemon.stopped": info("The process stops (reason)."),
    "node.lost": warning(
        "Another node sent no heartbeat, and the others took over its work (node, address, seen_at, "
        "silent_seconds, held, waiting)."
    ),
    "node.returned": info("This node is back after it ended without notice (node, seen_at, silent_seconds)."),
    "state_dir.closed": info(
        "The state directory was open to other users; it is private now, with modes 0700 and 0600 (state_dir, names)."
    ),
    "state_dir.open": warning(
        "The state directory is open to other users, and belongs to another user (state_dir, problem)."
    ),
    "config.warned": warning("The configuration has warnings (problem)."),
    "alert.sent": info(
        "An alert was accepted (alert, receiver, attempt, error).", count("alerts_total", outcome="sent")
    ),
    "alert.retried": warning(
        "An alert was not accepted and will be sent again (alert, receiver, attempt, error).",
        count("alerts_total", outcome="retrying"),
    ),
    "alert.failed": error(
        "An alert was given up (alert, receiver, attempt, error).", count("alerts_total", outcome="failed")
    ),
    "otel.started": info("Spans or metrics are exported to an OpenTelemetry collector (signals)."),
    "otel.unavailable": warning(
        "The environment asks for OpenTelemetry, and its packages are missing (problem, hint)."
    ),
    "sandbox.incomplete": warning("The kernel lacks a part of the decoders' sandbox (lacks, hint)."),
    "config.reloaded": info("A changed configuration is in use (file, needs_restart).", *_CONFIG_TAKEN),
    "config.rejected": error(
        "The new configuration is invalid; the old one stays in use (error).",
        set_gauge("config_last_reload_successful", value=0),
    ),
    "sweep.finished": debug("Overdue work was requeued (found)."),
    "retention.finished": info(
        "Old data was deleted (deliveries, events, import_jobs, results, receipts, audit, engine_rows)."
    ),
    "deletion.finished": info("Everything of a deleted resource is gone (resource, id, rows)."),
    "audit.recorded": info(
        "A change was recorded in the audit trail (action, resource, actor, actor_name, route, request_id, "
        "address, entry)."
    ),
    "request.refused": once(
        warning(
            "A request was refused before it had any effect (reason, address, actor, route).",
            count("requests_refused_total", "reason"),
        ),
        "reason",
        "address",
    ),
    "login.succeeded": info("A key opened a session of the dashboard (actor, actor_name, address)."),
    "login.failed": once(
        warning("Nobody was logged in to the dashboard: the key or link is not valid (reason, address)."),
        "reason",
        "address",
    ),
    "link.created": info(
        "A link that works without a key was created for a key (resource, actor, route, request_id, address, "
        "expires_at)."
    ),
    "job.failed": once(
        error(
            "A job failed unexpectedly and will be retried (kind, ref, attempt, error).", count_failure("job")
        ),
        "kind",
        "error_type",
    ),
    "task.failed": once(
        error("A task of the daemon failed and is restarted (task, error).", count_failure("task")),
        "task",
        "error_type",
    ),
    "database.unavailable": once(
        error(
            "The database does not work; errors caused by that are not logged separately (error).",
            count_failure("database"),
        )
    ),
    "decoder.template_failed": warning(
        "The process that forks the decoder's processes ended or does not start; each starts on its own now, at ten "
        "times the cost, until it can be replaced (reason)."
    ),
    "machine.shortage": once(
        error(
            "Work waits because this machine is short of something (reason, error).", count_failure("machine")
        ),
        "reason",
    ),
    "machine.recovered": info(
        "No work waits for this machine's resources any more (reason, outage_seconds, failures)."
    ),
    "database.available": info("The database works again (outage_seconds, failures)."),
    "request.failed": error(
        "A request failed with an internal error, 500 (request_id, method, path, error).",
        count_failure("request"),
    ),
    "connection.refused": once(
        warning(
            "A connection to the API was refused: the reason is `full`, `network_full` or "
            "`no_descriptors` (reason, network, message, hint, error).",
            count("connections_refused_total", "reason"),
        ),
        "reason",
    ),
    "connection.closed": once(
        info(
            "The daemon closed a connection to the API: it made room for a new one, or its client was too slow "
            "or did not speak HTTP (reason, network, error).",
            count("connections_closed_total", "reason"),
        ),
        "reason",
    ),
    "loop.failed": once(
        error("A background task failed and nothing awaited it (message, error).", count_failure("loop")),
        "message",
        "error_type",
    ),
}
