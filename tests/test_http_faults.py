"""The HTTP proxy that other tests put their faults into does what it says."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from tests.http_faults import FOREVER, Answer, Cut, Delay, Fault, Hang, HttpFaultProxy, Reset

pytestmark = pytest.mark.anyio

GET = b"GET /b/a%2Fb//c%20d+e%7e?&x=%2f&list HTTP/1.1\r\nHOST: h:1\r\nx-Odd:  two  words \r\n\r\n"
PUT = b"PUT /b/k HTTP/1.1\r\nhost: h\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = (
    b"PUT /b/k HTTP/1.1\r\nHost: h\r\ntransfer-encoding: Chunked\r\n\r\n"
    b"3;signature=ff\r\nabc\r\n00A\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n"
)
OK = b'HTTP/1.1 200 OK\r\nETag: "1"\r\ncontent-length: 5\r\n\r\nhello'
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nRetry-After: 2\r\n\r\nbusy"


@asynccontextmanager
async def upstream(answer: bytes = OK) -> AsyncIterator[tuple[HttpFaultProxy, list[bytes]]]:
    """A proxy before a server that gives everybody the same answer; and what the server has heard."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if b"Content-Length" in request:
            request += await reader.readexactly(3)
        elif b"Chunked" in request:
            request += await reader.readuntil(b"x-sum: 1\r\n\r\n")
        heard.append(request)
        writer.write(answer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        with HttpFaultProxy(server.sockets[0].getsockname()) as proxy:
            yield proxy, heard
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def connected(
    proxy: HttpFaultProxy,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*proxy.address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(proxy: HttpFaultProxy, request: bytes, answer_bytes: int = -1) -> bytes:
    """What comes back on a connection of its own: so many bytes, or all up to its end."""
    async with connected(proxy) as (reader, writer):
        writer.write(request)
        return await (reader.read() if answer_bytes < 0 else reader.readexactly(answer_bytes))


@pytest.mark.parametrize("request_bytes", [GET, PUT, CHUNKED], ids=["get", "put", "chunked"])
async def test_a_request_passes_byte_for_byte(request_bytes: bytes) -> None:
    async with upstream() as (proxy, heard):
        assert await ask(proxy, request_bytes, len(OK)) == OK
        assert heard == [request_bytes]


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (GET, OK),
        (GET, b"HTTP/1.1 206 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1F;x\r\n" + bytes(31) + b"\r\n0\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        (b"HEAD / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        (GET, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK),
    ],
    ids=["length", "chunks", "no content", "not modified", "head", "early hints"],
)  # fmt: skip
async def test_an_answer_passes_byte_for_byte_and_another_may_follow(
    request_bytes: bytes, answer: bytes
) -> None:
    async with upstream(answer) as (proxy, heard), connected(proxy) as (reader, writer):
        for _ in range(2):
            writer.write(request_bytes)
            assert await reader.readexactly(len(answer)) == answer
        assert len(heard) == 2
        assert proxy.accepted == 1


async def test_an_answer_of_unknown_length_ends_with_its_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(200_000)
    async with upstream(answer) as (proxy, _):
        assert await ask(proxy, GET) == answer


async def test_the_requests_are_remembered() -> None:
    async with upstream() as (proxy, _):
        await ask(proxy, GET, len(OK))
        await ask(proxy, PUT, len(OK))
        assert [head.line for head in proxy.seen] == ["GET /b/a%2Fb//c%20d+e%7e?&x=%2f&list", "PUT /b/k"]
        assert proxy.seen[0].headers == {"host": "h:1", "x-odd": "two  words"}
        assert (proxy.count("list$"), proxy.count("/b/"), proxy.count("^DELETE")) == (1, 2, 0)


async def test_an_answer_of_ours_is_given_and_the_server_hears_nothing() -> None:
    async with upstream() as (proxy, heard), connected(proxy) as (reader, writer):
        proxy.fail(Answer(503, b"busy", {"Retry-After": "2"}), times=3)
        for request in (GET, CHUNKED):
            writer.write(request)
            assert await reader.readexactly(len(REFUSED)) == REFUSED
        writer.write(GET.replace(b"GET", b"HEAD"))
        without_body = REFUSED.removesuffix(b"busy")
        assert await reader.readexactly(len(without_body)) == without_body
        writer.write(GET)
        assert await reader.readexactly(len(OK)) == OK
        assert heard == [GET]


async def test_rules_take_what_they_match_behind_what_they_skip_and_the_oldest_goes_first() -> None:
    async with upstream() as (proxy, _):
        proxy.fail(Answer(500), "^GET .*list", skip=1, times=2)
        proxy.fail(Answer(404), times=1)
        requests = [GET, PUT, GET, GET, GET]
        statuses = [int((await ask(proxy, request, 12))[9:]) for request in requests]
        assert statuses == [404, 200, 500, 500, 200]


async def test_faults_last_until_healed() -> None:
    async with upstream() as (proxy, _):
        proxy.fail(Answer(500), times=FOREVER)
        for _ in range(3):
            assert b" 500 " in await ask(proxy, GET, 20)
        proxy.heal()
        assert b" 200 " in await ask(proxy, GET, 20)


@pytest.mark.parametrize(("fault", "heard_by_the_server"), [(Reset(), []), (Reset(passed_on=True), [PUT])])
async def test_a_reset_comes_before_or_after_the_effect(
    fault: Fault, heard_by_the_server: list[bytes]
) -> None:
    async with upstream() as (proxy, heard):
        proxy.fail(fault)
        with pytest.raises(ConnectionResetError):
            await ask(proxy, PUT)
        assert heard == heard_by_the_server
        assert await ask(proxy, PUT, len(OK)) == OK


async def test_a_cut_answer_has_so_many_bytes_of_its_body() -> None:
    async with upstream() as (proxy, _):
        for length in range(5):
            proxy.fail(Cut(length))
            assert await ask(proxy, GET) == OK.removesuffix(b"hello"[length:])
        proxy.fail(Cut(5))  # not shorter than the body: nothing is cut
        assert await ask(proxy, GET, len(OK)) == OK


async def test_a_hung_request_is_never_answered_and_ends_with_its_client() -> None:
    async with upstream() as (proxy, heard):
        proxy.fail(Hang())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(proxy, GET), 0.1)
        assert await ask(proxy, PUT, len(OK)) == OK
        assert heard == [PUT]
        async with asyncio.timeout(5):
            while proxy.open_connections:  # noqa: ASYNC110  # it lives in another thread
                await asyncio.sleep(0.01)


async def test_a_delayed_request_is_passed_on_later() -> None:
    async with upstream() as (proxy, _):
        proxy.fail(Delay(0.1), "^PUT")
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        assert await ask(proxy, PUT, len(OK)) == OK
        assert loop.time() - began_at >= 0.1


async def test_an_unreachable_server_is_a_reset_and_a_cut_line_refuses() -> None:
    async with upstream() as (proxy, _):
        proxy.upstream = ("127.0.0.1", 1)
        with pytest.raises(ConnectionResetError):
            await ask(proxy, GET)
        proxy.cut()
        with pytest.raises(ConnectionRefusedError):
            await ask(proxy, GET)


@asynccontextmanager
async def digesting() -> AsyncIterator[HttpFaultProxy]:
    """A proxy before a server that answers with the digest of what it was sent; it reads nothing sent to /no."""

    async def digest(request: web.Request) -> web.Response:
        return web.Response(text=hashlib.sha256(await request.read()).hexdigest())

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=403, headers={"Connection": "close"})

    async def wait(request: web.Request) -> None:
        """No word before the body."""

    app = web.Application(client_max_size=1 << 30)
    app.router.add_put("/no", refuse, expect_handler=wait)
    app.router.add_put("/{key}", digest)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        with HttpFaultProxy(runner.addresses[0]) as proxy:
            yield proxy
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("expect", [False, True], ids=["at once", "when asked"])
async def test_a_large_body_streams_through(expect: bool) -> None:
    data = os.urandom(5_000_000)

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 700_000):
            yield data[start : start + 700_000]

    async with digesting() as proxy, aiohttp.ClientSession() as session:
        for body in (io.BytesIO(data), parts()):
            async with session.put(f"{proxy.url}/key", data=body, expect100=expect) as response:
                assert await response.text() == hashlib.sha256(data).hexdigest()


async def test_who_is_refused_before_the_body_learns_it() -> None:
    async with digesting() as proxy, aiohttp.ClientSession() as session:
        async with session.put(f"{proxy.url}/no", data=b"x" * 1000, expect100=True) as response:
            assert response.status == 403
        proxy.fail(Answer(503))
        async with session.put(f"{proxy.url}/key", data=b"x" * 1000, expect100=True) as response:
            assert response.status == 503
        async with session.put(f"{proxy.url}/key", data=b"x", expect100=True) as response:
            assert response.status == 200
