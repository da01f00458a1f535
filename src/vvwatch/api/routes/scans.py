"""Reports of full scans, which compare the listing with the ledger."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import Resource
from vvwatch.api.routes.windows import name_missing_automation
from vvwatch.core.filters import explain_if_known
from vvwatch.core.keys import Scope
from vvwatch.core.store_notes import describe_oddity
from vvwatch.store.db.database import Tx
from vvwatch.store.models.watching import StoredScanReport
from vvwatch.store.watching import automations, scans
from vvwatch.store.watching.watch_queries import map_last_scans

_PATH = "/indexes/{index_id}/automations/import/reconciles"


router = resource_router("reconciles")


class LeftOut(Resource):
    """How many entries of a listing are no objects for one reason, and the reason."""

    reason: str
    count: int
    explanation: str


class Reconcile(Resource):
    """The result of a full scan.

    `matched` of the `listed` objects pass the filter; of those `known` were in the ledger, `created` have new keys and
    `changed` new versions. `gone` were in the ledger and no longer exist. `recovered` lacked an event. `proof`: the
    scan may detect deletions; `remark` says why it may not, or is incomplete. `left_out` are matching entries that are
    no objects. `store_notes` lists weaknesses of the store.
    """

    reconcile_id: str
    automation_id: str
    started_at: str | None
    finished_at: str | None
    complete: bool
    proof: bool
    remark: str
    listed: int
    matched: int
    known: int
    created: int
    changed: int
    gone: int
    recovered: int
    list_calls: int
    cost_usd: float
    duration_seconds: float
    left_out: list[LeftOut]
    store_notes: list[str]


def to_response(row: StoredScanReport) -> Reconcile:
    """Return the report as a response."""
    left_out = [
        LeftOut(reason=reason, count=count, explanation=explain_if_known(reason))
        for reason, count in (row.left_out or {}).items()
    ]
    notes = list(map(describe_oddity, row.odd or ()))
    return Reconcile.of(row, reconcile_id=row.id, left_out=left_out, store_notes=notes)


@router.get(
    _PATH,
    dependencies=[Depends(name_missing_automation)],
    **extension("Reports of full scans, newest first", Scope.READ),
)
async def list_reconciles(
    context: Context, index_id: str, limit: Annotated[int, Query(ge=1, le=200)] = 20
) -> list[Reconcile]:
    """List the latest full scans of an index's import automation, newest first."""
    return [to_response(row) for row in await context.database.read(_list_newest, index_id, limit)]


@router.get("/reconciles", **extension("The latest full scan of each import automation", Scope.READ))
async def list_latest_reconciles(context: Context) -> list[Reconcile]:
    """List the latest full scan of each import automation."""
    found = await context.database.read(map_last_scans)
    return [to_response(found[automation_id]) for automation_id in sorted(found)]


def _list_newest(tx: Tx, index_id: str, limit: int) -> list[StoredScanReport]:
    return list(scans.list_reports(tx, automations.get_import(tx, index_id).id, limit))
