"""Limits on the responses of a store: no redirects, and bounded bytes and seconds.

Every client of a store opens its session here. Media streams have no byte limit; `unanswered` limits their waits.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Mapping
from typing import Any, ClassVar, Final, Self
from urllib.parse import urlsplit

import aiohttp
from anyio import move_on_after

from vvwatch.errors import StorageUnavailable
from vvwatch.providers.failures import LATER

MOST_BYTES: Final = 16 << 20
"""The largest response: more than a page of the longest keys needs, or the page is asked for smaller."""

MOST_REFUSAL_BYTES: Final = 65_536
"""The cut-off for an unsuccessful response, and the largest token response."""

LARGE_BYTES: Final = 1 << 20
"""A larger response is parsed in a worker thread."""

_HEAD_SECONDS = 90.0
_BODY_SECONDS = 60.0
_LEAST_BYTES_PER_SECOND: Final = 8_192
"""A slower upload fails."""

_HOST: Final = re.compile(r"[\w.:\[\]-]{1,255}", re.ASCII)


class ReplyRefused(StorageUnavailable):
    """Raised for a response beyond a limit. It is not retried at once, because the same would come."""

    def about(self, what: str) -> Self:
        """Return the same error with the failed operation before its message."""
        return type(self)(f"{what}: {self.message}", self.hint)


class ReplyTooLarge(ReplyRefused):
    """Raised for a response of too many bytes."""


class Reply(aiohttp.ClientResponse):
    """A response read whole within the limits. Of an unsuccessful one only the start is kept."""

    most_bytes: ClassVar[int] = MOST_BYTES

    async def read(self) -> bytes:
        """Return the whole body, decoded. Raises ReplyRefused and aiohttp's errors."""
        if self._body is None:
            try:
                self._body = await self._collect()
            except BaseException:
                self.close()
                raise
        return self._body

    async def _collect(self) -> bytes:
        if self.status >= 300:
            return await read_beginning(self.content.iter_any(), MOST_REFUSAL_BYTES)
        if self.method != "HEAD" and (self.content_length or 0) > self.most_bytes:
            raise _body_too_large(self.most_bytes)
        return await read_body(self.content.iter_any(), self.most_bytes)


class TokenReply(Reply):
    """A response with a token. Raises ReplyRefused for a redirect too."""

    most_bytes = MOST_REFUSAL_BYTES

    async def _collect(self) -> bytes:
        if is_redirect(self.status, self.headers):
            hint = "check proxy and the address of the service that gives tokens"
            refusal = redirect_refused("no sign-in", self.headers["Location"], hint)
            raise ReplyRefused(refusal.message, refusal.hint)
        return await super()._collect()


class NoRedirects:
    """A session that follows no redirect, whatever its SDK asks for."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    def request(self, method: str, url: Any, **options: Any) -> Any:
        """Send a request as aiohttp does; a redirect is its response."""
        return self._session.request(method, url, **{**options, "allow_redirects": False})

    def get(self, url: Any, **options: Any) -> Any:
        """Send a GET."""
        return self.request("GET", url, **options)

    def post(self, url: Any, **options: Any) -> Any:
        """Send a POST."""
        return self.request("POST", url, **options)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def new_session(*, tokens: bool = False, **options: Any) -> aiohttp.ClientSession:
    """Return a session with limits on responses, lower ones for `tokens`. `options` are aiohttp's.

    Its requests raise ReplyRefused if no complete response head arrives in time.
    """
    reply = TokenReply if tokens else Reply
    return aiohttp.ClientSession(response_class=reply, middlewares=(_head_in_time,), **options)


async def read_body(chunks: AsyncIterable[bytes], most_bytes: int) -> bytes:
    """Return the whole body. Raises ReplyRefused if it is too large or too late."""
    found, size = list[bytes](), 0
    with move_on_after(_BODY_SECONDS):
        async for chunk in chunks:
            size += len(chunk)
            if size > most_bytes:
                raise _body_too_large(most_bytes)
            found.append(chunk)
        return b"".join(found)
    raise _body_too_slow(f"no whole reply came within {_BODY_SECONDS:.0f} s")


async def read_beginning(chunks: AsyncIterable[bytes], most_bytes: int) -> bytes:
    """Return the start of a body, as much as arrives in time."""
    found = bytearray()
    with move_on_after(_BODY_SECONDS):
        async for chunk in chunks:
            found += chunk
            if len(found) >= most_bytes:
                break
    return bytes(found[:most_bytes])


def is_redirect(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether a response redirects; the 308 of an unfinished upload names no address."""
    return 300 <= status < 400 and bool(headers.get("Location"))


def redirect_refused(what: str, location: str, hint: str) -> StorageUnavailable:
    """Return the error for a redirect to `location`, naming its host; `hint` says what to set."""
    try:
        host = urlsplit(location).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    where = host if _HOST.fullmatch(host) else "another address"
    return StorageUnavailable(
        f"{what}: the endpoint answered with a redirect to {where}: vvwatch does not follow redirects", hint
    )


async def _head_in_time(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    sent = request.headers.get("Content-Length", "")
    body_seconds = int(sent) / _LEAST_BYTES_PER_SECOND if sent.isdecimal() else 0.0
    with move_on_after(_HEAD_SECONDS + body_seconds):
        return await handler(request)
    raise _body_too_slow("no whole head of a reply came in time")


def _body_too_large(most_bytes: int) -> ReplyTooLarge:
    size = f"{most_bytes >> 20} MiB" if most_bytes >= 1 << 20 else f"{most_bytes >> 10} KiB"
    return ReplyTooLarge(
        f"the reply is larger than {size}",
        f"check endpoint_url and proxy: no such store sends so much; {LATER}",
    )


def _body_too_slow(why: str) -> ReplyRefused:
    return ReplyRefused(f"the store is too slow: {why}", f"check the line and the store; {LATER}")
