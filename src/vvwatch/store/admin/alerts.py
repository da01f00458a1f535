"""What receivers of alerts know, and the messages to them: stored before they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.alerts import AlertPolicy, KnownProblem, Message, Problem, look
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.admin import AlertMessage
from vvwatch.store.schema import alert_messages, alert_problems

LEASE_SECONDS: Final = 300.0
"""After that a message whose sender died is sent again."""

_KEPT_SECONDS: Final = 30 * 86_400.0
_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class Sighting:
    """The problems that are there now: shared ones (`node` is empty), or those that only this node sees."""

    node: str
    problems: Sequence[Problem]


def record(tx: Tx, receiver: str, sightings: Sequence[Sighting], policy: AlertPolicy) -> bool:
    """Compare the sightings with what the receiver knows; return whether a message followed, which is stored."""
    newest = sa.select(sa.func.max(alert_messages.c.created_at)).where(alert_messages.c.receiver == receiver)
    last_at = tx.execute(newest).scalar()
    parts: list[Message] = []
    for sighting in sightings:
        known = _list_known(tx, receiver, sighting.node)
        found = look(known, sighting.problems, tx.now, last_at, policy)
        if list(found.known) != known:
            _store_known(tx, receiver, sighting.node, found.known)
        parts.append(found.message)
    message = Message.merge(parts)
    if message.is_empty:
        return False
    add_message(tx, receiver, message)
    return True


def add_message(tx: Tx, receiver: str, message: Message) -> str:
    """Store a message that is due now; return its id."""
    identifier = tx.new_id("alr")
    body = message.to_document()
    tx.insert(alert_messages, id=identifier, receiver=receiver, body=body, next_at=tx.now, created_at=tx.now)
    return identifier


def _list_known(tx: Tx, receiver: str, node: str) -> list[KnownProblem]:
    table = alert_problems.c
    its = table.receiver == receiver, table.node == node
    rows = tx.all(sa.select(alert_problems).where(*its).order_by(table.problem))
    return [KnownProblem(Problem(**row.details), row.seen_at, row.absent_at, row.alerted_at) for row in rows]


def _store_known(tx: Tx, receiver: str, node: str, known: Iterable[KnownProblem]) -> None:
    table = alert_problems
    tx.execute(sa.delete(table).where(table.c.receiver == receiver, table.c.node == node))
    rows = [
        {
            "receiver": receiver,
            "node": node,
            "problem": each.problem.key,
            "details": asdict(each.problem),
            "seen_at": each.seen_at,
            "absent_at": each.absent_at,
            "alerted_at": each.alerted_at,
        }
        for each in known
    ]
    if rows:
        tx.execute(sa.insert(table), rows)


def has_any(tx: Tx) -> bool:
    """Return whether any receiver knows a problem or got a message."""
    tables = alert_problems, alert_messages
    return any(tx.first(sa.select(table.c.receiver).limit(1)) is not None for table in tables)


def forget_others(tx: Tx, receivers: Sequence[str], *, shared: bool = False) -> None:
    """Forget what other receivers know, with their messages, and all messages that ended a month ago.

    Where the database is `shared` others may belong to another node: they are forgotten when nothing has happened to
    them for a month.
    """
    old = tx.now - _KEPT_SECONDS
    known, messages = alert_problems.c, alert_messages.c
    lasts = [sa.func.coalesce(moment, known.seen_at) >= old for moment in (known.absent_at, known.alerted_at)]
    unknown: list[sa.ColumnElement[bool]] = [known.receiver.not_in(receivers)]
    unsent: list[sa.ColumnElement[bool]] = [messages.receiver.not_in(receivers)]
    if shared:
        unknown += [known.seen_at < old, sa.not_(sa.or_(*lasts))]
        unsent += [messages.created_at < old]
    tx.execute(sa.delete(alert_problems).where(*unknown))
    tx.execute(sa.delete(alert_messages).where(sa.or_(sa.and_(*unsent), messages.completed_at < old)))


def begin(tx: Tx, receivers: Iterable[str]) -> list[AlertMessage]:
    """Return the messages to them that are due, as under way: another sender takes them after LEASE_SECONDS."""
    table = alert_messages
    due = _select_due(tx, receivers).order_by(table.c.id).limit(_AT_ONCE)
    taken = sa.update(table).where(table.c.id.in_(due), table.c.next_at <= tx.now)
    values = {"attempts": table.c.attempts + 1, "next_at": tx.now + LEASE_SECONDS}
    rows = tx.execute(taken.values(values).returning(*table.c)).all()
    return sorted(models_of(AlertMessage, rows), key=lambda each: each.id)


def has_due(tx: Tx, receivers: Iterable[str]) -> bool:
    """Return whether a message to one of them is due."""
    return tx.first(_select_due(tx, receivers).limit(1)) is not None


def _select_due(tx: Tx, receivers: Iterable[str]) -> sa.Select[Any]:
    table = alert_messages.c
    return sa.select(table.id).where(table.next_at <= tx.now, table.receiver.in_(list(receivers)))


def finish(tx: Tx, message: AlertMessage, error: str | None, retry_after: float | None) -> str:
    """Record the result of the attempt; return what became of it: `sent`, `retried` later, or `failed`."""
    status = "sent" if error is None else "failed" if retry_after is None else "pending"
    values: dict[str, Any] = {
        "status": status,
        "error": error,
        "next_at": tx.now + (retry_after or 0.0) if status == "pending" else None,
        "completed_at": None if status == "pending" else tx.now,
    }
    same = alert_messages.c.id == message.id, alert_messages.c.attempts == message.attempts
    tx.execute(sa.update(alert_messages).where(*same).values(values))
    return "retried" if status == "pending" else status


def list_newest(tx: Tx, receivers: Iterable[str]) -> dict[str, AlertMessage]:
    """Return the newest message to each receiver that got one."""
    table = alert_messages
    newest = sa.select(sa.func.max(table.c.id)).where(table.c.receiver.in_(list(receivers)))
    chosen = sa.select(table).where(table.c.id.in_(newest.group_by(table.c.receiver)))
    return {each.receiver: each for each in models_of(AlertMessage, tx.all(chosen))}
