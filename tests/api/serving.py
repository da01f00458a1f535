"""The application behind a real server on loopback, for what a transport in memory cannot show."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2

from tests.api.asking import ADMIN_KEY
from vvwatch.api.app import create_app
from vvwatch.api.http.context import ApiContext
from vvwatch.clock import SystemClock
from vvwatch.core.connections import ConnectionLimits
from vvwatch.daemon.serving import Connections, WebServer, bind_socket, server_address

PATH = "/api/v2/processing/events/stream"


@dataclass
class Server:
    """`url` is where it listens; `stop` is what the daemon does at its end."""

    url: str
    web: WebServer
    app: Any


@asynccontextmanager
async def served(context: ApiContext, trusted_proxies: Sequence[str] = ()) -> AsyncIterator[Server]:
    """A server of its own for this context, which ends with the block."""
    app = create_app(context)
    listener = bind_socket("127.0.0.1", 0)
    limits = ConnectionLimits(total=1000, per_network=200)
    connections = Connections(limits, context.telemetry, SystemClock())
    web = WebServer(app, listener, None, connections, trusted_proxies)
    async with anyio.create_task_group() as tasks:
        await tasks.start(web.run)
        yield Server(server_address(listener, None), web, app)
        web.stop()
        with anyio.fail_after(10):
            await web.ended.wait()


@dataclass
class Message:
    """One server-sent event, as a browser reads it."""

    event: str = "message"
    id: str | None = None
    data: str = ""
    comment: bool = False


@dataclass
class Listener:
    """Reads a stream; `last_id` is what it would send as Last-Event-ID."""

    response: httpx2.Response
    last_id: str = ""
    _lines: AsyncIterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = self.response.aiter_lines()

    async def next(self) -> Message:
        """The next block of lines."""
        message = Message()
        async for line in self._lines:
            if not line:
                self.last_id = message.id or self.last_id
                return message
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                message.data += value
            elif name in {"id", "event"}:
                setattr(message, name, value)
            elif not name:
                message.comment = True
        raise EOFError

    async def next_data(self) -> Message:
        """The next block that a browser would hand on."""
        while not (message := await self.next()).data:
            pass
        return message

    async def ends(self) -> bool:
        """Read to the end; True when it comes in time."""
        with anyio.fail_after(5), suppress(EOFError):
            while True:
                await self.next()
        return True


@asynccontextmanager
async def listening(
    url: str, last_id: str = "", key: str = ADMIN_KEY, **params: Any
) -> AsyncIterator[Listener]:
    """A client of the stream."""
    headers = {"X-API-Key": key, "Accept": "text/event-stream"} | (
        {"Last-Event-ID": last_id} if last_id else {}
    )
    async with (
        httpx2.AsyncClient(base_url=url, timeout=10) as client,
        client.stream("GET", PATH, headers=headers, params=params) as response,
    ):
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Listener(response, last_id)
