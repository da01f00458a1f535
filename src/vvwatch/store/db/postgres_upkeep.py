"""PostgreSQL's part of copying, keeping and checking a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.util import await_only

from vvwatch.store.db.database import Tx
from vvwatch.store.db.postgres import DAEMON
from vvwatch.store.db.rows import Row

_SESSIONS: Final = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name"
)


def in_use(tx: Tx) -> bool:
    """Return whether a daemon is connected: each keeps a session as long as it runs."""
    return bool(tx.execute(_SESSIONS, {"name": DAEMON}).scalar_one())


def append(tx: Tx, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert whole rows by COPY. The transaction has begun: another statement ran before."""
    raw = tx.conn.connection.driver_connection
    assert raw is not None  # noqa: S101  # a transaction has a connection
    await_only(raw.copy_records_to_table(table.name, records=rows, columns=table.c.keys()))


def last_number(tx: Tx, table: sa.Table) -> int:
    """Return the largest id that `table` ever generated; 0 if it generates none."""
    name = _sequence(tx, table)
    if name is None:
        return 0
    row = tx.execute(sa.text(f"SELECT last_value, is_called FROM {name}")).one()  # noqa: S608  # the server's own
    return int(row.last_value) if row.is_called else 0


def go_on_after(tx: Tx, table: sa.Table, number: int) -> None:
    """Make the next id that `table` generates larger than `number` and than all existing ones."""
    name = _sequence(tx, table)
    if name is not None and number > 0:
        tx.execute(sa.select(sa.func.setval(sa.cast(name, sa.Text), number)))


def damage(tx: Tx) -> list[str]:  # noqa: ARG001  # as on SQLite
    """Return nothing: the server checks its files and references itself."""
    return []


def _sequence(tx: Tx, table: sa.Table) -> str | None:
    """Return the quoted name of the sequence behind the table's ids."""
    column = table.autoincrement_column
    if column is None:
        return None
    found = tx.execute(sa.select(sa.func.pg_get_serial_sequence(table.name, column.name))).scalar()
    return None if found is None else str(found)
