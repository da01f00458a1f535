"""A server on loopback that answers each HTTP request with whatever bytes a test gives it, at whatever pace."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

LOOPBACK: Final = "127.0.0.1"
Pieces = Callable[[bytes], AsyncIterator[bytes]]
"""What is sent back for the head of a request."""


class HostileStore:
    """Answers by `answer`; `seen` has the heads of all requests, `sent_bytes` counts what clients took."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[bytes] = []
        self.sent_bytes = 0
        self._serving: set[asyncio.Task[None]] = set()
        self.answer: Pieces = lambda _: replied(b"")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request of a connection."""
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._exchange(reader, writer)
                await writer.drain()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        finally:
            writer.transport.abort()
            self._serving.discard(task)

    async def aclose(self) -> None:
        """End what is being served."""
        for task in (serving := list(self._serving)):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close in the next turn of the loop

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        self.seen.append(head + body)
        async for piece in self.answer(head):
            writer.write(piece)
            await writer.drain()
            self.sent_bytes += len(piece)


@asynccontextmanager
async def hostile_store() -> AsyncIterator[HostileStore]:
    """Run a store for the block."""
    store = HostileStore()
    server = await asyncio.start_server(store.serve, LOOPBACK, 0, limit=1 << 20)
    host, port = server.sockets[0].getsockname()
    store.url = f"http://{host}:{port}"
    try:
        yield store
    finally:
        server.close()
        await store.aclose()


async def replied(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> AsyncIterator[bytes]:
    """One whole reply."""
    said = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in said.items()), "", ""]
    yield "\r\n".join(lines).encode() + body


async def endless(piece: bytes) -> AsyncIterator[bytes]:
    """A reply whose body never ends."""
    yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    while True:
        yield piece


async def trickled(whole: bytes, seconds: float) -> AsyncIterator[bytes]:
    """A byte at a time."""
    for byte in whole:
        yield bytes((byte,))
        await asyncio.sleep(seconds)
