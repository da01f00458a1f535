"""From an address to a database; only the modules that it needs are imported."""

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
    """What moving and checking need of an engine beyond transactions; each is called inside of one."""

    def in_use(self, tx: Tx) -> bool:
        """Whether a daemon works on the database, as far as its lock does not tell."""
        ...

    def append(self, tx: Tx, table: sa.Table, rows: Sequence[Row]) -> None:
        """Insert whole rows, with all columns in the order of the table."""
        ...

    def last_number(self, tx: Tx, table: sa.Table) -> int:
        """The largest id that `table` ever gave by itself, as far as that is kept; else 0."""
        ...

    def go_on_after(self, tx: Tx, table: sa.Table, number: int) -> None:
        """Let the next id that `table` gives by itself be larger than `number`."""
        ...

    def damage(self, tx: Tx) -> list[str]:
        """What is wrong with the stored bytes, a sentence each."""
        ...


@dataclass(frozen=True)
class Place:
    """A database at an address. `name` shows where without a password; `file` is None for a server."""

    name: str
    file: Path | None
    database: Database
    upkeep: Upkeep


def resolve_place(url: str, state_dir: Path, clock: Clock) -> Place:
    """The database at a checked address, not opened; a relative file lies in `state_dir`.

    Raises InvalidInput when what it needs is not installed.
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
    """Around imports of what talks to PostgreSQL. Raises InvalidInput, with what to install, when one fails."""
    try:
        yield
    except ImportError as error:
        raise InvalidInput(
            f"a PostgreSQL database needs the package {error.name}", install_command("postgresql")
        ) from error


def _redact_address(url: str) -> str:
    """The address without a user and a password."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2] or ":".join(filter(None, map(options.get, ("host", "port"))))
    return f"postgresql://{host}/{parts.path.strip('/') or options.get('dbname') or options.get('database')}"
