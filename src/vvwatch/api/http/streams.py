"""Answers that are streamed from a file or a store, of a length that is known before."""

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
    """Answers with `size_bytes` of what is `opened`; a refusal to open it is answered as such.

    What breaks off later ends the connection: fewer bytes than promised is all that HTTP can say then. So does a
    client that takes nothing for two minutes: what it holds open is missing elsewhere.
    """

    def __init__(
        self, opened: Opening, size_bytes: int, headers: Mapping[str, str], status_code: int = 200
    ) -> None:
        told = {"Content-Length": str(size_bytes), "X-Content-Type-Options": "nosniff", **headers}
        super().__init__((), status_code, told)
        self._opened = opened

    async def stream_response(self, send: Send) -> None:
        """Send the head once it is open, then all chunks."""
        async with self._opened as chunks:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            if await _send_chunks(chunks, with_timeout(send, _STALLED_SECONDS)):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


def with_timeout(send: Send, seconds: float) -> Send:
    """As `send`, but raises TimeoutError when the client takes nothing for so long."""

    async def sent(message: Message) -> None:
        with anyio.fail_after(seconds):
            await send(message)

    return sent


async def _send_chunks(chunks: AsyncIterator[bytes], send: Send) -> bool:
    """Whether all could be had and was taken."""
    try:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except (StorageError, TimeoutError):
        return False
    return True


@asynccontextmanager
async def file_chunks(path: Path) -> AsyncIterator[AsyncIterator[bytes]]:
    """The content of a file."""
    async with await anyio.open_file(path, "rb") as file:

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await file.read(_CHUNK_BYTES):
                yield chunk

        yield chunks()


def content_disposition(name: str) -> str:
    """The Content-Disposition by which a client keeps a file under this name, whatever characters it has."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    exact = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    return f'attachment; filename="{plain}"{exact}'
