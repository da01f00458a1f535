"""Limits on the number of resources: more of them would slow lists and scans for everybody.

Resources declared in the configuration file count, but are never refused: its author controls the machine
anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from vvwatch.errors import LimitReached
from vvwatch.store.catalog.deleted import is_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import api_keys, connectors, indexes, prompts, webhooks

MAX_PER_KIND: Final = 1_000
"""The maximum of each."""

_KINDS: Final[Mapping[sa.Table, tuple[str, str]]] = {
    api_keys: ("API keys", "delete those that are revoked or expired: DELETE /api/v2/api-keys/{key_id}"),
    connectors: ("connectors", "delete those that nothing uses: DELETE /api/v2/connectors/{connector_id}"),
    indexes: ("indexes", "delete those that are done: DELETE /api/v2/indexes/{index_id}"),
    prompts: ("prompts", "delete those that nothing uses: DELETE /api/v2/prompts/{prompt_id}"),
    webhooks: ("webhooks", "delete those that nobody receives: DELETE /api/v2/webhooks/{webhook_id}"),
}
"""Limited resources, their names, and how to make room. An index has at most one automation of each kind."""


def require_room(tx: Tx, table: sa.Table) -> None:
    """Raise LimitReached if the table has the maximum of rows; deleted ones do not count."""
    there = (
        is_not_deleted(table.c.id)
        if table is indexes
        else table.c.status != "deleted"
        if "status" in table.c
        else sa.true()
    )
    if tx.execute(sa.select(sa.func.count()).select_from(table).where(there)).scalar_one() >= MAX_PER_KIND:
        what, remedy = _KINDS[table]
        raise LimitReached(f"there are {MAX_PER_KIND:,} {what}, the maximum", remedy)
