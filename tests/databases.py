"""Fresh databases on both engines. Making the tables takes longer than most tests, so that is done once."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from tests.clock import FakeClock
from tests.postgres_server import PostgresServer
from vvwatch.ports import Clock
from vvwatch.store.db.database import Database
from vvwatch.store.db.postgres import PostgresDatabase
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.schema import tables_of

DIALECTS = ("sqlite", "postgresql")
BLANK = "blank"
NAME = "tests"  # of the database on the server

Fill = Callable[[Database], Awaitable[None]]
_TABLES = [table.name for table in tables_of("postgresql")]


class Databases:
    """Makes databases in `directory` and on `server`, which is started when it is first wanted.

    A file is a copy of a template. On the server there is one database, which is emptied and filled again.
    """

    def __init__(self, directory: Path, server: Callable[[], PostgresServer]) -> None:
        self._directory = directory
        self._server = server
        self._made: set[tuple[str, str]] = set()
        self._numbers = count()

    @contextmanager
    def fresh(self, dialect: str, clock: Clock | None = None, template: str = BLANK) -> Iterator[Database]:
        """A database to be opened, as `prepare` left the template of that name."""
        if template == BLANK:
            self.prepare(dialect, BLANK, None)
        if dialect == "sqlite":
            path = self._directory / f"test_{next(self._numbers)}"
            shutil.copy(self._directory / template, path)
            yield SqliteDatabase(path, clock or FakeClock())
        else:
            self._on_server(_emptied(None if template == BLANK else template))
            yield PostgresDatabase(self.url, clock or FakeClock())

    def prepare(self, dialect: str, template: str, fill: Fill | None) -> None:
        """Make the tables, let `fill` write to them, and keep that as the template; once."""
        if (dialect, template) in self._made:
            return
        self._made.add((dialect, template))
        if dialect == "sqlite":
            _run(_filled, SqliteDatabase(self._directory / template, FakeClock()), fill)
        elif template == BLANK:
            self._server().create_database(NAME)
            _run(_filled, PostgresDatabase(self.url, FakeClock()), fill)
        else:
            self.prepare(dialect, BLANK, None)
            self._on_server(_emptied(None))
            _run(_filled, PostgresDatabase(self.url, FakeClock()), fill)
            self._on_server(_kept(template))

    @property
    def url(self) -> str:
        """The database on the server."""
        return self._server().url(NAME)

    def believed_empty(self) -> None:
        """What the planner knows of the server's tables is how large they are now, as after a night's vacuum."""
        self._on_server("VACUUM ANALYZE")

    def _on_server(self, script: str) -> None:
        self._server().run(NAME, script)


def _run(fn: Callable[..., Awaitable[None]], *args: object) -> None:
    """Run a coroutine from sync code that may itself be inside a running loop."""
    with start_blocking_portal("asyncio") as portal:
        portal.call(fn, *args)


async def _filled(database: Database, fill: Fill | None) -> None:
    async with database.opened():
        if fill is not None:
            await fill(database)


def _emptied(template: str | None) -> str:
    """Without the checks of foreign keys, so that order does not matter; no number is given twice."""
    deletes = "".join(f"DELETE FROM {name};" for name in _TABLES)
    inserts = "".join(f"INSERT INTO {name} SELECT * FROM {template}.{name};" for name in _TABLES)
    queue = "DO $$ BEGIN DELETE FROM pgqueuer; EXCEPTION WHEN undefined_table THEN END $$;"
    return f"SET session_replication_role = replica; {queue}{deletes}{inserts if template else ''}"


def _kept(template: str) -> str:
    tables = "".join(f"CREATE TABLE {template}.{name} AS SELECT * FROM {name};" for name in _TABLES)
    return f"CREATE SCHEMA {template}; {tables}"
