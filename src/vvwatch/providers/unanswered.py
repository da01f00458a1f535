"""Limit the wait for responses: a store may accept a request and never answer, or stop halfway."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from anyio import current_time, fail_after

from vvwatch.errors import StorageUnavailable
from vvwatch.providers.failures import LATER

ANSWER_SECONDS = 20.0
"""The longest wait for the start of a response, and for each piece of its body."""

MEASURED_SECONDS = 60.0
LEAST_BYTES = 1 << 18
"""The least progress of a body after so many seconds of waiting: 4 KiB per second."""

_T = TypeVar("_T")


class NoResponse(StorageUnavailable):
    """Raised when a response, or its next piece, does not arrive in time."""


class ResponseTooSlow(NoResponse):
    """Raised when a body is so slow that resuming would not help."""


def _response_too_slow(key: str, received_bytes: int, seconds: float) -> ResponseTooSlow:
    return ResponseTooSlow(
        f"{key!r} cannot be read: the store is too slow: {received_bytes:,} bytes came in {seconds:.0f} s",
        f"check the line and the store; {LATER}",
    )


def _no_response(key: str) -> NoResponse:
    return NoResponse(f"{key!r} cannot be read: no answer in time", LATER)


async def enter_in_time(body: AsyncExitStack, answer: AbstractAsyncContextManager[_T], key: str) -> _T:
    """Enter the response on `body` as soon as it begins. Raises NoResponse."""
    try:
        with fail_after(ANSWER_SECONDS):
            return await body.enter_async_context(answer)
    except TimeoutError:
        raise _no_response(key) from None


async def read_in_time(chunks: AsyncIterator[bytes], key: str) -> AsyncGenerator[bytes]:
    """Yield the same pieces. Raises NoResponse or ResponseTooSlow.

    Only waiting for the store counts, not the consumer's own time.
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
