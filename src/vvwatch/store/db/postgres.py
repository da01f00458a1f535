"""PostgreSQL, for several nodes. Transactions are SERIALIZABLE, so a function means the same as with one writer.

A transaction that loses a race runs again; one that may have been committed does not. Transactions that run for
every object are ordered by row locks instead (`by_locks`) and wait for each other.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Concatenate, Final

import anyio
import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from vvwatch.core.processors import ProcessorNames
from vvwatch.errors import StoreError, StoreUnavailable
from vvwatch.ports import Clock
from vvwatch.store.db import migrations
from vvwatch.store.db.database import JobSink, P, T, Traffic, Tx, ignore_events
from vvwatch.store.db.locking import Overtaken, is_by_locks
from vvwatch.store.db.signals import Signal

DAEMON: Final = "vvwatch"
"""The application name of a daemon's sessions."""

_CONNECTIONS: Final = 10
_CONNECT_SECONDS: Final = 10.0
_COMMAND_SECONDS: Final = 60.0
_CHECK_SECONDS: Final = 5.0
_MOST_RACES: Final = 40
_FIRST_PAUSE_SECONDS: Final = 0.002
_LONGEST_PAUSE_SECONDS: Final = 1.0
_DUPLICATE_SECONDS: Final = 0.05  # another transaction inserted the same row; now it exists
_SETUP_LOCK: Final = 7_662_841_001  # advisory lock: one node at a time migrates the schema

# A frozen process must not keep its rows locked.
_SERVER_SETTINGS: Final = {
    "idle_in_transaction_session_timeout": "15s",
    "lock_timeout": "30s",
    "jit": "off",
    # A sequential scan conflicts with every writer to the table, and the planner prefers one if it believes the
    # table to be as empty as it was at its last look.
    "enable_seqscan": "off",
    "timezone": "UTC",
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_LOST_RACE: Final = ("40001", "40P01")
_DUPLICATE: Final = "23505"
_LOCK_TIMEOUT: Final = "55P03"
_AWAY: Final = ("08", "25006", "25P03", "28", "3D", "53", "55P03", "57", "58", "XX")
_BUSY_HINT: Final = (
    "nothing is lost, and the work is tried again automatically; if this persists, look at "
    "vvwatch_database_reruns_total, run fewer nodes, or give the server more processors or a faster disk"
)
_HINT: Final = (
    "look whether the server runs, takes connections with these credentials and has room on its disk"
)


class PostgresDatabase:
    """The database at `url` (postgresql://user@host/name); open it as an async context manager.

    The server lists its sessions under `name`.
    """

    def __init__(self, url: str, clock: Clock, name: str = DAEMON) -> None:
        self.clock = clock
        self.sink: JobSink | None = None
        self.works = True
        self.trouble = ""
        self.tell: Callable[[StoreUnavailable | None], None] = ignore_events
        self.traffic = Traffic()
        self.announced = Signal()
        self.processors = ProcessorNames()
        self._serial = count()
        self._engine = _engine(url, name)
        self._writer = self._engine.execution_options(isolation_level="SERIALIZABLE")
        self._locker = self._engine.execution_options(isolation_level="READ COMMITTED")
        self._reader = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[int]:
        """Migrate the schema; close every connection at the end. Yields the schema version found.

        Raises StoreUnavailable if the connection fails, SchemaTooNew if a newer version wrote it.
        """
        try:
            found = await self._migrate()
            await self.check()
            yield found
        finally:
            await self._engine.dispose()

    @asynccontextmanager
    async def visited(self) -> AsyncIterator[int]:
        """Open read-only beside a running daemon; nothing is created or changed. Yields the schema version found.

        Raises StoreUnavailable if the connection fails.
        """
        try:
            yield await self.read(_version)
        finally:
            await self._engine.dispose()

    async def _migrate(self) -> int:
        try:
            async with self._engine.begin() as conn:
                await conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_SETUP_LOCK)))
                return await conn.run_sync(migrations.migrate, self.clock.now())
        except Exception as error:
            raise self._translate_error(error) from error

    async def write(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in one durable transaction, serializable or `by_locks`; run it again after a conflict."""

        def work(conn: sa.Connection) -> tuple[T, Tx]:
            tx = Tx(conn, self.clock.now(), self._serial, processors=self.processors)
            result = fn(tx, *args, **kwargs)
            if tx.jobs and self.sink is not None:
                self.sink.write(tx)
            return result, tx

        result, done = await self._try_transaction(self._locker if is_by_locks(fn) else self._writer, work)
        self.traffic.transactions += 1
        if done.place is not None:
            self.announced.give()
        return result

    async def read(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` on a read-only snapshot."""
        return await self._try_transaction(
            self._reader, lambda conn: fn(Tx(conn, self.clock.now()), *args, **kwargs)
        )

    async def check(self) -> None:
        """Prove that a transaction succeeds, and set the clock to the server's. Raises StoreUnavailable.

        A silent connection is as bad as a broken one, so the check does not wait for it.
        """
        try:
            with anyio.fail_after(_CHECK_SECONDS):
                now = await self.write(_moment)
        except TimeoutError as error:
            silence = TimeoutError(f"no answer within {_CHECK_SECONDS:g} s")
            raise self._translate_error(silence) from error
        if isinstance(self.clock, DatabaseClock):
            self.clock.set(now)

    async def _try_transaction(self, engine: AsyncEngine, work: Callable[[sa.Connection], T]) -> T:
        for pause_seconds in _pauses():
            worked = False
            try:
                async with engine.begin() as conn:
                    result = await conn.run_sync(work)
                    worked = True
            except Exception as error:
                if not _may_run_again(error, committing=worked, paused_seconds=pause_seconds):
                    raise self._translate_error(error) from error
            else:
                self._came_back()
                return result
            self.traffic.reruns += 1
            await anyio.sleep(pause_seconds * random.random())  # noqa: S311  # so that rivals part
        raise _busy(f"a transaction met others at its rows {_MOST_RACES} times in a row")

    def _translate_error(self, error: Exception) -> Exception:
        """Return `error` as one of ours if the database caused it, else unchanged."""
        if sqlstate(error) == _LOCK_TIMEOUT:
            return _busy(f"a transaction waited {_SERVER_SETTINGS['lock_timeout']} for rows that others hold")
        if not is_away(error):
            return error
        lost = StoreUnavailable(f"the database does not work: {describe_error(error)}", _HINT)
        self.lost(lost)
        return lost

    def lost(self, error: StoreUnavailable) -> None:
        """Report that the server does not work."""
        self.works, self.trouble = False, error.message
        self.tell(error)

    def _came_back(self) -> None:
        if not self.works:
            self.works, self.trouble = True, ""
            self.tell(None)


class DatabaseClock:
    """The server's time, so that nodes agree and a node with a wrong clock does nothing early or late.

    Between calls of `set` it advances with the node's monotonic clock.
    """

    def __init__(self, own: Clock) -> None:
        self._own = own
        self._ahead = own.now() - own.monotonic()

    def now(self) -> float:
        """Epoch seconds, UTC."""
        return self._own.monotonic() + self._ahead

    def monotonic(self) -> float:
        """Seconds of this node from an arbitrary start."""
        return self._own.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await self._own.sleep(seconds)

    def set(self, now: float) -> None:
        """Set the clock to the server's `now`."""
        self._ahead = now - self._own.monotonic()


def _engine(url: str, name: str) -> AsyncEngine:
    async def open_connection() -> asyncpg.Connection:
        return await connect(url, name)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=open_connection,
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_COMMAND_SECONDS,
        hide_parameters=True,
    )


async def connect(url: str, name: str = DAEMON) -> asyncpg.Connection:
    """Open a connection. Raises errors that `is_away` recognizes if it fails, StoreError for a wrong `url`."""
    settings = {**_SERVER_SETTINGS, "application_name": name}
    try:
        return await asyncpg.connect(
            url, timeout=_CONNECT_SECONDS, command_timeout=_COMMAND_SECONDS, server_settings=settings
        )
    except asyncpg.exceptions.ClientConfigurationError as error:
        said = f"the address of the database cannot be used: {describe_error(error)}"
        raise StoreError(said, "see database_url") from error


def _version(tx: Tx) -> int:
    return migrations.read_version(tx.conn)


def _busy(why: str) -> StoreUnavailable:
    """Return the error for a server that works but has too many conflicting transactions."""
    return StoreUnavailable(f"the database is too busy just now: {why}", _BUSY_HINT)


def _moment(tx: Tx) -> float:
    """Return the server's time from a transaction that it must write to disk."""
    epoch = sa.extract("epoch", sa.func.clock_timestamp())
    return float(tx.execute(sa.select(epoch, sa.func.pg_current_xact_id())).scalar_one())


def _pauses() -> Iterator[float]:
    """Yield the longest pause after each attempt; the first is tiny and marks the first."""
    return (min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**races) for races in range(_MOST_RACES))


def _may_run_again(error: Exception, *, committing: bool, paused_seconds: float) -> bool:
    """Return whether the transaction surely had no effect and another attempt may succeed."""
    if isinstance(error, Overtaken) or sqlstate(error) in _LOST_RACE:
        return True
    if sqlstate(error) == _DUPLICATE:
        return paused_seconds <= _DUPLICATE_SECONDS
    return paused_seconds <= _FIRST_PAUSE_SECONDS and is_away(error) and not committing


def sqlstate(error: BaseException | None) -> str:
    """Return the server's SQLSTATE, or an empty text."""
    while error is not None:
        found = getattr(error, "sqlstate", None)
        if found:
            return str(found)
        error = getattr(error, "orig", None) or error.__cause__
    return ""


def is_away(error: BaseException) -> bool:
    """Return whether the server is unreachable, in trouble, or rejects us."""
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)  # a value that cannot be sent is our bug
    if isinstance(error, OSError | TimeoutError | sa.exc.TimeoutError):
        return True
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        return True
    return sqlstate(error).startswith(_AWAY) or isinstance(
        getattr(error, "orig", None) and error.__cause__, OSError
    )


def describe_error(error: BaseException) -> str:
    """Return the message of the server or the network on one line, without statements and parameters."""
    cause = getattr(error, "orig", None) or error
    return str(cause).partition("\n")[0] or type(cause).__name__
