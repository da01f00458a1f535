"""Who wants what is told of a connector's objects."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from vvwatch.ports import Kind
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import import_automations


class WatchedPrefix(NamedTuple):
    """What an automation watches of its connector; one that is not `active` lists everything once it is."""

    automation_id: str
    prefix: str
    active: bool


def list_watched_prefixes(tx: Tx, connector_id: str) -> list[WatchedPrefix]:
    """All places of the connector that are watched, or would be if their automations were active."""
    table = import_automations
    is_active = sa.and_(table.c.enabled, ~table.c.paused).label("is_active")
    of = sa.select(table.c.id, table.c.source_prefix, is_active).where(table.c.connector_id == connector_id)
    return [WatchedPrefix(row.id, row.source_prefix, bool(row.is_active)) for row in tx.all(of)]


def rescan_connector(tx: Tx, connector_id: str) -> None:
    """Let the active automations of the connector look at all of it now."""
    table = import_automations
    active = table.c.connector_id == connector_id, table.c.enabled, ~table.c.paused
    for row in tx.all(sa.select(table).where(*active)):
        tx.nudge(Kind.SCAN, row, tx.now)
