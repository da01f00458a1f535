"""Broadcast events to all streams: one reader serves them all and keeps the newest events in memory.

Idle streams cost only their heartbeats. The reader polls when a transaction of this process announces an event, and
once a second for events of other replicas; it sleeps while nobody listens.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import anyio

from vvwatch.api.http.errors import ApiError
from vvwatch.store.db.database import Database
from vvwatch.store.db.signals import Signal
from vvwatch.store.delivery import feed
from vvwatch.store.delivery.feed import FIRST, Position, Tail, position_of
from vvwatch.store.models.delivery import Event

_POLL_SECONDS: Final = 1.0
_FAST_POLL_SECONDS: Final = 0.2  # while a running transaction holds events back
_IDLE_SECONDS: Final = 0.02  # read a burst in few polls
_MAX_REMEMBERED: Final = 500


class Broadcast:
    """The state shared by all streams of one server; one API key may open `most_per_key` of them."""

    def __init__(self, most_per_key: int) -> None:
        self._most_per_key = most_per_key
        self._listeners = Counter[str]()
        self._reader: asyncio.Task[None] | None = None
        self._recent: deque[Event] = deque(maxlen=_MAX_REMEMBERED)
        self._since: Position | None = None  # `_recent` holds all events after it; None: not known yet
        self._moved = Signal()
        self.closed = False

    def close(self) -> None:
        """End all streams, including later ones."""
        self.closed = True
        self._moved.give()

    @contextmanager
    def register_listener(self, database: Database, key_id: str) -> Iterator[None]:
        """Register a listener for this API key. Raises ApiError (429) if the key has no stream left."""
        if self._listeners[key_id] >= self._most_per_key:
            raise ApiError(
                429,
                "too_many_streams",
                f"this API key has {self._most_per_key:,} event streams open, which is its limit",
                "close streams that nobody reads, or raise the server's [api] max_streams_per_key",
            )
        self._listeners[key_id] += 1
        if self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._read(database))
        try:
            yield
        finally:
            self._listeners[key_id] -= 1
            if not self._listeners[key_id]:
                del self._listeners[key_id]
            if not self._listeners:
                self._reader.cancel()
                self._forget()

    async def following(self, database: Database, after: Position, limit: int) -> Sequence[Event]:
        """Return the next events after `after`, at most `limit`."""
        if self._since is None or after < self._since:
            return await database.read(feed.list_after, after, limit)
        return [row for row in self._recent if position_of(row) > after][:limit]

    async def news(self, after: Position, seconds: float) -> bool:
        """Wait for events after `after` and return True; return earlier when the server stops or the time is up."""
        with anyio.move_on_after(seconds):
            while not self.closed and self._newest() <= after:
                await self._moved.wait(self._moved.times)
        return self._newest() > after

    def _forget(self) -> None:
        self._reader, self._since, self._moved = None, None, Signal()
        self._recent.clear()

    def _newest(self) -> Position:
        return position_of(self._recent[-1]) if self._recent else (self._since or FIRST)

    async def _read(self, database: Database) -> None:
        """Read new events until this task is cancelled."""
        while True:
            seen, tail = database.announced.times, None
            with suppress(Exception):  # try again in any case; the streams see the error themselves
                tail = await self._look(database)
            await anyio.sleep(_IDLE_SECONDS)
            with anyio.move_on_after(_POLL_SECONDS if tail is None or tail.whole else _FAST_POLL_SECONDS):
                await database.announced.wait(seen)

    async def _look(self, database: Database) -> Tail:
        tail = await database.read(feed.get_tail)
        if self._since is None:
            self._since = tail.position
            self._moved.give()
        while rows := await database.read(feed.list_after, self._newest(), _MAX_REMEMBERED):
            for row in rows:
                if len(self._recent) == _MAX_REMEMBERED:
                    self._since = position_of(self._recent[0])
                self._recent.append(row)
            self._moved.give()
        return tail
