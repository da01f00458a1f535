"""Answers that are not waited for without end: a store may take a request and answer it never, or break off unsaid."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from anyio import current_time, fail_after

from vvwatch.errors import StorageUnavailable

ANSWER_SECONDS = 20.0
"""How long the beginning of an answer is waited for, and each piece of its body: others wait meanwhile."""

MEASURED_SECONDS = 60.0
LEAST_BYTES = 1 << 18
"""Of a body that is still under way after so many seconds of waiting for it: 4 KiB a second."""

_T = TypeVar("_T")


class NoResponse(StorageUnavailable):
    """Raised when an answer, or the next piece of it, does not come in time."""


class ResponseTooSlow(NoResponse):
    """Raised when so little comes that to ask for the rest would not help."""


def _response_too_slow(key: str, received_bytes: int, seconds: float) -> ResponseTooSlow:
    return ResponseTooSlow(
        f"{key!r} cannot be read: the store is too slow: {received_bytes:,} bytes came in {seconds:.0f} s",
        "check the line and the store; it is tried again by itself",
    )


def _no_response(key: str) -> NoResponse:
    return NoResponse(f"{key!r} cannot be read: no answer in time", "it is tried again by itself")


async def enter_in_time(body: AsyncExitStack, answer: AbstractAsyncContextManager[_T], key: str) -> _T:
    """The answer, entered on `body` as soon as it begins. Raises Hanging."""
    try:
        with fail_after(ANSWER_SECONDS):
            return await body.enter_async_context(answer)
    except TimeoutError:
        raise _no_response(key) from None


async def read_in_time(chunks: AsyncIterator[bytes], key: str) -> AsyncGenerator[bytes]:
    """The same pieces. Raises Hanging when one does not come in time, or too little comes in a minute of waiting.

    However slowly they are taken is no fault of the store: only what is waited for counts.
    """
    waited_seconds, received_bytes = 0.0, 0
    while True:
        began = current_time()
        try:
            with fail_after(ANSWER_SECONDS):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise _no_response(key) from None
        if chunk is None:
            return
        waited_seconds += current_time() - began
        received_bytes += len(chunk)
        if waited_seconds >= MEASURED_SECONDS:
            if received_bytes < LEAST_BYTES:
                raise _response_too_slow(key, received_bytes, waited_seconds)
            waited_seconds, received_bytes = 0.0, 0
        yield chunk
