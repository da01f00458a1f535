"""PgQueuer's driver, which waits for an unavailable server instead of failing.

PgQueuer's statements may run twice: a claim whose answer was lost is taken over like that of a dead node, and an
acknowledgement of a deleted job changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Self, TypeVar

import anyio
import asyncpg
from pgqueuer.core.tm import TaskManager
from pgqueuer.ports.driver import Driver, NotifyCallback

from vvwatch.errors import StoreUnavailable
from vvwatch.store.db.postgres import connect, describe_error, is_away

_T = TypeVar("_T")
_CONNECTIONS: Final = 4
_AGAIN_SECONDS: Final = 1.0
_PROBE_SECONDS: Final = 10.0


class PatientDriver(Driver):
    """Connects to the server at `url`; calls `report` once when it goes away, and `came` when jobs were queued."""

    def __init__(self, url: str, report: Callable[[StoreUnavailable], None]) -> None:
        self.came: Callable[[], None] = lambda: None
        self._report = report
        self._shutdown = asyncio.Event()
        self._tasks = TaskManager()
        self._url = url
        self._pool: asyncpg.Pool | None = None
        self._listening: set[asyncio.Task[None]] = set()
        self._away = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave everything open: PgQueuer sends its last acknowledgements after it leaves its driver."""

    async def close(self) -> None:
        """Close every connection."""
        self._shutdown.set()
        if self._pool is not None:
            self._pool.terminate()
        for task in self._listening:
            task.cancel()
        if self._listening:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(self._listening)

    @property
    def shutdown(self) -> asyncio.Event:
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        return self._tasks

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return [dict(row) for row in await self._steadily(lambda pool: pool.fetch(query, *args))]

    async def execute(self, query: str, *args: object) -> str:
        return str(await self._steadily(lambda pool: pool.execute(query, *args)))

    async def notify(self, channel: str, payload: str) -> None:
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Listen on `channel` for the life of the driver; notifications sent while the server is away are lost."""

        def hear(_connection: object, _pid: object, _channel: object, payload: object) -> None:
            callback(str(payload))
            if '"insert"' in str(payload):
                self.came()

        self._listening.add(asyncio.create_task(self._listen(channel, hear)))

    async def _listen(self, channel: str, hear: Callable[..., None]) -> None:
        while True:
            connection = None
            try:
                connection = await connect(self._url)
                await connection.add_listener(channel, hear)
                while True:
                    await asyncio.sleep(_PROBE_SECONDS)
                    await connection.fetchval("SELECT 1")
            except Exception as error:  # noqa: BLE001  # a dead line is laid anew, whatever cut it
                self._tell(error)
            finally:
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _steadily(self, call: Callable[[asyncpg.Pool], Awaitable[_T]]) -> _T:
        """Return the server's answer, however long it is away; give up only after shutdown."""
        while True:
            try:
                answer = await call(await self._opened())
            except Exception as error:
                if not is_away(error) or self._shutdown.is_set():
                    raise
                self._tell(error)
            else:
                self._away = False
                return answer
            with suppress(TimeoutError):
                await asyncio.wait_for(self._shutdown.wait(), _AGAIN_SECONDS)

    async def _opened(self) -> asyncpg.Pool:
        """Return the pool, and connect it if necessary."""
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                min_size=0,
                max_size=_CONNECTIONS,
                connect=lambda *_, **__: _hasty(self._url),
                reset=_left_as_it_is,
            )
        return await self._pool

    def _tell(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            self._report(StoreUnavailable(f"the database does not work: {describe_error(error)}"))


async def _hasty(url: str) -> asyncpg.Connection:
    """Open a connection that waits for no disk and plans a statement once.

    A claim that a server crash loses is made again: it is durable no later than what its handler commits. The plan
    must not be one for the empty table that the queue is at first.
    """
    connection = await connect(url)
    await connection.execute(
        "SET synchronous_commit = off; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off"
    )
    return connection


async def _left_as_it_is(connection: asyncpg.Connection) -> None:
    """Skip the reset between statements: PgQueuer leaves nothing to undo, and it would take as long as a statement."""
