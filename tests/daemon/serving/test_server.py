"""The contract of the server with clients that are slow, silent or hostile, by plain HTTP and by TLS."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from tests.clock import FakeClock
from tests.tls import Tls as Certificate
from tests.tls import certificate
from vvwatch.api.http.broadcast import Broadcast
from vvwatch.core.connections import ConnectionLimits, Timeouts
from vvwatch.daemon.serving import Connections, Tls, WebServer, bind_socket
from vvwatch.telemetry import Telemetry

pytestmark = pytest.mark.anyio

REQUEST = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE_BYTES = 64 << 20


@dataclass
class Server:
    port: int
    clock: FakeClock
    connections: Connections
    telemetry: Telemetry
    tls: Certificate | None
    bodies: list[str] = field(default_factory=list)
    waiting: int = 0
    gate: anyio.Event = field(default_factory=anyio.Event)
    opened: list[asyncio.StreamWriter | socket.socket] = field(default_factory=list)

    async def connect(self) -> Client:
        """A client whose TLS handshake, where there is one, is over."""
        context = None if self.tls is None else self.tls.context
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        self.opened.append(writer)
        return Client(reader, writer)

    async def bare(self) -> socket.socket:
        """A connection that says nothing, not even a TLS handshake."""
        client = socket.socket()
        self.opened.append(client)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        return client

    def closed(self, reason: str) -> float:
        name = "vvwatch_connections_closed_total"
        return self.telemetry.registry.get_sample_value(name, {"reason": reason}) or 0


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """All that still comes, until the server closes; what it broke off is an empty rest."""
        with anyio.fail_after(10):
            try:
                return await self.reader.read()
            except (ConnectionError, ssl.SSLError):
                return b""

    async def answer(self) -> bytes:
        """One answer of `/ok`."""
        with anyio.fail_after(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            return head + await self.reader.readexactly(4)


def application(server: Callable[[], Server]) -> FastAPI:
    app = FastAPI()
    app.state.broadcast = Broadcast(1)
    answering(app, server)
    reading(app, server)
    return app


def answering(app: FastAPI, server: Callable[[], Server]) -> None:
    @app.get("/ok")
    async def ok() -> Any:
        return None

    @app.get("/waits")
    async def waits() -> Any:
        server().waiting += 1
        await server().gate.wait()

    @app.get("/large")
    async def large() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(LARGE_BYTES >> 18):
                yield bytes(1 << 18)

        return StreamingResponse(chunks())


def reading(app: FastAPI, server: Callable[[], Server]) -> None:
    @app.post("/body")
    async def body(request: Request) -> Any:
        try:
            async for chunk in request.stream():
                server().bodies.append(chunk.decode())
        except Exception as error:
            server().bodies.append(type(error).__name__)
            raise

    @app.post("/unread")
    async def unread() -> Any:
        return None


@asynccontextmanager
async def serving(tls: Certificate | None, total: int = 100, **times: float) -> AsyncIterator[Server]:
    clock, telemetry = FakeClock(), Telemetry("test")
    connections = Connections(ConnectionLimits(total, 50), telemetry, clock, Timeouts(**times))
    listener = bind_socket("127.0.0.1", 0)
    server = Server(listener.getsockname()[1], clock, connections, telemetry, tls)
    files = None if tls is None else Tls(tls.certificate, tls.key)
    web = WebServer(application(lambda: server), listener, files, connections)
    async with anyio.create_task_group() as tasks:
        await tasks.start(web.run)
        yield server
        server.gate.set()
        for each in server.opened:
            each.close()
        web.stop()
        with anyio.fail_after(10):
            await web.ended.wait()


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, tmp_path: Path) -> Certificate | None:
    return certificate(tmp_path) if request.param == "tls" else None


@pytest.fixture
async def server(tls: Certificate | None) -> AsyncIterator[Server]:
    async with serving(tls) as found:
        yield found


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # nothing tells
            await anyio.sleep(0.01)


async def late(server: Server, reason: str) -> float:
    """Let time pass until a connection is ended for this reason; returns how many seconds that took at most."""
    began = server.clock.monotonic()
    with anyio.fail_after(20):
        while not server.closed(reason):
            server.clock.advance(1)
            await anyio.sleep(0.05)
    return server.clock.monotonic() - began


async def test_a_silent_connection_is_closed(server: Server) -> None:
    silent = await server.bare()
    await until(lambda: len(server.connections) == 1)
    server.clock.advance(9)
    prompt = await server.connect()
    await prompt.send(REQUEST)
    assert (await prompt.answer()).startswith(b"HTTP/1.1 200")
    server.clock.advance(2)
    with anyio.fail_after(10):
        assert await asyncio.get_running_loop().sock_recv(silent, 100) == b""
    silent.close()
    assert server.closed("head_late") == 1
    await prompt.send(REQUEST)
    assert (await prompt.answer()).startswith(b"HTTP/1.1 200")


async def test_a_head_that_comes_byte_by_byte_is_answered_with_408(server: Server) -> None:
    client = await server.connect()
    await until(lambda: len(server.connections) == 1)
    for byte in b"GET /":
        await client.send(bytes([byte]))
        server.clock.advance(2.1)
    told = await client.rest()
    assert told.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    error = json.loads(told.partition(b"\r\n\r\n")[2])["error"]
    assert error["code"] == "request_timeout"
    assert error["details"]["hint"]
    assert server.closed("head_late") == 1


async def test_the_next_head_has_its_time_from_its_first_byte(server: Server) -> None:
    client = await server.connect()
    await client.send(REQUEST)
    await client.answer()
    server.clock.advance(60)
    await client.send(REQUEST[:10])
    server.clock.advance(9)
    await client.send(REQUEST[10:])
    assert (await client.answer()).startswith(b"HTTP/1.1 200")
    await client.send(REQUEST[:10])
    assert 10 <= await late(server, "head_late") < 20
    assert (await client.rest()).startswith(b"HTTP/1.1 408")


async def test_a_connection_that_stays_idle_is_closed(tls: Certificate | None) -> None:
    async with serving(tls, idle_seconds=1) as server:
        client = await server.connect()
        await client.send(REQUEST)
        await client.answer()
        assert await client.rest() == b""


async def test_a_body_that_stands_still_is_answered_with_408(server: Server) -> None:
    client = await server.connect()
    await client.send(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
    await until(lambda: server.bodies == ["ab"])
    server.clock.advance(31)
    assert (await client.rest()).startswith(b"HTTP/1.1 408")
    assert server.closed("body_late") == 1
    await until(lambda: server.bodies == ["ab", "ClientDisconnect"])


async def test_a_slow_body_that_goes_on_may_last(server: Server) -> None:
    client = await server.connect()
    await client.send(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n")
    for number in range(20):
        await client.send(b"x")
        await until(lambda: len("".join(server.bodies)) > number)  # noqa: B023  # it waits here
        server.clock.advance(29)
    assert (await client.answer()).startswith(b"HTTP/1.1 200")


async def test_an_answer_that_takes_long_is_waited_for(server: Server) -> None:
    client = await server.connect()
    await client.send(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: server.waiting == 1)
    silent = await server.bare()
    await late(server, "head_late")  # it was looked at since
    silent.close()
    server.gate.set()
    assert (await client.answer()).startswith(b"HTTP/1.1 200")


async def test_who_takes_nothing_of_an_answer_is_cut_off(server: Server) -> None:
    client = await server.connect()
    await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await client.reader.readexactly(1000)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    assert 120 <= await late(server, "reader_late") < 140
    await until(lambda: len(server.connections) == 0)


async def test_a_slow_reader_that_goes_on_gets_all(server: Server) -> None:
    client = await server.connect()
    await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    taken = 0
    with anyio.fail_after(30):
        while chunk := await client.reader.read(4 << 20):
            taken += len(chunk)
            server.clock.advance(1)
    assert taken > LARGE_BYTES


async def test_a_body_that_nobody_reads_is_not_taken_for_ever(server: Server) -> None:
    client = await server.connect()
    await client.send(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nab")
    assert (await client.answer()).startswith(b"HTTP/1.1 200")
    with pytest.raises((ConnectionError, ssl.SSLError)):  # noqa: PT012  # any of the bytes may be the last
        for _ in range(1000):
            await client.send(b"x")
            server.clock.advance(1)
            await anyio.sleep(0.02)


async def test_what_is_no_http_is_refused(server: Server) -> None:
    client = await server.connect()
    await client.send(b"\x16\x03\x01garbage\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 400")
    assert server.closed("not_http") == 1


async def test_garbage_within_a_body_ends_the_connection_alone(server: Server) -> None:
    client = await server.connect()
    await client.send(b"POST /unread HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    assert (await client.answer()).startswith(b"HTTP/1.1 200")
    await client.send(b"no chunk\r\n" * 10)
    assert b"500" not in await client.rest()
    await until(lambda: len(server.connections) == 0)


async def test_pipelined_requests_are_all_answered(server: Server) -> None:
    client = await server.connect()
    await client.send(REQUEST * 3 + REQUEST[:5])
    for _ in range(3):
        assert (await client.answer()).startswith(b"HTTP/1.1 200")
    await late(server, "head_late")
    assert (await client.rest()).startswith(b"HTTP/1.1 408")


async def test_a_full_server_takes_a_new_client_in_place_of_a_silent_one(tls: Certificate | None) -> None:
    async with serving(tls, total=10) as server:
        silent = [await server.bare() for _ in range(30)]
        client = await server.connect()
        await client.send(REQUEST)
        assert (await client.answer()).startswith(b"HTTP/1.1 200")
        assert len(server.connections) <= 10
        assert server.closed("made_room") == 21
        for each in silent:
            each.close()
        await until(lambda: len(server.connections) == 1)


async def test_a_server_whose_connections_are_all_busy_refuses(tls: Certificate | None) -> None:
    async with serving(tls, total=2) as server:
        busy = [await server.connect() for _ in range(2)]
        for each in busy:
            await each.send(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: server.waiting == 2)
        refused = await server.bare()
        with anyio.fail_after(10):
            told = await asyncio.get_running_loop().sock_recv(refused, 10_000)
        assert told == b"" if tls else told.startswith(b"HTTP/1.1 503")
        server.gate.set()
        for each in busy:
            assert (await each.answer()).startswith(b"HTTP/1.1 200")


async def test_half_open_handshakes_end_and_others_are_answered(tmp_path: Path) -> None:
    async with serving(certificate(tmp_path), total=600) as server:
        loop = asyncio.get_running_loop()
        half_open = [await server.bare() for _ in range(500)]
        for each in half_open:
            await loop.sock_sendall(each, b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
        client = await server.connect()
        await client.send(REQUEST)
        assert (await client.answer()).startswith(b"HTTP/1.1 200")
        server.clock.advance(11)
        await until(lambda: len(server.connections) == 1)
        for each in half_open:
            each.close()
        assert server.closed("head_late") == 500


async def test_tls_garbage_is_counted(tmp_path: Path) -> None:
    async with serving(certificate(tmp_path)) as server:
        for _ in range(20):
            client = await server.bare()
            await asyncio.get_running_loop().sock_sendall(client, REQUEST)
            with anyio.fail_after(10):
                while await asyncio.get_running_loop().sock_recv(client, 100):
                    pass
            client.close()
        assert server.closed("tls_failed") == 20
        await until(lambda: len(server.connections) == 0)


async def test_a_websocket_is_not_opened(server: Server) -> None:
    client = await server.connect()
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    await client.send(b"GET /ok HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
    assert (await client.answer()).startswith(b"HTTP/1.1 200")
