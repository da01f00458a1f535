"""The state of watching: the last full scans of automations, and refused messages of queues."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.watching import RefusedCount, StoredScanReport, WatchedAutomation
from vvwatch.store.schema import connectors, import_automations, quarantine, reconciles


def list_watched(tx: Tx) -> list[WatchedAutomation]:
    """List import automations that may be scanned, with the status and events of their connectors."""
    joined = sa.select(import_automations, connectors.c.status.label("connector_status"), connectors.c.events)
    joined = joined.join(connectors, connectors.c.id == import_automations.c.connector_id)
    active = import_automations.c.enabled, ~import_automations.c.paused
    there = joined.where(*active, connectors.c.status != catalog.DELETED).order_by(import_automations.c.id)
    return models_of(WatchedAutomation, tx.all(there))


def map_last_scans(tx: Tx, automation_ids: Sequence[str] | None = None) -> dict[str, StoredScanReport]:
    """Map each automation id (or these) to the report of its last full scan."""
    return _map_latest(
        tx, sa.true(), None if automation_ids is None else import_automations.c.id.in_(automation_ids)
    )


def map_last_complete_scans(tx: Tx) -> dict[str, StoredScanReport]:
    """Map each automation id to the report of its last complete scan."""
    return _map_latest(tx, reconciles.c.complete)


def _map_latest(
    tx: Tx, wanted: sa.ColumnElement[bool], chosen: sa.ColumnElement[bool] | None = None
) -> dict[str, StoredScanReport]:
    """Map automation ids to their last report by insertion order, not by clock: one index lookup each."""
    own = reconciles.c.automation_id == import_automations.c.id
    last = sa.select(sa.func.max(reconciles.c.seq)).where(own, wanted).correlate(import_automations)
    met = reconciles.c.seq == last.scalar_subquery()
    joined = sa.select(reconciles).select_from(import_automations).join(reconciles, met)
    found = tx.all(joined if chosen is None else joined.where(chosen))
    return {row.automation_id: row for row in models_of(StoredScanReport, found)}


def count_refused_messages(tx: Tx, since: float) -> list[RefusedCount]:
    """Count messages refused since then, by connector and reason, with the detail of one."""
    table = quarantine
    grouped = sa.select(
        table.c.connector_id,
        table.c.reason,
        sa.func.count().label("messages"),
        sa.func.max(table.c.detail).label("detail"),
    ).where(table.c.last_seen_at >= since)
    grouped = grouped.group_by(table.c.connector_id, table.c.reason).order_by("connector_id", "reason")
    return models_of(RefusedCount, tx.all(grouped))
