"""What the database tells of connectors, queues, automations and webhooks, judged: is it well, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.cadence import Learnt
from vvwatch.ports import Finding, SourceHealth
from vvwatch.store import migrations
from vvwatch.store.queries.condition import Condition

_LARGE_WAL_BYTES: Final = 256 << 20
_SKEW_NOTED_SECONDS: Final = 60.0
_SKEW_REFUSED_SECONDS: Final = 900.0
"""Signed requests that are dated further off are refused (S3, Azure: 15 minutes)."""
_LATE: Final = (2, 300.0)
_FAR_TOO_LATE: Final = (5, 3600.0)
_SOURCE_STATES: Final = {"degraded": "warning", "failed": "problem"}
_REFUSED: Final = {
    "malformed": "look who else writes to the queue; only the store's own notifications belong there",
    "foreign": "let the notifications of other buckets go to a queue of their own",
    "unmatched": "narrow the notification to the prefixes that are watched",
}


def of_database(condition: Condition) -> Iterator[Finding]:
    """Findings about a database that takes writes."""
    newest = migrations.LATEST
    state = "ok" if condition.schema == newest else "problem"
    fix = "" if state == "ok" else "sudo systemctl restart vvwatch"
    yield Finding("schema", state, f"version {condition.schema} of {newest} ({condition.dialect})", fix)
    yield Finding("size", "ok", f"{condition.size_bytes / 1e6:.1f} MB")
    if condition.wal_bytes is not None:
        large = condition.wal_bytes > _LARGE_WAL_BYTES
        detail = f"{condition.wal_bytes / 1e6:.1f} MB wait to be brought into the database"
        fix = (
            "sudo systemctl restart vvwatch  # something reads for so long that they cannot be"
            if large
            else ""
        )
        yield Finding("write-ahead log", "warning" if large else "ok", detail, fix)


def of_clock(ahead_seconds: float) -> Finding:
    """What it means that the store's clock is so much ahead of this machine's."""
    skew = abs(ahead_seconds)
    if skew < _SKEW_NOTED_SECONDS:
        return Finding("clock", "ok", f"the store's and this machine's differ by {skew:.1f} s")
    where = "ahead of" if ahead_seconds > 0 else "behind"
    state = "problem" if skew >= _SKEW_REFUSED_SECONDS else "warning"
    detail = f"the store's clock is {skew:.0f} s {where} this machine's"
    return Finding("clock", state, detail, "sudo timedatectl set-ntp true")


def of_automation(
    row: sa.Row[Any], source: SourceHealth | None, swept: sa.Row[Any] | None, now: float
) -> Iterator[Finding]:
    """Findings about an active automation; `source` tells it of changes, `swept` is its last complete sweep."""
    if row.last_error:
        yield Finding("listing", "problem", row.last_error, row.last_error_hint or f"vvwatch scan {row.id}")
    yield _of_source(source, now)
    yield _of_sweep(row, swept, now)
    learnt = Learnt.of(row.cadence)
    if learnt.stretched:
        wanted = ceil(learnt.calls * 3600 / row.scan_seconds)
        detail = (
            f"is listed less often than wanted, to keep to {row.max_list_calls_per_hour} requests an hour"
        )
        yield Finding(
            "cadence", "warning", detail, f"max_list_calls_per_hour = {wanted}  # of the automation"
        )


def _of_source(source: SourceHealth | None, now: float) -> Finding:
    if source is None:
        return Finding("changes", "ok", "are learnt of by listing")
    since = f" for {now - source.since:.0f} s" if source.since else ""
    why = f": {source.reason}" if source.reason else ""
    detail = f"are told of; the source has been {source.state}{since}{why}"
    state = _SOURCE_STATES.get(source.state, "ok")
    return Finding(
        "changes", state, detail, source.hint or ("" if state == "ok" else "journalctl -u vvwatch")
    )


def _of_sweep(row: sa.Row[Any], swept: sa.Row[Any] | None, now: float) -> Finding:
    last_at = row.last_scan_at if swept is None else swept.finished_at
    age = now - max(last_at or row.created_at or now, row.updated_at or 0.0)
    known = (
        "none was complete yet" if last_at is None else f"the last one was complete {now - last_at:.0f} s ago"
    )
    period = sweep_seconds(row)
    detail = f"{known}; one is due every {period:.0f} s"
    if age <= _bound(_LATE, period):
        return Finding("sweep", "ok", detail)
    state = "problem" if age > _bound(_FAR_TOO_LATE, period) else "warning"
    return Finding("sweep", state, detail, f"vvwatch scan {row.id}")


def _bound(limit: tuple[int, float], period: float) -> float:
    times, seconds = limit
    return times * period + seconds


def sweep_seconds(row: sa.Row[Any]) -> float:
    """How far apart the complete sweeps of an automation are meant to be; `row` has its connector's `events`."""
    learnt = Learnt.of(row.cadence)
    if learnt.full_at and learnt.next_full_at and learnt.next_full_at > learnt.full_at:
        return learnt.next_full_at - learnt.full_at
    if row.events and (seconds := row.events.get("sweep_seconds")):
        return float(seconds)
    return float(row.scan_seconds)


def of_refused(row: sa.Row[Any]) -> Finding:
    """What messages that told nothing of the connector's location say about its queue."""
    detail = f"{row.messages} in the last day are {row.reason}: {row.detail}"
    return Finding("messages", "warning", detail, _REFUSED.get(row.reason, ""))


def of_webhook(row: sa.Row[Any]) -> Finding:
    """A webhook that was given up, or is about to be; its address is not told, for it may hold a secret."""
    anew = "reload the configuration" if row.declared else "set its status to active"
    if row.status == "disabled":
        detail = f"{row.name!r} is disabled, after {row.failure_count} failures in a row"
        return Finding(
            "delivery", "problem", detail, f"let its receiver answer with a status of 2xx, then {anew}"
        )
    detail = f"{row.name!r} failed {row.failure_count} times in a row"
    return Finding("delivery", "warning", detail, "let its receiver answer with a status of 2xx")
