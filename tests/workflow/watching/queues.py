"""What tests about event queues share: events, and waiting for what happens in threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import anyio
import sqlalchemy as sa

from tests.store.pipeline import prepare
from vvwatch.core.changes import EventKind, ObjectEvent
from vvwatch.core.objects import StorageObject
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.schema import connectors, import_automations, objects
from vvwatch.store.watching import automations, ledger

EVENTS = {"queue": "q", "mode": "exclusive", "sweep_seconds": 3600.0, "late_seconds": 60.0}


def created(found: StorageObject | str, sequencer: str = "") -> ObjectEvent:
    """An event that tells the whole object, or only a key."""
    if isinstance(found, str):
        return ObjectEvent(EventKind.CREATED, (found,), None, sequencer)
    return ObjectEvent(EventKind.CREATED, (found.key,), found, sequencer)


def removed(key: str, sequencer: str = "") -> ObjectEvent:
    """An event that tells of a deletion."""
    return ObjectEvent(EventKind.REMOVED, (key,), None, sequencer)


def with_events(tx: Tx, /, **overrides: Any) -> ImportAutomation:
    """An automation over a connector whose queue tells of changes."""
    row = prepare(tx, **overrides)
    tx.update(connectors, row.connector_id, events=EVENTS)
    return row


def second(tx: Tx, prefix: str) -> ImportAutomation:
    """Another automation of the same connector, in another index."""
    catalog.declare_index(tx, "idx_second", "second")
    row = automations.get_import(tx, "idx_main")
    scope = ledger.ensure_scope(tx, "idx_second", row.connector_id)
    own = {"id": "auto_second", "index_id": "idx_second", "source_prefix": prefix, "scope_id": scope}
    tx.insert(import_automations, **{**asdict(row), **own})
    automations.pause_import(tx, "idx_second", paused=False)
    return automations.get_import(tx, "idx_second")


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds, at most for twenty seconds."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110  # what is awaited happens in a thread
            await anyio.sleep(0.005)


async def keys(database: Database, table: sa.Table = objects) -> list[str]:
    """All keys in a table, in order."""
    return [row.key for row in await database.read(lambda tx: tx.all(sa.select(table).order_by(table.c.key)))]
