"""Responses of known length, streamed from a file or a store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import anyio
from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

from vvwatch.errors import StorageError

_CHUNK_BYTES: Final = 256 << 10
_STALLED_SECONDS: Final = 120.0

Opening = AbstractAsyncContextManager[AsyncIterator[bytes]]


class StreamedFile(StreamingResponse):
    """Sends `size_bytes` of `opened`; an error on opening becomes an error response.

    A later failure closes the connection: HTTP can only signal it by too few bytes. So does a client that reads nothing
    for two minutes: it would hold resources that others need.
    """

    def __init__(
        self, opened: Opening, size_bytes: int, headers: Mapping[str, str], status_code: int = 200
    ) -> None:
        all_headers = {"Content-Length": str(size_bytes), "X-Content-Type-Options": "nosniff", **headers}
        super().__init__((), status_code, all_headers)
        self._opened = opened

    async def stream_response(self, send: Send) -> None:
        """Send the head once the content is open, then all chunks."""
        async with self._opened as chunks:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            if await _send_chunks(chunks, with_timeout(send, _STALLED_SECONDS)):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


def with_timeout(send: Send, seconds: float) -> Send:
    """Return `send` with a timeout: it raises TimeoutError when the client reads nothing for that long."""

    async def send_in_time(message: Message) -> None:
        with anyio.fail_after(seconds):
            await send(message)

    return send_in_time


async def _send_chunks(chunks: AsyncIterator[bytes], send: Send) -> bool:
    """Send all chunks; return whether that succeeded."""
    try:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except (StorageError, TimeoutError):
        return False
    return True


@asynccontextmanager
async def file_chunks(path: Path) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open a file and yield its chunks."""
    async with await anyio.open_file(path, "rb") as file:

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await file.read(_CHUNK_BYTES):
                yield chunk

        yield chunks()


def content_disposition(name: str) -> str:
    """Return the Content-Disposition that saves a file under this name, whatever characters it has."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    exact = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    return f'attachment; filename="{plain}"{exact}'
