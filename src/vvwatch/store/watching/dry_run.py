"""Dry runs of import automations, in a transaction that is rolled back."""

from __future__ import annotations

from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.watching import automations
from vvwatch.store.watching.automations import ImportSpec

Parts = tuple[ImportAutomation, Connector]
"""An import automation and its connector."""


def get_saved_import(tx: Tx, index_id: str) -> Parts:
    """Return the saved import automation of the index. Raises NotFound for the index or the automation."""
    row = automations.get_import(tx, index_id)
    return row, catalog.get_connector(tx, row.connector_id)


def try_import(tx: Tx, index_id: str, spec: ImportSpec) -> Parts:
    """Return the automation as `automations.save_import` would save it, and undo it. Raises as it does."""
    attempt = tx.conn.begin_nested()
    try:
        automations.save_import(tx, index_id, spec)
        return get_saved_import(tx, index_id)
    finally:
        attempt.rollback()
        tx.jobs.clear()
