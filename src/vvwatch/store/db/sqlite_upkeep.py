"""SQLite's part of copying, keeping and checking a database."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

import sqlalchemy as sa

from vvwatch.errors import Conflict, StoreError
from vvwatch.store.db.database import Tx
from vvwatch.store.db.rows import Row

_numbers = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
_NO_HARD_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
_MOST_SHOWN: Final = 20


def in_use(tx: Tx) -> bool:  # noqa: ARG001  # as on PostgreSQL
    """Return False: a daemon locks the file."""
    return False


def append(tx: Tx, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert whole rows."""
    tx.insert_tuples(_insert(table), tuple(table.c.keys()), rows)


@cache
def _insert(table: sa.Table) -> sa.Insert:
    """Return the same statement for every batch, so that it is compiled once."""
    return sa.insert(table)


def last_number(tx: Tx, table: sa.Table) -> int:
    """Return the largest id that `table` ever generated; 0 if it generates none, or reuses the ids of deleted rows."""
    found = sa.select(_numbers.c.seq).where(_numbers.c.name == table.name)
    return int(tx.execute(found).scalar() or 0)


def go_on_after(tx: Tx, table: sa.Table, number: int) -> None:
    """Make the next id that `table` generates larger than `number` and than all existing ones."""
    if table.dialect_options["sqlite"]["autoincrement"]:
        tx.execute(sa.delete(_numbers).where(_numbers.c.name == table.name))
        tx.execute(sa.insert(_numbers).values(name=table.name, seq=number))


def damage(tx: Tx) -> list[str]:
    """Return what is wrong with the file: its pages and indexes, and references to missing rows."""
    pages = [str(row[0]) for row in tx.conn.exec_driver_sql(f"PRAGMA integrity_check({_MOST_SHOWN})")]
    references = tx.conn.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(_MOST_SHOWN)
    return [
        *(line for line in pages if line != "ok"),
        *(f"row {row[1]} of {row[0]} refers to a row of {row[2]} that does not exist" for row in references),
    ]


def back_up(path: Path, file: Path) -> int:
    """Write the current database at `path` to the new file `file`, all or nothing; return its size in bytes.

    The daemon continues meanwhile. Raises Conflict if `file` exists, StoreError if the copy fails or is damaged.
    """
    if file.exists() or file.is_symlink():
        raise _there(file)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        try:
            _written(path, draft)
            size = draft.stat().st_size
            _publish(draft, file)
        finally:
            draft.unlink(missing_ok=True)
    except (OSError, sa.exc.DatabaseError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error.orig)
        raise StoreError(
            f"cannot write the backup {file}: {reason}", "choose a writable folder with enough space"
        ) from error
    return size


def _written(path: Path, draft: Path) -> None:
    _execute(path, "VACUUM INTO ?", str(draft))
    found = [str(row[0]) for row in _execute(draft, "PRAGMA integrity_check")]
    if found != ["ok"]:
        raise StoreError(
            f"the backup would be damaged: {found[0]}", "check the database with `vvwatch db check`"
        )
    handle = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _execute(path: Path, statement: str, *values: str) -> Sequence[Row]:
    """Run one statement outside transactions, on a connection that cannot write to `path`."""
    engine = sa.create_engine(
        f"sqlite:///file:{quote(str(path.absolute()))}?mode=ro&uri=true", poolclass=sa.NullPool
    )
    raw = engine.raw_connection()
    try:
        raw.driver_connection.isolation_level = None  # type: ignore[union-attr]
        cursor = raw.cursor()
        cursor.execute(statement, values)
        return cursor.fetchall()
    except engine.dialect.loaded_dbapi.Error as error:
        raise sa.exc.DatabaseError(statement, None, error) from error
    finally:
        raw.close()


def _publish(draft: Path, file: Path) -> None:
    try:
        os.link(draft, file)
    except FileExistsError:
        raise _there(file) from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        draft.rename(file)  # FAT and some network shares; the caller checked that the file does not exist
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _there(file: Path) -> Conflict:
    return Conflict(f"{file} already exists", "choose a new name: a backup overwrites nothing")
