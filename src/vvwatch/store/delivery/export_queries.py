"""Exports as they are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.schema import exports


def get(tx: Tx, export_id: str) -> sa.Row[Any]:
    """The export; raises NotFound."""
    return tx.require(exports, "export", export_id)


def list_newest(tx: Tx, limit: int) -> Sequence[sa.Row[Any]]:
    """Exports, newest first."""
    return tx.all(sa.select(exports).order_by(exports.c.id.desc()).limit(limit))
