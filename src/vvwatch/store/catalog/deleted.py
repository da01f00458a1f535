"""What was deleted is out of sight from then on, though its rows go later, or stay for what counted them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from vvwatch.core.deletions import DeletionStatus
from vvwatch.errors import Conflict, NotFound
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import deletions


def is_not_deleted(identifier: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Whether what has this id was not deleted."""
    return ~sa.exists().where(deletions.c.resource_id == identifier)


def require_not_deleted(tx: Tx, resource: str, identifier: str, *wholes: str) -> None:
    """Raises NotFound, which names `resource`, when it was deleted, or one of the `wholes` that it belongs to."""
    found = deletions.c.resource_id.in_((identifier, *wholes))
    if tx.first(sa.select(deletions.c.id).where(found)) is not None:
        raise NotFound(resource, identifier, "it was deleted; GET …/deletion tells how far that has come")


def free_deleted_id(tx: Tx, resource: str, identifier: str) -> None:
    """Let the id be used anew, when all is gone that had it. Raises Conflict, which names `resource`, before that."""
    found = tx.first(sa.select(deletions.c.status).where(deletions.c.resource_id == identifier))
    if found is not None and found.status != DeletionStatus.DELETED:
        raise Conflict(f"{resource} {identifier!r} is being deleted", "try again when that has ended")
    if found is not None:
        tx.execute(sa.delete(deletions).where(deletions.c.resource_id == identifier))
