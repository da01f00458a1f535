"""What is streamed, as the server beneath sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.api.http import streams
from vvwatch.api.http.streams import StreamedFile, content_disposition
from vvwatch.errors import ObjectNotFound, StorageUnavailable

pytestmark = pytest.mark.anyio

SCOPE = {"type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.3"}}


class Source:
    """Chunks from `chunks`; `closed` when nobody reads any more."""

    def __init__(self, chunks: Callable[[], AsyncIterator[bytes]]) -> None:
        self._chunks = chunks
        self.closed = False

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            yield self._chunks()
        finally:
            self.closed = True


async def stays() -> dict[str, Any]:
    await anyio.sleep_forever()
    return {}


async def served(
    source: Source, receive: Callable[[], Any] = stays, most: int = 100
) -> list[tuple[str, bytes, bool]]:
    """What is sent; after `most` messages the client hangs."""
    sent: list[tuple[str, bytes, bool]] = []

    async def send(message: Any) -> None:
        sent.append((message["type"], message.get("body", b""), message.get("more_body", True)))
        if len(sent) == most:
            await anyio.sleep_forever()

    with anyio.fail_after(5):
        await StreamedFile(source.opened(), 3, {})(dict(SCOPE), receive, send)
    return sent


async def test_all_is_sent_and_ended() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"a", b"bc"):
            yield chunk

    sent = await served(source := Source(chunks))
    assert [body for _, body, _ in sent] == [b"", b"a", b"bc", b""]
    assert [more for _, _, more in sent] == [True, True, True, False]
    assert source.closed


async def test_what_breaks_off_is_never_called_complete() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        raise StorageUnavailable("the store is away")

    sent = await served(source := Source(chunks))
    assert [body for _, body, _ in sent] == [b"", b"a"]
    assert all(more for _, _, more in sent)
    assert source.closed


async def test_nothing_is_begun_that_cannot_be_opened() -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[AsyncIterator[bytes]]:
        raise ObjectNotFound("gone")
        yield  # pragma: no cover

    async def send(message: Any) -> None:
        raise AssertionError(message)

    with pytest.raises(ObjectNotFound):
        await StreamedFile(opened(), 3, {})(dict(SCOPE), stays, send)


async def test_nobody_reads_for_a_client_that_has_gone() -> None:
    begun = anyio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        begun.set()
        while True:
            yield b"a"

    async def leaves() -> dict[str, Any]:
        await begun.wait()
        return {"type": "http.disconnect"}

    sent = await served(source := Source(chunks), leaves, most=5)
    assert len(sent) <= 5
    assert source.closed


async def test_nobody_reads_for_a_client_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"a"

    monkeypatch.setattr(streams, "_STALLED_SECONDS", 0.05)
    sent = await served(source := Source(chunks), most=3)
    assert all(more for _, _, more in sent)
    assert source.closed


@given(st.text(max_size=40))
def test_a_file_name_never_breaks_the_header(name: str) -> None:
    header = content_disposition(name)
    assert header.isascii()
    assert header.isprintable()
    plain = header.removeprefix('attachment; filename="').partition('"')
    assert plain[2] == "" or plain[2].startswith("; filename*=UTF-8''")
