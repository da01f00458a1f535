"""The automations that watch a connector."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from vvwatch.ports import Kind
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import import_automations


class WatchedPrefix(NamedTuple):
    """What an automation watches of its connector; an inactive one lists everything when it becomes `active`."""

    automation_id: str
    prefix: str
    active: bool


def list_watched_prefixes(tx: Tx, connector_id: str) -> list[WatchedPrefix]:
    """Return all watched places of the connector, also those of inactive automations."""
    table = import_automations
    is_active = sa.and_(table.c.enabled, ~table.c.paused).label("is_active")
    of = sa.select(table.c.id, table.c.source_prefix, is_active).where(table.c.connector_id == connector_id)
    return [WatchedPrefix(row.id, row.source_prefix, bool(row.is_active)) for row in tx.all(of)]


def rescan_connector(tx: Tx, connector_id: str) -> None:
    """Make full scans of the connector's active automations due now."""
    table = import_automations
    active = table.c.connector_id == connector_id, table.c.enabled, ~table.c.paused
    for row in tx.all(sa.select(table).where(*active)):
        tx.nudge(Kind.SCAN, row, tx.now)
