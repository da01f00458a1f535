"""What the daemon is doing, in one answer."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from vvwatch.api.auth import extension, resource_router
from vvwatch.api.context import Context
from vvwatch.api.reconciles import Reconcile
from vvwatch.api.reconciles import shown as shown_sweep
from vvwatch.api.wire import Resource, moment
from vvwatch.core.cadence import Learnt
from vvwatch.store.database import Tx
from vvwatch.store.queries import watching
from vvwatch.workflow.findings import sweep_seconds

router = resource_router("status")

Document = dict[str, Any]
_LATELY_SECONDS: Final = 86_400.0


class Watching(Resource):
    """How changes are learnt of at an active automation's location.

    `learnt_by` is `events` (of a queue), `notices` (of the kernel) or `listing`; `source` is the health of the first
    two. `stretched`: listings are further apart than wanted, to keep `max_list_calls_per_hour`. `calls_per_hour` is
    what all takes at this pace, `hot_prefixes` in how many folders new keys are looked for between sweeps.
    """

    learnt_by: str
    source: Document | None
    scan_seconds: float
    sweep_seconds: float
    stretched: bool
    max_list_calls_per_hour: int | None
    calls_per_hour: float
    hot_prefixes: int
    last_sweep: Reconcile | None
    next_sweep_at: str | None
    refused_messages: int


@router.get("/status", **extension("What the daemon is doing"))
async def get_status(context: Context) -> dict[str, Any]:
    """Automations, windows, work in progress and what needs attention."""
    status = await context.status()
    found = await context.database.read(_watched, context.clock.now() - _LATELY_SECONDS)
    shown = {row.id: _watching(row, status, sweep, refused) for row, sweep, refused in found}
    return {**status, "watching": shown}


def _watched(tx: Tx, since: float) -> list[tuple[sa.Row[Any], sa.Row[Any] | None, int]]:
    """Each active automation, its last sweep, and how many messages its queue told in vain lately."""
    sweeps, refused = watching.last_sweeps(tx), dict[str, int]()
    for row in watching.refused_messages(tx, since):
        refused[row.connector_id] = refused.get(row.connector_id, 0) + row.messages
    return [(row, sweeps.get(row.id), refused.get(row.connector_id, 0)) for row in watching.watched(tx)]


def _watching(row: sa.Row[Any], status: Document, sweep: sa.Row[Any] | None, refused: int) -> Watching:
    learnt = Learnt.of(row.cadence)
    told = (status.get("sources") or {}).get(row.id)
    queue = (status.get("queues") or {}).get(row.connector_id)
    return Watching(
        learnt_by="events" if queue else "notices" if told else "listing",
        source=queue or told,
        scan_seconds=row.scan_seconds,
        sweep_seconds=sweep_seconds(row),
        stretched=learnt.stretched,
        max_list_calls_per_hour=row.max_list_calls_per_hour,
        calls_per_hour=learnt.calls_per_hour,
        hot_prefixes=max(len(learnt.hot) - 1, 0),
        last_sweep=None if sweep is None else shown_sweep(sweep),
        next_sweep_at=moment(learnt.next_full_at or row.next_at),
        refused_messages=refused,
    )
