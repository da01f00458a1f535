"""Queries that show automations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import columns, models_of
from vvwatch.store.models.catalog import Connector, Index, Prompt
from vvwatch.store.models.watching import AutomationState, ImportAutomation, WindowWithPolicy
from vvwatch.store.schema import export_automations, import_automations
from vvwatch.store.watching import automations, window_queries

_FEW: Final = 500
"""Of more indexes, all automations are read: statements take a limited number of values."""


@dataclass(frozen=True, slots=True)
class ImportState:
    """An import automation and its open window."""

    row: ImportAutomation
    window: WindowWithPolicy | None

    @property
    def automation_id(self) -> str:
        """Return the automation's id."""
        return self.row.id


def get_import_state(tx: Tx, index_id: str) -> ImportState:
    """Return the index's import automation. Raises NotFound for the index or the automation."""
    row = automations.get_import(tx, index_id)
    return ImportState(row, window_queries.find_open(tx, row.id))


@dataclass(frozen=True, slots=True)
class ImportParts:
    """The connector and the prompt of an import automation that does not exist yet."""

    connector: Connector
    prompt: Prompt


def get_import_parts(tx: Tx, index_id: str, connector_id: str, prompt_id: str) -> ImportParts:
    """Return the connector and the prompt for a new import automation of an existing index.

    Raises NotFound (index, connector, prompt) or InvalidInput for a connector without the scope `import`.
    """
    catalog.get_index(tx, index_id)
    connector = automations.require_connector(tx, connector_id, "import")
    return ImportParts(connector, catalog.get_prompt(tx, prompt_id))


@dataclass(frozen=True, slots=True)
class IndexAutomations:
    """An index and its automations; None where it has none."""

    index: Index
    importing: AutomationState | None
    exporting: AutomationState | None


def list_index_automations(tx: Tx) -> list[IndexAutomations]:
    """List every index that is not deleted, oldest first, in three queries."""
    return join_automations(tx, catalog.list_indexes(tx))


def join_automations(tx: Tx, chosen: Sequence[Index]) -> list[IndexAutomations]:
    """Return these indexes with their automations, in two queries."""
    ids = [row.id for row in chosen]
    importing, exporting = (_map_by_index(tx, each, ids) for each in (import_automations, export_automations))
    return [IndexAutomations(row, importing.get(row.id), exporting.get(row.id)) for row in chosen]


def _map_by_index(tx: Tx, table: sa.Table, ids: Sequence[str]) -> dict[str, AutomationState]:
    wanted = sa.true() if len(ids) > _FEW else table.c.index_id.in_(ids)
    rows = tx.all(sa.select(*columns(AutomationState, table)).where(wanted))
    return {row.index_id: row for row in models_of(AutomationState, rows)}
