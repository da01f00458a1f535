from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
import httpcore2
import pytest
from anyio.abc import SocketStream

from vvwatch.core.networks import PRIVATE, AddressPolicy
from vvwatch.senders.connections import Connections
from vvwatch.senders.guard import Guard

pytestmark = pytest.mark.anyio

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class _Host:
    """Answers every request on every connection, and keeps count of both."""

    answer: bytes = _ANSWER
    port: int = 0
    open: list[SocketStream] = field(default_factory=list)
    closed: int = 0
    requests: int = 0

    @property
    def url(self) -> httpcore2.URL:
        return httpcore2.URL(f"http://127.0.0.1:{self.port}/")

    async def serve(self, stream: SocketStream) -> None:
        self.open.append(stream)
        async with stream:
            async for received in stream:
                self.requests += received.count(b"\r\n\r\n")
                await stream.send(self.answer)
        self.closed += 1


@asynccontextmanager
async def _host(answer: bytes = _ANSWER) -> AsyncIterator[_Host]:
    host = _Host(answer)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    host.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, host.serve)
        yield host
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _connections() -> AsyncIterator[Connections]:
    connections = Connections(Guard(AddressPolicy(allow_http=True, allow_networks=PRIVATE)))
    try:
        yield connections
    finally:
        await connections.aclose()


def _answered(connections: Connections, host: _Host) -> AbstractAsyncContextManager[httpcore2.Response]:
    return connections.request("GET", host.url, [(b"Host", b"127.0.0.1")], 30)


async def _asked(connections: Connections, host: _Host) -> int:
    async with _answered(connections, host) as response:
        await response.aread()
        return response.status


async def _until(host: _Host, closed: int) -> None:
    with anyio.fail_after(10):
        while host.closed < closed:
            await anyio.lowlevel.checkpoint()


async def test_an_idle_connection_is_used_again() -> None:
    async with _host() as host, _connections() as connections:
        assert [await _asked(connections, host) for _ in range(3)] == [200, 200, 200]
        assert (len(host.open), host.requests) == (1, 3)


async def test_one_that_is_in_use_is_shared_with_nobody() -> None:
    async with (
        _host() as host,
        _connections() as connections,
        _answered(connections, host),
        _answered(connections, host),
    ):
        assert len(host.open) == 2


async def test_one_that_the_other_side_closed_is_not_used_again() -> None:
    async with _host() as host, _connections() as connections:
        await _asked(connections, host)
        await host.open[0].send_eof()
        assert await _asked(connections, host) == 200
        assert len(host.open) == 2


async def test_one_whose_answer_was_not_read_to_its_end_is_closed() -> None:
    async with (
        _host(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}") as host,
        _connections() as connections,
    ):
        async with _answered(connections, host) as response:
            assert response.status == 200
        await _until(host, closed=1)


async def test_one_whose_request_was_cancelled_is_closed() -> None:
    async with _host(b"HTTP/1.1 ") as host, _connections() as connections:
        with anyio.move_on_after(0.05) as scope:
            await _asked(connections, host)
        assert scope.cancelled_caught
        await _until(host, closed=1)


async def test_idle_connections_are_bounded_and_the_oldest_go_first() -> None:
    async with _host() as host, _connections() as connections:
        async with AsyncExitStack() as stack:
            for _ in range(40):
                response = await stack.enter_async_context(_answered(connections, host))
                await response.aread()
        await _until(host, closed=8)
        assert [await _asked(connections, host) for _ in range(3)] == [200, 200, 200]
        assert (len(host.open), host.closed) == (40, 8)


async def test_nobody_keeps_one_longer_than_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    async with _host() as early, _host() as late, _connections() as connections:
        await _asked(connections, early)
        now = 4.0
        await _asked(connections, late)
        now = 6.0
        await _asked(connections, late)
        await _until(early, closed=1)
        assert (len(late.open), late.closed) == (1, 0)


async def test_one_is_not_used_again_when_the_other_side_may_be_about_to_close_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    async with _host() as host, _connections() as connections:
        await _asked(connections, host)
        now = 4.5
        await _asked(connections, host)
        assert len(host.open) == 2


async def test_closing_leaves_none_open() -> None:
    async with _host() as host:
        async with _connections() as connections:
            await _asked(connections, host)
        await _until(host, closed=1)
