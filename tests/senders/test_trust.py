"""Whose certificates a receiver may have: the usual authorities, this machine's own, and those of a file."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSListener

from tests.tls import Tls, certificate
from vvwatch.core.networks import PRIVATE, AddressPolicy
from vvwatch.errors import InvalidInput
from vvwatch.senders.guard import Guard
from vvwatch.senders.http import HttpSender

pytestmark = pytest.mark.anyio

OPEN = Guard(AddressPolicy(allow_http=True, allow_networks=PRIVATE))


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return certificate(tmp_path)


@asynccontextmanager
async def receiver(tls: Tls) -> AsyncIterator[str]:
    """The address of a receiver that answers 204 by https."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = tcp.extra(anyio.abc.SocketAttribute.local_port)

    async def answer(stream: ByteStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream):
                await stream.receive()
                await stream.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    async with (
        TLSListener(tcp, context, standard_compatible=False) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, answer)
        yield f"https://127.0.0.1:{port}/hook"
        tasks.cancel_scope.cancel()


async def posted(url: str, ca_file: Path | None) -> tuple[int | None, str | None]:
    sender = HttpSender(OPEN, 10, ca_file)
    try:
        reply = await sender.post(url, b"{}", {})
    finally:
        await sender.aclose()
    return reply.status_code, reply.error


async def test_a_stranger_is_not_trusted_and_the_reply_says_why(tls: Tls) -> None:
    async with receiver(tls) as url:
        status, error = await posted(url, None)
    assert status is None
    assert error is not None
    assert error.startswith("the TLS certificate is not accepted: ")


async def test_the_authorities_of_a_file_are_trusted(tls: Tls) -> None:
    async with receiver(tls) as url:
        assert await posted(url, tls.authority) == (204, None)


async def test_the_authorities_of_this_machine_are_trusted(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
    async with receiver(tls) as url:
        assert await posted(url, None) == (204, None)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidInput, match=r"ca\.pem' of \[webhooks\] cannot be used"):
        HttpSender(OPEN, 10, file)


async def test_a_receiver_is_tried_without_a_request(tls: Tls) -> None:
    async with receiver(tls) as url:
        for authority, said in ((tls.authority, None), (None, "the TLS certificate is not accepted: ")):
            sender = HttpSender(OPEN, 10, authority)
            error = await sender.reach(url)
            await sender.aclose()
            assert error is None if said is None else str(error).startswith(said)
    sender = HttpSender(OPEN, 10)
    assert await sender.reach(url) == "the connection was refused: nothing listens there"
    assert await sender.reach("ftp://localhost/") == "the address is not https"
    await sender.aclose()
