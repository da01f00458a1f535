"""Reseal every secret with the newest key, so that older keys can go.

First the newest key becomes the sealing key (`store.db.sealing`), then all stored secrets are resealed, some rows per
transaction. Whenever this stops, every secret is sealed by a key of the ring, and the next run does the rest. Finally
everything is checked again: only then may an old key be thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.audit import CLI, Origin
from vvwatch.errors import StoreError
from vvwatch.store.admin import audit
from vvwatch.store.db import sealing
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.imports.imports import ATTACHMENTS
from vvwatch.store.schema import connectors, import_files, import_jobs, receipts, webhooks

_AT_ONCE: Final = 200

SEALED: Final[Mapping[str, sa.Column[Any]]] = {
    "webhooks": webhooks.c.secret,
    "connectors": connectors.c.credentials,
    "receipts": receipts.c.answer,
    "import_files": import_files.c.origin,
}
"""Every column with sealed data, by table; `import_files` has it inside a document."""

Progress = Callable[[str, int], None]
"""Called after each transaction with the table, and how many of its secrets were resealed so far."""


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many secrets of a table were checked, and how many of them were resealed."""

    table: str
    secrets: int
    resealed: int


async def reseal(database: Database, box: SecretBox, progress: Progress) -> list[Resealed]:
    """Seal everything with the newest key of `box`; afterwards no other key seals anything.

    Raises StoreError, before any change, for a secret that no key of `box` opens.
    """
    for table in SEALED:
        await _walk(database, box, table, progress, dry=True)
    await database.write(_begin, box)
    done = [await _walk(database, box, table, progress) for table in SEALED]
    for table in SEALED:
        left = await _walk(database, box, table, progress, dry=True)
        if left.resealed:
            raise StoreError(
                f"{left.resealed} secrets of {table} are still sealed by an old key",
                "run the same command again",
            )
    return done


def _begin(tx: Tx, box: SecretBox) -> None:
    mark = sealing.read_mark(tx)
    if mark is None or not box.is_newest(mark):
        sealing.replace_mark(tx, box)
        audit.record(tx, Origin(CLI), "secrets.resealed", "")


async def _walk(
    database: Database, box: SecretBox, table: str, progress: Progress, *, dry: bool = False
) -> Resealed:
    """Check or reseal all secrets of a table, page by page, in writing transactions even if it only checks.

    So it cannot miss what an earlier transaction is about to commit: see `store.db.sealing`.
    """
    seen = changed = 0
    after: str | None = ""
    while after is not None:
        found, old, after = await database.write(_page, box, table, after, dry=dry)
        seen, changed = seen + found, changed + old
        if not dry and old:
            progress(table, changed)
    return Resealed(table, seen, changed)


def _page(tx: Tx, box: SecretBox, table: str, after: str, *, dry: bool) -> tuple[int, int, str | None]:
    """Reseal a page, unless `dry`; return how many secrets it has, how many are sealed by old keys, and its end."""
    column = SEALED[table]
    rows, last = _in_origins(tx, after) if table == "import_files" else _in_column(tx, column, after)
    old = 0
    for row_id, sealed, put in rows:
        fresh = box.renewed(sealed)
        if fresh is None:
            continue
        old += 1
        if not dry:
            tx.update(column.table, row_id, **{column.name: put(fresh)})
    return len(rows), old, last


_Found = tuple[str, bytes, Callable[[bytes], Any]]
"""The id of a row, its sealed secret, and a function from the resealed secret to the column's new value."""


def _in_column(tx: Tx, column: sa.Column[Any], after: str) -> tuple[list[_Found], str | None]:
    identity = column.table.c.id
    page = tx.all(sa.select(identity, column).where(identity > after).order_by(identity).limit(_AT_ONCE))
    found: list[_Found] = [(row_id, bytes(sealed), bytes) for row_id, sealed in map(tuple, page) if sealed]
    return found, page[-1].id if len(page) == _AT_ONCE else None


def _in_origins(tx: Tx, after: str) -> tuple[list[_Found], str | None]:
    """Return the secrets of downloaded files; only their jobs have any, so other files are not read."""
    jobs = import_jobs.c.source_kind == ATTACHMENTS, import_jobs.c.id > after
    page = tx.execute(
        sa.select(import_jobs.c.id).where(*jobs).order_by(import_jobs.c.id).limit(_AT_ONCE // 10)
    )
    job_ids = page.scalars().all()
    files = sa.select(import_files.c.id, import_files.c.origin).where(import_files.c.job_id.in_(job_ids))
    found: list[_Found] = [
        (row.id, row.origin["sealed_url"].encode(), _origin(row.origin))
        for row in tx.all(files)
        if row.origin and row.origin.get("sealed_url")
    ]
    return found, job_ids[-1] if len(job_ids) == _AT_ONCE // 10 else None


def _origin(known: Mapping[str, Any]) -> Callable[[bytes], Any]:
    return lambda fresh: {**known, "sealed_url": fresh.decode()}
