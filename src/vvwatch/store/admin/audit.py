"""The audit trail. A change and its entry commit together, so neither exists without the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.audit import BAD_KEYS, REFUSED, Entry, Origin, Refusals, bound_details
from vvwatch.core.identities import new_id
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.admin import AuditEntry
from vvwatch.store.schema import audit
from vvwatch.store.schema.catalogue import REFUSED as IS_REFUSED

PREFIX: Final = "aud"
AT_ONCE: Final = 500
"""The most rows that one transaction finds or deletes."""

_MOST_ADDRESSES: Final = 20
_RECENT_SECONDS: Final = 3600.0
_MANY: Final = 20
_LONGEST_ID: Final = 200


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows to list; None and empty fields match everything. `since` and `until` are epoch seconds.

    `action` may be a kind of resource alone: `index` matches `index.created`, `index.deleted`, …
    """

    actor: str = ""
    action: str = ""
    resource_id: str = ""
    since: float | None = None
    until: float | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on rows."""
        columns = audit.c
        equal = {columns.actor: self.actor, columns.resource_id: self.resource_id}
        found = [column == value for column, value in equal.items() if value]
        if "." in self.action:
            found.append(columns.action == self.action)
        elif self.action:
            found += [columns.action > f"{self.action}.", columns.action < f"{self.action}/"]
        if self.since is not None:
            found.append(columns.id >= new_id(PREFIX, self.since, bytes(10)))
        if self.until is not None:
            found.append(columns.id < new_id(PREFIX, self.until, bytes(10)))
        return found


def record(
    tx: Tx, origin: Origin, action: str, resource_id: str, details: Mapping[str, Any] | None = None
) -> Entry:
    """Store who made this transaction's change. `details` holds names, never secrets."""
    entry = Entry(
        tx.new_id(PREFIX), origin, action, str(resource_id)[:_LONGEST_ID], bound_details(details or {})
    )
    tx.insert(
        audit,
        id=entry.id,
        at=tx.now,
        action=action,
        resource_id=entry.resource_id,
        details=entry.details or None,
        **_columns(origin),
    )
    return entry


def _columns(origin: Origin) -> dict[str, str]:
    return {name: getattr(origin, name) for name in Origin.__slots__}


def store_refusals(tx: Tx, found: Sequence[Refusals]) -> None:
    """Store refusals, each in the row of its id, which is replaced."""
    insert = tx.upsert(audit)
    for each in found:
        values = {
            "at": each.first_at,
            "last_at": each.last_at,
            "times": each.times,
            "action": REFUSED,
            "outcome": "refused",
            "details": {"reason": each.reason.value},
            **_columns(each.origin),
        }
        statement = insert.values(id=each.id, **values)
        tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def list_newest(tx: Tx, wanted: AuditFilter, before: str | None, limit: int) -> Sequence[AuditEntry]:
    """Return the newest rows, one more than `limit` if it exists; with `before`, those older than that id."""
    conditions = wanted.conditions() + ([audit.c.id < before] if before else [])
    chosen = sa.select(audit).where(*conditions).order_by(audit.c.id.desc()).limit(limit + 1)
    return models_of(AuditEntry, tx.all(chosen))


@dataclass(frozen=True, slots=True)
class BadKeys:
    """How often invalid keys came from one address, and from when to when."""

    address: str
    times: int
    first_at: float
    last_at: float


def list_bad_keys(tx: Tx) -> list[BadKeys]:
    """Return addresses that sent invalid keys 20 times or more, and last within an hour; the busiest first."""
    since = tx.now - _RECENT_SECONDS
    columns = audit.c
    wanted = sa.select(columns.address, columns.details, columns.times, columns.at, columns.last_at)
    newest_first = wanted.where(IS_REFUSED, columns.last_at > since).order_by(columns.last_at.desc())
    found: dict[str, BadKeys] = {}
    for row in tx.all(newest_first.limit(AT_ONCE)):
        if row.details["reason"] in BAD_KEYS:
            known = found.get(row.address, BadKeys(row.address, 0, row.at, row.last_at))
            first, last = min(known.first_at, row.at), max(known.last_at, row.last_at)
            found[row.address] = BadKeys(row.address, known.times + row.times, first, last)
    many = [each for each in found.values() if each.times >= _MANY]
    return sorted(many, key=lambda each: -each.times)[:_MOST_ADDRESSES]


def list_old(tx: Tx, before: float, after: str) -> Sequence[str]:
    """Return the ids of the next rows after `after` that are older than `before`."""
    wanted = audit.c.id > after, audit.c.id < new_id(PREFIX, before, bytes(10))
    return (
        tx.execute(sa.select(audit.c.id).where(*wanted).order_by(audit.c.id).limit(AT_ONCE)).scalars().all()
    )


def delete_rows(tx: Tx, ids: Sequence[str]) -> int:
    """Delete these rows; return how many existed."""
    return tx.execute(sa.delete(audit).where(audit.c.id.in_(ids))).rowcount
