"""The condition of the database: its schema, its size, and its write-ahead log."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from vvwatch.store.db import migrations
from vvwatch.store.db.database import Tx

_MAIN = "SELECT file FROM pragma_database_list WHERE name = 'main'"
_PAGES = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
_ON_THE_SERVER = "SELECT pg_database_size(current_database())"


@dataclass(frozen=True, slots=True)
class Condition:
    """`wal_bytes` is the size of the write-ahead log; None if the database does not show it."""

    dialect: str
    schema: int
    size_bytes: int
    wal_bytes: int | None


def read_condition(tx: Tx) -> Condition:
    """Return the current condition of the database."""
    dialect = tx.conn.dialect.name
    is_file = dialect == "sqlite"
    size = tx.execute(sa.text(_PAGES if is_file else _ON_THE_SERVER)).scalar_one()
    wal = _wal_bytes(Path(tx.execute(sa.text(_MAIN)).scalar_one())) if is_file else None
    return Condition(dialect, migrations.read_version(tx.conn), int(size), wal)


def _wal_bytes(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.with_name(f"{file.name}-wal").stat().st_size
    return 0
