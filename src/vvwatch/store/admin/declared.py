"""What the configuration file declares, as the database has it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.store.admin.keys import ADMIN_KEY_ID
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import (
    api_keys,
    connectors,
    export_automations,
    import_automations,
    indexes,
    prompts,
    webhooks,
)

_KINDS: Final = {
    connectors: "connector",
    indexes: "index",
    prompts: "prompt",
    import_automations: "automation",
    export_automations: "automation",
    webhooks: "webhook",
}


def read_declared(tx: Tx) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the columns of the declared rows and of the operator's own key, by kind and id."""
    chosen = [(sa.select(table).where(table.c.declared), kind) for table, kind in _KINDS.items()]
    own_key = api_keys.c.id.startswith(ADMIN_KEY_ID, autoescape=True)
    chosen.append((sa.select(api_keys).where(own_key), "key"))
    return {(kind, row.id): dict(row._mapping) for rows, kind in chosen for row in tx.all(rows)}


def find_credentials(tx: Tx, connector_id: str) -> bytes | None:
    """Return the sealed credentials of a connector, or None."""
    kept = tx.execute(sa.select(connectors.c.credentials).where(connectors.c.id == connector_id)).scalar()
    return None if kept is None else bytes(kept)


def is_import_paused(tx: Tx, index_id: str) -> bool:
    """Return whether a person paused the imports of the index, which outlives a restart."""
    return _is_paused(tx, import_automations, index_id)


def is_export_paused(tx: Tx, index_id: str) -> bool:
    """Return whether a person paused the exports of the index, which outlives a restart."""
    return _is_paused(tx, export_automations, index_id)


def _is_paused(tx: Tx, table: sa.Table, index_id: str) -> bool:
    return bool(tx.execute(sa.select(table.c.paused).where(table.c.index_id == index_id)).scalar())


def release_removed(tx: Tx, kept: Mapping[str, Collection[str]]) -> None:
    """Make resources editable that left the file; stop its automations and webhooks.

    `kept` has the ids that the file still declares, by table.
    """
    stopped: dict[sa.Table, dict[str, Any]] = {
        import_automations: {"enabled": False, "next_at": None, "updated_at": tx.now},
        export_automations: {"enabled": False},
        webhooks: {"status": "disabled"},
    }
    for table in _KINDS:
        gone = sa.update(table).where(table.c.declared, table.c.id.not_in(kept[table.name]))
        tx.execute(gone.values(declared=False, **stopped.get(table, {})))
