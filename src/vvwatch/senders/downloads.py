"""Download files of other hosts over HTTP(S); the guard of webhooks checks the URL and each redirect.

Errors name the host alone: a URL that opens a file is a secret.
"""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpcore2

from vvwatch.core.shortages import shortage_in
from vvwatch.errors import AttachmentRefused, AttachmentUnavailable, DeliveryRefused
from vvwatch.senders.connections import Connections
from vvwatch.senders.guard import Guard

_BROKEN: Final = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError)
_MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_AGAIN: Final = (408, 425, 429)
_OURS: Final = {"User-Agent": "vvwatch", "Accept": "*/*", "Accept-Encoding": "identity"}
_SLOWEST_BYTES_PER_SECOND: Final = 16 << 10
_GRACE_SECONDS: Final = 60.0


@dataclass
class Download:
    """A download under way: the content type that the host states, and the bytes, which can be read once."""

    content_type: str
    pieces: AsyncIterator[bytes] = field(repr=False)


class Downloads:
    """Fetches files of at most `max_bytes`; fails after `timeout_seconds` without data. Close it with `aclose`."""

    def __init__(
        self, guard: Guard, max_bytes: int, timeout_seconds: float, ca_file: Path | None = None
    ) -> None:
        self.guard = guard
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._connections = Connections(guard, ca_file)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connections.aclose()

    @asynccontextmanager
    async def file(self, url: str) -> AsyncIterator[Download]:
        """Yield the file at `url`. Raises AttachmentRefused, or AttachmentUnavailable if a retry may help.

        Raises MachineShortage when this machine lacks what a connection needs.
        """
        host = urlsplit(url).hostname or ""
        try:
            async with self._follow_redirects(url) as response:
                headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
                self._check_headers(host, headers)
                yield Download(headers.get(b"content-type", ""), self._read_pieces(host, response))
        except (DeliveryRefused, ValueError, *_BROKEN) as error:
            raise shortage_in(error) or self._failure(host, error) from error

    def _failure(self, host: str, error: Exception) -> AttachmentRefused:
        if isinstance(error, DeliveryRefused):
            if getattr(error.__context__, "errno", None) == socket.EAI_AGAIN:
                return _retry_later(error.message)
            return AttachmentRefused(error.message, "give an address that the server may ask")
        if isinstance(error, httpcore2.TimeoutException):
            return _retry_later(f"{host!r} did not answer within {self._timeout_seconds:g} s")
        if isinstance(error, _BROKEN):
            return _retry_later(f"the connection to {host!r} failed: {type(error).__name__}")
        return AttachmentRefused(f"{host!r} redirects to what is no address", "give the last address")

    @asynccontextmanager
    async def _follow_redirects(self, url: str) -> AsyncIterator[httpcore2.Response]:
        """Yield the response that has the file."""
        for _ in range(_MOST_REDIRECTS + 1):
            async with self._request(url) as response:
                if response.status == 200:
                    yield response
                    return
                url = _resolve_redirect(url, response)
        raise AttachmentRefused(
            f"{urlsplit(url).hostname!r} redirects without an end", "give the last address"
        )

    @asynccontextmanager
    async def _request(self, url: str) -> AsyncIterator[httpcore2.Response]:
        """Yield the response of one host; its head has arrived within the timeout."""
        target, host = self.guard.parse_url(url)
        names = ("connect", "read", "write")
        timeouts = dict.fromkeys(names, self._timeout_seconds)
        headers = [(name.encode(), value.encode("ascii")) for name, value in {"Host": host, **_OURS}.items()]
        options = {"timeout": timeouts}
        request = self._connections.request("GET", target, headers, self._timeout_seconds, extensions=options)
        async with request as response:
            yield response

    def _check_headers(self, host: str, headers: dict[bytes, str]) -> None:
        if headers.get(b"content-encoding", "identity") != "identity":
            raise AttachmentRefused(
                f"{host!r} sends the file compressed", "give the address of the file itself"
            )
        length = headers.get(b"content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large(host)

    async def _read_pieces(self, host: str, response: httpcore2.Response) -> AsyncIterator[bytes]:
        taken, started = 0, time.monotonic()
        async for piece in response.aiter_stream():
            taken += len(piece)
            if taken > self._max_bytes:
                raise self._too_large(host)
            took = time.monotonic() - started
            if took > _GRACE_SECONDS and taken < took * _SLOWEST_BYTES_PER_SECOND:
                raise _retry_later(f"{host!r} sends too slowly: {taken:,} bytes in {took:.0f} s")
            yield piece

    def _too_large(self, host: str) -> AttachmentRefused:
        hint = "max_upload_bytes under [api] bounds it"
        return AttachmentRefused(f"the file at {host!r} has more than {self._max_bytes:,} bytes", hint)


def _resolve_redirect(url: str, response: httpcore2.Response) -> str:
    """Return the target of a redirect. Raises the error that any other response means."""
    status, host = response.status, urlsplit(url).hostname
    if status in _REDIRECTS:
        for name, value in response.headers:
            if name.lower() == b"location":
                return urljoin(url, value.decode(errors="replace"))
    if status in _AGAIN or status >= 500:
        raise _retry_later(f"{host!r} answered {status}")
    hint = "the address may have expired: retry the job with a fresh one"
    raise AttachmentRefused(f"{host!r} answered {status}", hint)


def _retry_later(message: str) -> AttachmentUnavailable:
    return AttachmentUnavailable(message, "it is tried again; after that, retry the job with a fresh address")
