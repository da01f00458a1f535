"""Accepting connections where file descriptors run out."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

import anyio
import pytest
from fastapi import FastAPI

from tests.clock import FakeClock
from vvwatch.api.http.broadcast import Broadcast
from vvwatch.core.connections import ConnectionLimits
from vvwatch.daemon.serving import Connections, WebServer, bind_socket
from vvwatch.telemetry import Telemetry

pytestmark = pytest.mark.anyio


class Short(socket.socket):
    """A listening socket for whose connections there is no descriptor, until `is_short` ends."""

    error = errno.EMFILE
    tries = 0
    is_short = False

    def accept(self) -> tuple[socket.socket, Any]:
        self.tries += 1
        if self.is_short:
            raise OSError(self.error, os.strerror(self.error))
        return super().accept()


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    told = await reader.read()
    writer.close()
    return told


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_a_shortage_is_waited_for_without_a_busy_loop(error: int) -> None:
    app = FastAPI()
    app.state.broadcast = Broadcast(1)
    telemetry = Telemetry("test")
    lines: list[str] = []
    telemetry.subscribe(lambda event, fields: lines.append(f"{event} {fields.get('reason')}"))
    connections = Connections(ConnectionLimits(10, 10), telemetry, FakeClock())
    listener = Short(fileno=bind_socket("127.0.0.1", 0).detach())
    listener.error = error
    web = WebServer(app, listener, None, connections)
    async with anyio.create_task_group() as tasks:
        await tasks.start(web.run)
        port = listener.getsockname()[1]
        assert (await ask(port)).startswith(b"HTTP/1.1 404")
        listener.tries, listener.is_short = 0, True
        asking = asyncio.ensure_future(ask(port))
        with anyio.fail_after(10):
            while listener.tries < 3:  # noqa: ASYNC110  # nothing tells
                await anyio.sleep(0.05)
        # The first try, and one a second: asyncio's own server makes thousands.
        assert len(lines) == listener.tries <= 4
        assert set(lines) == {"connection.refused no_descriptors"}
        listener.is_short = False
        with anyio.fail_after(10):
            assert (await asking).startswith(b"HTTP/1.1 404")
        web.stop()
        await web.ended.wait()


async def test_a_connection_that_is_over_before_it_is_accepted_is_passed_over() -> None:
    app = FastAPI()
    app.state.broadcast = Broadcast(1)
    telemetry = Telemetry("test")
    listener = Short(fileno=bind_socket("127.0.0.1", 0).detach())
    listener.error = errno.ECONNABORTED
    web = WebServer(app, listener, None, Connections(ConnectionLimits(10, 10), telemetry, FakeClock()))
    async with anyio.create_task_group() as tasks:
        await tasks.start(web.run)
        listener.is_short = True
        asyncio.get_running_loop().call_later(0.1, setattr, listener, "is_short", False)
        with anyio.fail_after(10):
            assert (await ask(listener.getsockname()[1])).startswith(b"HTTP/1.1 404")
        assert telemetry.registry.get_sample_value("vvwatch_connections_refused_total") is None
        web.stop()
        await web.ended.wait()
