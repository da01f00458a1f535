"""What a client sends is parsed in pieces, so that no body holds up the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.daemon.serving.test_server import REQUEST, Server, serving
from tests.tls import certificate
from vvwatch.daemon.serving.protocol import PIECE_BYTES

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["plain", "tls"])
async def a_server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(certificate(tmp_path) if request.param == "tls" else None) as found:
        yield found


@pytest.mark.parametrize("chunk", [1, 1000, 300_000])
async def test_a_body_is_parsed_in_pieces_with_turns_of_others_between(
    a_server: Server, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """One-byte chunks cost the most: a read of 256 KiB of them would hold up everybody for a second."""
    pieces: list[int] = []
    parse = H11Protocol.data_received

    def noted(self: H11Protocol, data: bytes) -> None:
        pieces.append(len(data))
        parse(self, data)

    monkeypatch.setattr(H11Protocol, "data_received", noted)
    content = bytes(ord("a") + number % 26 for number in range(60_000))
    chunks = (content[at : at + chunk] for at in range(0, len(content), chunk))
    body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"
    client = await a_server.connect()
    await client.send(
        b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body + REQUEST
    )
    assert (await client.answer()).startswith(b"HTTP/1.1 200")
    assert (await client.answer()).startswith(b"HTTP/1.1 200")
    assert "".join(a_server.bodies).encode() == content
    assert max(pieces) <= PIECE_BYTES
    assert min(pieces) > 0  # nothing would mean that the client has closed


@pytest.mark.parametrize("length", [b"Content-Length: 600000", b"Transfer-Encoding: chunked"])
async def test_what_follows_an_unread_body_is_answered(a_server: Server, length: bytes) -> None:
    client = await a_server.connect()
    body = bytes(600_000) if b"600000" in length else b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
    await client.send(b"POST /unread HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n" + body + REQUEST * 2)
    for _ in range(3):
        assert (await client.answer()).startswith(b"HTTP/1.1 200")
