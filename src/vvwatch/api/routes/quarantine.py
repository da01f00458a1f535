"""Messages of a connector's event queue that no automation could use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import Resource
from vvwatch.core.keys import Scope
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.models.watching import QuarantinedMessage as MessageRow
from vvwatch.store.watching import quarantine

router = resource_router("connectors")


class QuarantinedMessage(Resource):
    """A rejected message: its reason (`malformed`, `foreign` or `unmatched`), details and first characters.

    `times`: how often it came. `deleted`: it was removed from the queue, which only this connector reads.
    """

    message_id: str
    reason: str
    detail: str
    excerpt: str
    first_seen_at: str | None
    last_seen_at: str | None
    times: int
    deleted: bool


@router.get(
    "/connectors/{connector_id}/quarantine", **extension("Messages that no automation could use", Scope.READ)
)
async def list_quarantine(
    context: Context,
    connector_id: str,
    limit: Annotated[int, Query(ge=1, le=quarantine.MAX_KEPT_MESSAGES)] = 50,
) -> list[QuarantinedMessage]:
    """List rejected messages of a connector's queue, latest first; the last thousand are kept."""
    return [
        QuarantinedMessage.of(row) for row in await context.database.read(_list_latest, connector_id, limit)
    ]


def _list_latest(tx: Tx, connector_id: str, limit: int) -> Sequence[MessageRow]:
    catalog.get_connector(tx, connector_id)
    return quarantine.list_messages(tx, connector_id, limit)
