"""Messages of event queues that no automation could use, kept for inspection."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.store.db.database import Tx, upsert
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.watching import QuarantinedMessage
from vvwatch.store.schema import quarantine

MAX_KEPT_MESSAGES: Final = 1_000
"""How many messages are kept for each connector, newest first."""

_LONGEST_EXCERPT_BYTES: Final = 2_048
_LONGEST_ID_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """A refused message: `reason` is malformed, foreign or unmatched; `excerpt` is its beginning."""

    message_id: str
    reason: str
    detail: str
    excerpt: str


def keep_messages(tx: Tx, connector_id: str, refused: Collection[RefusedMessage], *, deleted: bool) -> int:
    """Keep each message once and forget the oldest; return how many were new.

    `deleted`: the queue is about to delete them.
    """
    by_id = {_to_storable(each.message_id, _LONGEST_ID_BYTES): each for each in refused}
    table = quarantine
    of = table.c.connector_id == connector_id
    known = tx.all(sa.select(table.c.message_id).where(of, table.c.message_id.in_(list(by_id))))
    statement = upsert(tx.conn.dialect.name, table)
    news = statement.excluded
    changed = {name: news[name] for name in ("reason", "detail", "excerpt", "last_seen_at", "deleted")} | {
        "times": table.c.times + 1
    }
    kept = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)
    moments = {"first_seen_at": tx.now, "last_seen_at": tx.now}
    common = {"connector_id": connector_id, "deleted": deleted, "times": 1, **moments}
    tx.execute(kept, [{**_to_columns(name, each), **common} for name, each in by_id.items()])
    _forget_oldest(tx, connector_id)
    return len(by_id) - len(known)


def list_messages(tx: Tx, connector_id: str, limit: int) -> list[QuarantinedMessage]:
    """List messages of a connector, newest first."""
    found = _order_by_latest(sa.select(quarantine), connector_id).limit(limit)
    return models_of(QuarantinedMessage, tx.all(found))


def forget_messages(tx: Tx, connector_id: str) -> None:
    """Delete all messages of a connector."""
    tx.execute(sa.delete(quarantine).where(quarantine.c.connector_id == connector_id))


def _to_columns(message_id: str, refused: RefusedMessage) -> dict[str, str]:
    return {
        "message_id": message_id,
        "reason": refused.reason,
        "detail": _to_storable(refused.detail, _LONGEST_EXCERPT_BYTES),
        "excerpt": _to_storable(refused.excerpt, _LONGEST_EXCERPT_BYTES),
    }


def _to_storable(text: str, most_bytes: int) -> str:
    """Return `text` as valid Unicode, cut to `most_bytes`."""
    return text[:most_bytes].encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")


def _forget_oldest(tx: Tx, connector_id: str) -> None:
    table = quarantine
    kept = _order_by_latest(sa.select(table.c.message_id), connector_id).limit(MAX_KEPT_MESSAGES)
    tx.execute(sa.delete(table).where(table.c.connector_id == connector_id, table.c.message_id.not_in(kept)))


def _order_by_latest(query: sa.Select[Any], connector_id: str) -> sa.Select[Any]:
    table = quarantine
    return query.where(table.c.connector_id == connector_id).order_by(
        table.c.last_seen_at.desc(), table.c.message_id
    )
