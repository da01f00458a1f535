"""List what needs attention across the server, each with the command that fixes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import Path

from vvwatch.api.http.auditing import Audited
from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.api.routes.status_bodies import Attention
from vvwatch.core.keys import Scope
from vvwatch.core.shortages import find_remedy
from vvwatch.store.admin import attention as queries
from vvwatch.store.admin import nodes
from vvwatch.store.admin.audit import BadKeys
from vvwatch.store.admin.shortages import WaitingWork
from vvwatch.store.admin.status_queries import State
from vvwatch.store.db.database import Tx
from vvwatch.store.models.admin import Failure
from vvwatch.store.models.delivery import Webhook
from vvwatch.store.runs.processor_states import Blocked
from vvwatch.workflow.upkeep.findings import (
    describe_bad_keys,
    describe_shortage,
    describe_webhook_trouble,
    next_step,
    pause_remedy,
    waiting_remedy,
)

MAX_LISTED: Final = 50
"""How many of the newest failures of each kind are listed."""

router = resource_router("status")

Document = dict[str, Any]
UNHEALTHY: Final = frozenset({"degraded", "failed"})
"""The states of sources and connectors that need attention."""


class Dismissed(Resource):
    """The dismissed failure and those with the same cause."""

    dismissed: list[str]


@router.post("/attention/{attention_id}/dismiss", **extension("Dismiss a failure", Scope.WRITE))
async def dismiss_attention(
    context: Context,
    audited: Audited,
    attention_id: Annotated[
        str, Path(description="id of an import job, prompt run, export, delivery or node")
    ],
) -> Dismissed:
    """Dismiss a failure and others with the same cause. Later failures are shown again."""
    after = recent_since(context.clock.now())
    dismissed = await audited.write(lambda tx: _dismiss(tx, attention_id, after))
    return Dismissed(dismissed=list(dismissed))


def _dismiss(tx: Tx, attention_id: str, after: float) -> Sequence[str]:
    if nodes.dismiss_lost(tx, attention_id):
        return [attention_id]
    return queries.dismiss(tx, attention_id, after)


def recent_since(now: float) -> float:
    """Return the time after which failures need attention."""
    return now - queries.RECENT_SECONDS


def list_attention(found: State, daemon: Document) -> list[Attention]:
    """List all problems: first those of the server, then those of automations, then failures."""
    return [
        *_database(daemon.get("database") or {}),
        *_connections(daemon.get("pressure")),
        *_shortages(found.shortages),
        *_nodes(daemon.get("nodes") or ()),
        *_processors(found.processors),
        *_unhealthy("connector", daemon.get("connectors") or {}),
        *_automations(found, daemon.get("sources") or {}),
        *_unhealthy("queue", daemon.get("queues") or {}),
        *list_failures(found),
        *_webhooks(found.webhooks),
        *_bad_keys(found.bad_keys),
    ]


def _bad_keys(found: Sequence[BadKeys]) -> Iterator[Attention]:
    for each in found:
        what, fix = describe_bad_keys(each)
        yield Attention(
            kind="address",
            attention_id=each.address,
            state="failed",
            what=what,
            fix=fix,
            count=each.times,
            since=to_iso(each.first_at),
        )


def _database(database: Document) -> Iterator[Attention]:
    if not database.get("writable", True):
        what = database.get("error") or "the database is not writable"
        fix = "free space on its disk, or check the disk's health"
        yield Attention(kind="database", attention_id="database", state="failed", what=what, fix=fix)


def _connections(pressure: Document | None) -> Iterator[Attention]:
    if pressure is not None:
        yield Attention(
            kind="connections",
            attention_id="connections",
            state="waiting",
            what=f"{pressure['what']}; idle connections are closed for new ones",
            fix=pressure["hint"],
            since=to_iso(pressure["since"]),
        )


def _shortages(found: Iterable[WaitingWork]) -> Iterator[Attention]:
    for each in found:
        yield Attention(
            kind="machine",
            attention_id=each.code,
            state="waiting",
            what=describe_shortage(each),
            fix=find_remedy(each.code, each.message),
            count=each.count,
            since=to_iso(each.since),
            next_try_at=to_iso(each.next_at),
        )


def _nodes(found: Iterable[Mapping[str, Any]]) -> Iterator[Attention]:
    for each in found:
        if each["loss"]:
            yield Attention(
                kind="node",
                attention_id=each["name"],
                state="failed" if each["waiting"] else "waiting",
                what=each["loss"],
                fix=each["remedy"],
                since=to_iso(each["seen_at"] or None),
            )


def _processors(found: Blocked) -> Iterator[Attention]:
    for row in found.paused:
        yield Attention(
            kind="processor",
            attention_id=row.name,
            state="waiting",
            what=f"is paused: {row.message}",
            fix=pause_remedy(row),
            since=to_iso(row.paused_at),
            next_try_at=to_iso(row.until),
        )
    for run in found.waiting:
        yield Attention(
            kind="prompt_run",
            attention_id=run.run_id,
            state="waiting",
            what=f"waits for the processor {run.processor}: {run.message}",
            fix=waiting_remedy(run.code),
            count=run.items,
            next_try_at=to_iso(run.next_at),
        )


def _unhealthy(kind: str, sources: Document) -> Iterator[Attention]:
    for name, health in sources.items():
        if health["state"] in UNHEALTHY:
            yield _of_health(kind, name, health)


def _of_health(kind: str, name: str, health: Document) -> Attention:
    return Attention(
        kind=kind,
        attention_id=name,
        state="waiting",
        what=health.get("reason", ""),
        fix=health.get("hint", ""),
        since=to_iso(health.get("since") or None),
    )


def _automations(found: State, sources: Document) -> Iterator[Attention]:
    for row in found.automations:
        if row.last_error:
            times = f" ({row.failures:,} scans in a row)" if row.failures > 1 else ""
            yield Attention(
                kind="automation",
                attention_id=row.id,
                state="waiting",
                what=f"{row.last_error}{times}",
                fix=row.last_error_hint or "",
                count=max(row.failures, 1),
                since=to_iso(row.failing_since),
                next_try_at=to_iso(row.next_at),
            )
        elif sources.get(row.id, {}).get("state") in UNHEALTHY:
            yield _of_health("source", row.id, sources[row.id])


def list_failures(found: State) -> Iterator[Attention]:
    """Yield failures: the newest of each kind, and the newest for each other cause."""
    counts, reasons = Counter[str](), set[tuple[str, str, str]]()
    for each in found.failures.found:
        reason = each.kind, each.about, each.reason
        if counts[each.kind] < MAX_LISTED or reason not in reasons:
            counts[each.kind] += 1
            reasons.add(reason)
            yield _to_attention(each)


def _to_attention(each: Failure) -> Attention:
    waits = each.state == "waiting"
    return Attention(
        kind=each.kind,
        attention_id=each.id,
        state=each.state,
        what=each.what,
        fix=next_step(each),
        count=each.failed,
        alike=len(each.ids),
        since=to_iso(each.last_at),
        next_try_at=to_iso(each.next_try_at),
        dismissable=not waits,
    )


def _webhooks(rows: Iterable[Webhook]) -> Iterator[Attention]:
    for row in rows:
        what, fix = describe_webhook_trouble(row)
        yield Attention(
            kind="webhook",
            attention_id=row.id,
            state="failed" if row.status == "disabled" else "waiting",
            what=what,
            fix=fix,
            count=row.failure_count,
            since=to_iso(row.last_failure_at),
            next_try_at=to_iso(row.probe_at) if row.status == "active" else None,
        )
