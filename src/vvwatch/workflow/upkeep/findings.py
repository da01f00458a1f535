"""Judge what the database knows of connectors, queues, automations and webhooks: what is wrong, and how to fix it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from math import ceil
from typing import Final

from vvwatch.core.absence import Doubt
from vvwatch.core.cadence import ScanSchedule
from vvwatch.core.events import to_iso
from vvwatch.core.filters import explain_if_known
from vvwatch.core.shortages import find_remedy
from vvwatch.core.store_notes import describe_oddity
from vvwatch.errors import BudgetReached, ItemBudgetReached, ProcessorUnavailable
from vvwatch.ports import Finding, SourceHealth
from vvwatch.store.admin.audit import BadKeys
from vvwatch.store.admin.database_queries import Condition
from vvwatch.store.admin.nodes import Node
from vvwatch.store.admin.shortages import WaitingWork
from vvwatch.store.db import migrations
from vvwatch.store.models.admin import Failure
from vvwatch.store.models.delivery import Webhook
from vvwatch.store.models.runs import PausedProcessor
from vvwatch.store.models.watching import (
    ExportAutomation,
    ImportAutomation,
    RefusedCount,
    StoredScanReport,
    WatchedAutomation,
)

_COMPATIBILITY: Final = "see the store's entry in docs/compatibility.md"
_LARGE_WAL_BYTES: Final = 256 << 20
_SKEW_NOTED_SECONDS: Final = 60.0
_SKEW_REFUSED_SECONDS: Final = 900.0
"""Stores reject requests signed further off than this (15 minutes)."""
_LATE: Final = (2, 300.0)
_FAR_TOO_LATE: Final = (5, 3600.0)
_SOURCE_STATES: Final = {"degraded": "warning", "failed": "problem"}
_REFUSED: Final = {
    "malformed": "find out who else writes to the queue; only the store's own notifications belong there",
    "foreign": "send notifications of other buckets to another queue",
    "unmatched": "narrow the notification to the watched prefixes",
}


def database_findings(condition: Condition) -> Iterator[Finding]:
    """Yield findings about a database that accepts writes."""
    newest = migrations.LATEST
    state = "ok" if condition.schema == newest else "problem"
    fix = "" if state == "ok" else "sudo systemctl restart vvwatch"
    yield Finding("schema", state, f"version {condition.schema} of {newest} ({condition.dialect})", fix)
    yield Finding("size", "ok", f"{condition.size_bytes / 1e6:.1f} MB")
    if condition.wal_bytes is not None:
        large = condition.wal_bytes > _LARGE_WAL_BYTES
        detail = f"{condition.wal_bytes / 1e6:.1f} MB wait for a checkpoint"
        fix = "sudo systemctl restart vvwatch  # a long read blocks the checkpoint" if large else ""
        yield Finding("write-ahead log", "warning" if large else "ok", detail, fix)


def clock_finding(ahead_seconds: float) -> Finding:
    """Return the finding about a store's clock that is this far ahead of ours."""
    skew = abs(ahead_seconds)
    if skew < _SKEW_NOTED_SECONDS:
        return Finding("clock", "ok", f"the store's and this machine's differ by {skew:.1f} s")
    where = "ahead of" if ahead_seconds > 0 else "behind"
    state = "problem" if skew >= _SKEW_REFUSED_SECONDS else "warning"
    detail = f"the store's clock is {skew:.0f} s {where} this machine's"
    return Finding("clock", state, detail, "sudo timedatectl set-ntp true")


def automation_findings(
    row: WatchedAutomation, source: SourceHealth | None, swept: StoredScanReport | None, now: float
) -> Iterator[Finding]:
    """Yield findings about an active automation; `source` reports changes to it, `swept` is its last full scan."""
    if row.last_error:
        yield Finding("listing", "problem", row.last_error, row.last_error_hint or f"vvwatch scan {row.id}")
    yield from _doubt_findings(row)
    yield _source_finding(source, now)
    yield _scan_finding(row, swept, now)
    yield from _listing_findings(row, swept)
    learnt = ScanSchedule.of(row.cadence)
    if learnt.stretched:
        wanted = ceil(learnt.calls * 3600 / row.scan_seconds)
        detail = f"is listed less often than configured, to stay within {row.max_list_calls_per_hour} requests an hour"
        yield Finding(
            "cadence", "warning", detail, f"max_list_calls_per_hour = {wanted}  # of the automation"
        )


def _doubt_findings(row: ImportAutomation) -> Iterator[Finding]:
    if (trouble := describe_missing(row)) is not None:
        yield Finding("missing", "warning", *trouble)


def describe_missing(row: ImportAutomation) -> tuple[str, str] | None:
    """Return why missing objects do not count as deleted, and the command if they are; None without doubt."""
    doubt = Doubt.of(row.doubt)
    if doubt is None:
        return None
    seen = "once" if doubt.times == 1 else f"{doubt.times} times"
    place = "" if doubt.proven else "; another file system is there now, or none"
    return (
        f"{doubt.why} ({seen} since {to_iso(doubt.since)}{place})",
        f"vvwatch scan {row.index_id} --accept-missing",
    )


def _source_finding(source: SourceHealth | None, now: float) -> Finding:
    if source is None:
        return Finding("changes", "ok", "are found by listing")
    since = f" for {now - source.since:.0f} s" if source.since else ""
    why = f": {source.reason}" if source.reason else ""
    detail = f"are reported; the source has been {source.state}{since}{why}"
    state = _SOURCE_STATES.get(source.state, "ok")
    return Finding(
        "changes", state, detail, source.hint or ("" if state == "ok" else "journalctl -u vvwatch")
    )


def _scan_finding(row: WatchedAutomation, swept: StoredScanReport | None, now: float) -> Finding:
    last_at = row.last_scan_at if swept is None else swept.finished_at
    age = now - max(last_at or row.created_at or now, row.updated_at or 0.0)
    known = (
        "none was complete yet" if last_at is None else f"the last one completed {now - last_at:.0f} s ago"
    )
    period = full_scan_seconds(row)
    detail = f"{known}; one is due every {period:.0f} s"
    if age <= _bound(_LATE, period):
        return Finding("sweep", "ok", detail)
    state = "problem" if age > _bound(_FAR_TOO_LATE, period) else "warning"
    return Finding("sweep", state, detail, f"vvwatch scan {row.id}")


def _listing_findings(row: ImportAutomation, swept: StoredScanReport | None) -> Iterator[Finding]:
    """Yield findings about listed names that cannot be objects, and about deviations of the store."""
    for reason, count in ((swept and swept.left_out) or {}).items():
        detail = f"left out: {count}, {explain_if_known(reason)}"
        yield Finding("listing", "warning", detail, f"vvwatch scan {row.id} --dry-run")
    for oddity in (swept and swept.odd) or ():
        yield Finding("store", "warning", describe_oddity(oddity), _COMPATIBILITY)


def _bound(limit: tuple[int, float], period: float) -> float:
    times, seconds = limit
    return times * period + seconds


def full_scan_seconds(row: WatchedAutomation) -> float:
    """Return the intended interval of full scans; `row` has its connector's `events`."""
    learnt = ScanSchedule.of(row.cadence)
    if learnt.full_at and learnt.next_full_at and learnt.next_full_at > learnt.full_at:
        return learnt.next_full_at - learnt.full_at
    if row.events and (seconds := row.events.get("sweep_seconds")):
        return float(seconds)
    return float(row.scan_seconds)


def refused_finding(row: RefusedCount) -> Finding:
    """Return the finding about messages that concern no watched location."""
    detail = f"{row.messages} in the last day are {row.reason}: {row.detail}"
    return Finding("messages", "warning", detail, _REFUSED.get(row.reason, ""))


def node_finding(node: Node) -> Finding:
    """Return the finding about a lost node: a problem if nobody else can do its work."""
    return Finding("alive", "problem" if node.waiting else "warning", node.loss, node.remedy)


def shortage_finding(waiting: WaitingWork) -> Finding:
    """Return the finding about work that waits because a machine is short of something; it resumes automatically."""
    return Finding(
        "waiting", "problem", describe_shortage(waiting), find_remedy(waiting.code, waiting.message)
    )


def describe_shortage(waiting: WaitingWork) -> str:
    """Return what a machine is short of, and how much waits for it."""
    several = "1 file waits" if waiting.count == 1 else f"{waiting.count:,} files wait"
    return f"{waiting.message}: {several}, and no attempt is counted"


def webhook_finding(row: Webhook) -> Finding:
    """Return the finding about a failing webhook, without its address, which may contain a secret."""
    what, fix = describe_webhook_trouble(row)
    return Finding("delivery", "problem" if row.status == "disabled" else "warning", what, fix)


def describe_webhook_trouble(row: Webhook) -> tuple[str, str]:
    """Return why a webhook gets no events, and how to fix it."""
    several = "once" if row.failure_count == 1 else f"{row.failure_count} times in a row"
    disabled = row.status == "disabled"
    cause = f": {row.last_error}" if row.last_error else ""
    what = f"{row.name!r} failed {several}{' and is disabled' if disabled else ''}{cause}"
    then = "reload the configuration" if row.declared else "set its status to active"
    return what, f"{webhook_advice(row.last_error or '')}{f', then {then}' if disabled else ''}"


_ADVICE: Final = (
    ("the connection was refused", "start the receiver, or correct the port in the webhook's url"),
    (
        "the TLS certificate",
        "name its authority as ca_file in [webhooks], renew it, or correct the webhook's host",
    ),
    ("TLS failed: what listens", "make the receiver speak https, or correct the port in the webhook's url"),
    ("TLS failed", "make the receiver offer TLS 1.2 or newer"),
    ("no answer within", "make the receiver answer with a 2xx status first, and do its work afterwards"),
    ("the host cannot be reached", "check the network and the firewall between here and the receiver"),
    ("does not resolve", "correct the host in the webhook's url, or fix DNS"),
    ("resolves to a link-local", "correct the host in the webhook's url: no option allows such an address"),
    (
        "resolves to a private address",
        "correct the host in the webhook's url, or name its network in [webhooks] allow_networks",
    ),
    ("the address is not https", "use https, or set allow_http in [webhooks]"),
    ("the receiver answered 401", "make the receiver accept requests with the webhook's signature"),
    ("the receiver answered 403", "make the receiver accept requests with the webhook's signature"),
    ("the receiver answered 404", "correct the path in the webhook's url"),
    ("the receiver answered 405", "make the receiver accept POST requests at that path"),
    ("the receiver answered 3", "name the final address in the webhook's url: redirects are not followed"),
    ("the receiver answered 410", "the receiver asked for no more events: correct the webhook's url"),
    ("the receiver answered 5", "check the receiver's log: it failed while it handled the event"),
)


def webhook_advice(error: str) -> str:
    """Return how to fix a webhook whose last attempt failed with this error."""
    found = next((advice for words, advice in _ADVICE if words in error), "")
    return found or "make its receiver answer with a 2xx status"


def automation_remarks(
    row: ImportAutomation, sweep: StoredScanReport | None, exporting: ExportAutomation | None
) -> Iterator[str]:
    """Yield notes on an automation that are no failures; `row` may be inactive."""
    active, swept = row.enabled and not row.paused, sweep is not None and sweep.complete
    if active and swept and sweep is not None and sweep.listed and not sweep.matched:
        yield f"{sweep.listed:,} listed, none matches {row.file_pattern}"
    if (trouble := describe_missing(row)) is not None:
        yield f"{trouble[0]}; `{trouble[1]}` accepts it now"
    if exporting is not None and exporting.enabled and exporting.paused:
        yield f"exports are paused: results are not delivered until `{resume_exports_hint(row.index_id)}`"


def export_findings(row: ExportAutomation) -> Iterator[Finding]:
    """Yield findings about an export automation."""
    if row.enabled and row.paused:
        detail = f"are paused: results of {row.index_id} are not delivered"
        yield Finding("exports", "warning", detail, resume_exports_hint(row.index_id))


def failure_finding(failure: Failure) -> Finding:
    """Return the finding about a failure; a waiting one affects the work under way now."""
    waits = failure.state == "waiting"
    detail = f"{failure.what}; it is retried automatically" if waits else failure.what
    return Finding(failure.state, "problem" if waits else "warning", detail, next_step(failure))


_NEXT: Final = {
    "import_job": "vvwatch jobs show {id}",
    "export": "vvwatch retry {id}",
    "delivery": "vvwatch retry {id}",
}


def next_step(failure: Failure) -> str:
    """Return the next command to run. A run requested over the API has no import job to show."""
    if failure.state == "waiting":
        return "fix the cause: it is retried automatically"
    if failure.kind != "prompt_run":
        return _NEXT[failure.kind].format(id=failure.id)
    return f"vvwatch jobs show {failure.job_id}" if failure.job_id else f"vvwatch retry {failure.id}"


_RESTART: Final = "sudo systemctl restart vvwatch"
_OR_RESTART: Final = f"; after changing the configuration or a key: {_RESTART}"


def pause_finding(row: PausedProcessor) -> Finding:
    """Return the finding about a paused processor."""
    return Finding("paused", "problem", row.message, pause_remedy(row))


def pause_remedy(row: PausedProcessor) -> str:
    """Return how to end the pause: the hint of its error, and the command to resume."""
    if row.code == BudgetReached.code:
        return f"{row.hint}, then {_RESTART}"
    line = f"vvwatch processors resume {shlex.quote(row.name)}"
    if line in row.hint:
        return f"{row.hint}{_OR_RESTART}"
    joint = ": " if row.hint.endswith("resume the processor") else ", then: "
    return f"{row.hint}{joint}{line}{_OR_RESTART}" if row.hint else f"{line}{_OR_RESTART}"


_RAISE: Final = f"raise the budget in vvwatch.toml, then {_RESTART}"
_WAITS: Final = {
    BudgetReached.code: _RAISE,
    ItemBudgetReached.code: _RAISE,
    ProcessorUnavailable.code: "vvwatch doctor",
}


def waiting_remedy(code: str) -> str:
    """Return how to help items that wait for their processor for this reason."""
    return _WAITS.get(code, "vvwatch processors")


def resume_exports_hint(index_id: str) -> str:
    """Return the command that resumes the exports of an index."""
    return f"vvwatch resume {index_id} --exports"


def describe_bad_keys(found: BadKeys) -> tuple[str, str]:
    """Return what clients at an address did, and what to do about it."""
    what = f"sent invalid keys {found.times:,} times since {to_iso(found.first_at)}"
    return what, "vvwatch audit --action request.refused  # a client with an old key, or somebody guessing"


def bad_keys_finding(found: BadKeys) -> Finding:
    """Return the finding about an address that tries keys."""
    what, fix = describe_bad_keys(found)
    return Finding("refused keys", "warning", what, fix)
