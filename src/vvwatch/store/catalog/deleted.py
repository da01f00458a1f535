"""Deleted resources are invisible at once, although their rows are deleted later, or kept for counts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from vvwatch.core.deletions import DeletionStatus
from vvwatch.errors import Conflict, NotFound
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import deletions


def is_not_deleted(identifier: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Return whether nothing with this id was deleted."""
    return ~sa.exists().where(deletions.c.resource_id == identifier)


def require_not_deleted(tx: Tx, resource: str, identifier: str, *wholes: str) -> None:
    """Raise NotFound, which names `resource`, if it or one of the `wholes` that it belongs to was deleted."""
    found = deletions.c.resource_id.in_((identifier, *wholes))
    if tx.first(sa.select(deletions.c.id).where(found)) is not None:
        raise NotFound(resource, identifier, "it was deleted; GET …/deletion shows the progress")


def free_deleted_id(tx: Tx, resource: str, identifier: str) -> None:
    """Let the id be used again once its deletion is complete. Raises Conflict, which names `resource`, before that."""
    found = tx.first(sa.select(deletions.c.status).where(deletions.c.resource_id == identifier))
    if found is not None and found.status != DeletionStatus.DELETED:
        raise Conflict(f"{resource} {identifier!r} is being deleted", "try again when the deletion has ended")
    if found is not None:
        tx.execute(sa.delete(deletions).where(deletions.c.resource_id == identifier))
