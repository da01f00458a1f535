"""SQLite in WAL mode, for one node: one writer connection in one thread, and readers that cannot write.

`synchronous=FULL`: commits survive power loss. A pool of writers would meet SQLite's WAL-reset bug (3.7.0 to
3.51.2); one writer that also checkpoints, beside `mode=ro` readers, does not. `flock`, and a record where that does
not reach, keep a second process out, so no job needs a lease: whatever ran when a process died is due again at the
next start.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from sqlite3 import Connection as RawConnection
from typing import Concatenate
from urllib.parse import quote

import anyio
import anyio.to_thread
import sqlalchemy as sa
from sqlalchemy.pool import QueuePool, StaticPool

from vvwatch.core.processors import ProcessorNames
from vvwatch.errors import StoreError, StoreUnavailable
from vvwatch.ports import Clock
from vvwatch.store.db import migrations
from vvwatch.store.db.database import JobSink, P, T, Traffic, Tx, ignore_events
from vvwatch.store.db.ownership import Ownership
from vvwatch.store.db.signals import Signal
from vvwatch.store.schema import facts

_READERS = 4
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    "wal_autocheckpoint=1000",
    "journal_size_limit=67108864",
    "cache_size=-16384",
)


class SqliteDatabase:
    """The database file at `path`; open it as a context manager. Raises StoreLocked if another process owns it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.sink: JobSink | None = None
        self.works = True
        self.tell: Callable[[StoreUnavailable | None], None] = ignore_events
        self.trouble = ""
        self._refuses_writes = False
        self.traffic = Traffic()
        self.announced = Signal()
        self.processors = ProcessorNames()
        self._serial = count()
        self._ownership = Ownership(path.with_name(path.name + ".owner"), f"the database {path}")
        self._writing = anyio.CapacityLimiter(1)
        self._reading = anyio.CapacityLimiter(_READERS)
        self._writer = sa.create_engine(
            f"sqlite:///{path}",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
            hide_parameters=True,
        )
        self._reader = sa.create_engine(
            f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true",
            poolclass=QueuePool,
            pool_size=_READERS,
            hide_parameters=True,
            connect_args={"check_same_thread": False},
        )
        sa.event.listen(self._writer, "connect", _prepare_writer)
        sa.event.listen(self._writer, "begin", _begin_immediate)
        sa.event.listen(self._reader, "connect", _prepare_reader)
        sa.event.listen(self._reader, "begin", _begin_deferred)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[int]:
        """Own the file, migrate its schema, close it at the end. Yields the schema version found."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with self._ownership.held(self.path.with_name(self.path.name + ".lock")):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            try:
                yield self._migrate()
            finally:
                self._reader.dispose()
                self._writer.dispose()

    @asynccontextmanager
    async def visited(self) -> AsyncIterator[int]:
        """Open read-only beside the owner of the file, which is neither created nor changed. Yields its schema version.

        Raises StoreError if there is no database.
        """
        if not self.path.is_file():
            raise StoreError(f"there is no database {self.path}", "check the address and the state directory")
        try:
            yield await self.read(self._version)
        finally:
            self._reader.dispose()

    def _version(self, tx: Tx) -> int:
        with self._translate_open_errors():
            return migrations.read_version(tx.conn)

    def _migrate(self) -> int:
        with self._translate_open_errors(), self._writer.begin() as conn:
            return migrations.migrate(conn, self.clock.now())

    @contextmanager
    def _translate_open_errors(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DatabaseError as error:
            raise StoreError(
                f"cannot open the database {self.path}: {error.orig}",
                "check that it is a vvwatch database and that the directory is writable",
            ) from error

    async def write(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in the writer thread, in one durable transaction."""

        def work() -> tuple[T, Tx]:
            self._ownership.require()
            with self._writer.begin() as conn:
                tx = Tx(conn, self.clock.now(), self._serial, processors=self.processors)
                result = fn(tx, *args, **kwargs)
                if tx.jobs and self.sink is not None:
                    self.sink.write(tx)
                return result, tx

        with self._report_errors(writing=True):
            result, done = await anyio.to_thread.run_sync(work, limiter=self._writing)
        self.traffic.transactions += 1
        if done.jobs and self.sink is not None:
            self.sink.wake()
        if done.place is not None:
            self.announced.give()
        return result

    async def read(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in a reader thread, on a read-only snapshot."""

        def work() -> T:
            with self._reader.begin() as conn:
                return fn(Tx(conn, self.clock.now()), *args, **kwargs)

        with self._report_errors(writing=False):
            return await anyio.to_thread.run_sync(work, limiter=self._reading)

    async def check(self) -> None:
        """Run a transaction to prove that the database works. Raises StoreUnavailable."""
        await self.write(_touch)

    @contextmanager
    def _report_errors(self, *, writing: bool) -> Iterator[None]:
        """Report whether the database works. After a full disk only a write proves that: reads succeed even then."""
        try:
            yield
        except sa.exc.OperationalError as error:
            self._refuses_writes |= writing
            lost = StoreUnavailable(
                f"the database does not work: {error.orig}",
                "free space on its disk, or check the disk's health",
            )
            self.works, self.trouble = False, lost.message
            self.tell(lost)
            raise lost from error
        if not self.works and (writing or not self._refuses_writes):
            self.works, self.trouble, self._refuses_writes = True, "", False
            self.tell(None)


def _touch(tx: Tx) -> None:
    """Write without changing anything: a full disk refuses it."""
    tx.execute(sa.update(facts).values(name=facts.c.name))


def _prepare_writer(raw: RawConnection, _record: object) -> None:
    raw.isolation_level = None
    for pragma in _PRAGMAS:
        raw.execute(f"PRAGMA {pragma}")


def _prepare_reader(raw: RawConnection, _record: object) -> None:
    raw.isolation_level = None
    raw.execute("PRAGMA query_only=ON")


def _begin_immediate(conn: sa.Connection) -> None:
    conn.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_deferred(conn: sa.Connection) -> None:
    conn.exec_driver_sql("BEGIN")
