"""The HTTP client below the SDK: uploads are read in threads, responses are bounded and remembered.

The SDK rewords failures and drops the status and the headers of responses that it cannot read. They are kept here for
the call in progress, to classify its failure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import anyio.to_thread
import httpx

from vvwatch.processors.validation import count_values

_BLOCK_BYTES: Final = 1 << 20
_MOST_VALUES: Final = 500_000
_CODINGS: Final = ("", "identity")


@dataclass
class Seen:
    """The last response within a call; `status` None: there was none."""

    status: int | None = None
    content_type: str = ""
    location: str = ""
    retry_after: str = ""
    fault: str = ""

    def clear(self) -> None:
        """Forget the last response."""
        self.status = None
        self.content_type = self.location = self.retry_after = self.fault = ""


LAST_SEEN: Final[ContextVar[Seen]] = ContextVar("seen")
"""The response of the call in progress."""


class _BoundedBody(httpx.AsyncByteStream):
    """The body of a response, bounded to `limit` bytes and to as many values as can be parsed without delay."""

    def __init__(self, body: httpx.AsyncByteStream, limit: int) -> None:
        self._body = body
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        taken = values = 0
        async for chunk in self._body:
            taken += len(chunk)
            values += count_values(chunk)
            if taken > self._limit:
                raise _fault_error(f"with more than {self._limit >> 20} MiB")
            if values > _MOST_VALUES:
                raise _fault_error(f"with more than {_MOST_VALUES:,} values")
            yield chunk

    async def aclose(self) -> None:
        await self._body.aclose()


def _fault_error(fault: str) -> httpx.ReadError:
    LAST_SEEN.get().fault = fault
    return httpx.ReadError(fault)


class _ThreadedBody(httpx.AsyncByteStream):
    """The body of a request with a file, read in threads in blocks, because reading may block."""

    def __init__(self, body: httpx.SyncByteStream) -> None:
        self._chunks = iter(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while block := await anyio.to_thread.run_sync(_join_block, self._chunks):
            yield block


def _join_block(chunks: Iterator[bytes]) -> bytes:
    block = bytearray()
    for chunk in chunks:
        block += chunk
        if len(block) >= _BLOCK_BYTES:
            break
    return bytes(block)


def build_http_client(
    base_url: str, headers: Mapping[str, str], *, stall_seconds: float, answer_bytes: int
) -> httpx.AsyncClient:
    """Return a client for the SDK. It follows no redirect and takes no proxy or password from the environment."""

    async def sending(request: httpx.Request) -> None:
        LAST_SEEN.get().clear()
        if isinstance(request.stream, httpx.SyncByteStream) and _is_form(request):
            request.stream = _ThreadedBody(request.stream)

    async def note_response(response: httpx.Response) -> None:
        seen = LAST_SEEN.get()
        seen.status = response.status_code
        seen.content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        seen.location = response.headers.get("location", "")
        seen.retry_after = response.headers.get("retry-after", "")
        coding = response.headers.get("content-encoding", "").strip().lower()
        if coding not in _CODINGS:
            raise _fault_error(f"in the coding {coding[:40]!r}, which nobody asked for")
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _BoundedBody(response.stream, answer_bytes)

    hooks: dict[str, list[Any]] = {"request": [sending], "response": [note_response]}
    return httpx.AsyncClient(
        base_url=base_url,
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=httpx.Timeout(stall_seconds, connect=min(stall_seconds, 15.0)),
        event_hooks=hooks,
        trust_env=False,
    )


def _is_form(request: httpx.Request) -> bool:
    return str(request.headers.get("content-type", "")).startswith("multipart/form-data")
