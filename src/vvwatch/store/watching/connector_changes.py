"""Edits of connectors over the API: change, disable, delete; and what prevents them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import imports, runs
from vvwatch.core.exports import ExportStatus
from vvwatch.core.state_machine import EXPORT_TRANSITIONS
from vvwatch.errors import Conflict
from vvwatch.store.catalog import catalog, subscribers
from vvwatch.store.db.database import Tx
from vvwatch.store.models.catalog import Connector
from vvwatch.store.schema import (
    connectors,
    export_automations,
    exports,
    import_automations,
    import_jobs,
    indexes,
    media,
    prompt_runs,
    run_items,
    windows,
)
from vvwatch.store.watching import quarantine

_DECLARED_HINT: Final = "it is declared in the configuration file: edit it there and reload"
_MOST_NAMED: Final = 5
_ENDED_EXPORT: Final = tuple(frozenset(ExportStatus) - EXPORT_TRANSITIONS.keys())


def require_editable(tx: Tx, connector_id: str) -> Connector:
    """Return the connector if the API may edit it. Raises NotFound, or Conflict if the configuration file owns it."""
    row = catalog.get_connector(tx, connector_id)
    if row.declared:
        raise Conflict(f"connector {connector_id!r} is read-only here", _DECLARED_HINT)
    return row


def change(tx: Tx, connector_id: str, changes: Mapping[str, Any]) -> Connector:
    """Set columns of the connector; its automations scan at once if their access may have changed.

    Raises NotFound, or Conflict if the configuration file owns it, an automation needs a removed scope, or another
    connector has the queue of its events.
    """
    row = require_editable(tx, connector_id)
    catalog.require_own_queue(tx, connector_id, changes.get("events"))
    for scope in set(row.scopes) - set(changes.get("scopes", row.scopes)):
        if users := _list_automations(tx, connector_id, scope):
            raise Conflict(
                f"the scope {scope!r} of connector {connector_id!r} is used by {', '.join(users)}",
                "give that automation another connector, or disable it first",
            )
    tx.update(connectors, connector_id, updated_at=tx.now, **changes)
    if changes.keys() & {"status", "credentials", "events"}:
        subscribers.rescan_connector(tx, connector_id)
    return catalog.get_connector(tx, connector_id)


def delete(tx: Tx, connector_id: str) -> Connector:
    """Delete the connector and its credentials; return it as it was. Media, history and ledger stay.

    Raises NotFound, or Conflict if the configuration file owns it or something still uses it.
    """
    row = require_editable(tx, connector_id)
    if users := _list_users(tx, connector_id):
        raise Conflict(
            f"connector {connector_id!r} is used by {', '.join(users)}",
            "give automations another connector, or disable them, and wait until running work ends",
        )
    quarantine.forget_messages(tx, connector_id)
    gone = {"status": catalog.DELETED, "credentials": None, "events": None, "node": ""}
    tx.update(connectors, connector_id, updated_at=tx.now, **gone)
    return row


def _list_users(tx: Tx, connector_id: str) -> list[str]:
    """List what uses the connector, by name."""
    work = {
        "import job": _select_import_jobs(connector_id),
        "prompt run": _select_prompt_runs(connector_id),
        "export": _select_exports(connector_id),
    }
    return [
        *_list_automations(tx, connector_id, "import"),
        *_list_automations(tx, connector_id, "export"),
        *(name for noun, ids in work.items() for name in _list_names(tx, noun, ids)),
    ]


def _list_automations(tx: Tx, connector_id: str, scope: str) -> list[str]:
    """List automations that are enabled (also paused), or have an open window."""
    table: sa.Table = import_automations if scope == "import" else export_automations
    if scope == "import":
        waiting = sa.exists().where(windows.c.automation_id == table.c.id, windows.c.state == "open")
        wanted = table.c.connector_id == connector_id, sa.or_(table.c.enabled, waiting)
    else:
        wanted = table.c.destination_connector_id == connector_id, table.c.enabled
    name = indexes.c.name.concat(" (").concat(indexes.c.id).concat(")")
    found = (
        sa.select(name).join(table, table.c.index_id == indexes.c.id).where(*wanted).order_by(indexes.c.id)
    )
    return _list_names(tx, f"the {scope} automation of index", found)


def _select_import_jobs(connector_id: str) -> sa.Select[Any]:
    wanted = import_jobs.c.connector_id == connector_id, import_jobs.c.status.not_in(imports.TERMINAL)
    return sa.select(import_jobs.c.id).where(*wanted).order_by(import_jobs.c.id)


def _select_prompt_runs(connector_id: str) -> sa.Select[Any]:
    """Select the unfinished runs that read media of the connector."""
    read = sa.exists().where(
        run_items.c.run_id == prompt_runs.c.id,
        media.c.id == run_items.c.media_id,
        media.c.connector_id == connector_id,
    )
    wanted = prompt_runs.c.status.not_in(runs.TERMINAL), read
    return sa.select(prompt_runs.c.id).where(*wanted).order_by(prompt_runs.c.id)


def _select_exports(connector_id: str) -> sa.Select[Any]:
    wanted = exports.c.destination_connector_id == connector_id, exports.c.status.not_in(_ENDED_EXPORT)
    return sa.select(exports.c.id).where(*wanted).order_by(exports.c.id)


def _list_names(tx: Tx, noun: str, names: sa.Select[Any]) -> list[str]:
    """List the first few names, and whether there are more."""
    found = tx.execute(names.limit(_MOST_NAMED + 1)).scalars().all()
    some = [f"{noun} {name}" for name in found[:_MOST_NAMED]]
    return [*some, "others like it"] if len(found) > _MOST_NAMED else some
