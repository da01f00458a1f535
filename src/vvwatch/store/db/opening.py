"""Open a database by its address; only the modules it needs are imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlsplit

import sqlalchemy as sa

from vvwatch.config.databases import database_file, is_server
from vvwatch.errors import InvalidInput
from vvwatch.extras import install_command
from vvwatch.ports import Clock
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.rows import Row

_SESSION_NAME: Final = "vvwatch db"


class Upkeep(Protocol):
    """What copying and checking need of a database engine beyond transactions; each call runs inside one."""

    def in_use(self, tx: Tx) -> bool:
        """Return whether a daemon uses the database, if its lock does not show that."""
        ...

    def append(self, tx: Tx, table: sa.Table, rows: Sequence[Row]) -> None:
        """Insert whole rows, with all columns in the order of the table."""
        ...

    def last_number(self, tx: Tx, table: sa.Table) -> int:
        """Return the largest id that `table` ever generated, as far as that is stored; else 0."""
        ...

    def go_on_after(self, tx: Tx, table: sa.Table, number: int) -> None:
        """Make the next id that `table` generates larger than `number`."""
        ...

    def damage(self, tx: Tx) -> list[str]:
        """Return what is wrong with the stored bytes, one sentence each."""
        ...


@dataclass(frozen=True)
class Place:
    """A database at an address. `name` shows it without a password; `file` is None for a server."""

    name: str
    file: Path | None
    database: Database
    upkeep: Upkeep


def resolve_place(url: str, state_dir: Path, clock: Clock) -> Place:
    """Return the database at a checked address, not opened; a relative file is in `state_dir`.

    Raises InvalidInput if a package it needs is not installed.
    """
    if is_server(url):
        with require_postgresql():
            from vvwatch.store.db import postgres_upkeep  # noqa: PLC0415  # only what is asked for
            from vvwatch.store.db.postgres import PostgresDatabase  # noqa: PLC0415
        return Place(_redact_address(url), None, PostgresDatabase(url, clock, _SESSION_NAME), postgres_upkeep)
    from vvwatch.store.db import sqlite_upkeep  # noqa: PLC0415
    from vvwatch.store.db.sqlite import SqliteDatabase  # noqa: PLC0415

    file = database_file(url, state_dir)
    return Place(str(file), file, SqliteDatabase(file, clock), sqlite_upkeep)


@contextmanager
def require_postgresql() -> Iterator[None]:
    """Guard imports of PostgreSQL modules. Raises InvalidInput, with the package to install, if one fails."""
    try:
        yield
    except ImportError as error:
        raise InvalidInput(
            f"a PostgreSQL database needs the package {error.name}", install_command("postgresql")
        ) from error


def _redact_address(url: str) -> str:
    """Return the address without user and password."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2] or ":".join(filter(None, map(options.get, ("host", "port"))))
    return f"postgresql://{host}/{parts.path.strip('/') or options.get('dbname') or options.get('database')}"
