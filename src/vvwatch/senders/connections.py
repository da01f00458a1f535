"""HTTP(S) connections to hosts that the guard allows: each name is resolved, checked, and the checked address used."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import httpcore2
import httpx2

from vvwatch.errors import InvalidInput
from vvwatch.senders.guard import Guard

_KEPT: Final = 32  # idle ones, whatever their hosts
_KEPT_SECONDS: Final = 4.0  # many servers close after five: what is sent at that moment is lost
_NEXT_SECONDS: Final = 2.0


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects only to addresses that the guard has checked, to the first one that answers.

    The last address gets all the time that is left, the others two seconds each.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # as the interface has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        *others, last = await self._guard.addresses(host, port)
        soon = _NEXT_SECONDS if timeout is None else min(timeout, _NEXT_SECONDS)
        for address in others:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._network.connect_tcp(address, port, soon, local_address, socket_options)
        return await self._network.connect_tcp(last, port, timeout, local_address, socket_options)


def _load_trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the authorities of this machine ($SSL_CERT_FILE included) and of `ca_file`."""
    context = httpx2.create_ssl_context(trust_env=False)
    context.load_default_certs()
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:  # those of TLS, too
        raise InvalidInput(
            f"the ca_file {str(ca_file)!r} of [webhooks] cannot be used: {error.strerror or error}",
            "it must be readable, and hold certificates in PEM form",
        ) from error
    return context


@dataclass(frozen=True, slots=True, eq=False)
class _Idle:
    since: float
    origin: httpcore2.Origin
    connection: httpcore2.AsyncHTTPConnection


class Connections:
    """Connections without an upper limit, so that receivers that hang delay no others; a few idle ones are kept.

    The pool of httpcore2 checks all its connections for every request, which costs a third of a delivery. Here only
    the one that is used again is checked. Close it with `aclose`.
    """

    def __init__(self, guard: Guard, ca_file: Path | None = None) -> None:
        """`ca_file` has further authorities in PEM form. Raises InvalidInput when it cannot be used."""
        self._network = _GuardedBackend(guard)
        self._trust = _load_trust(ca_file)
        self._idle: list[_Idle] = []  # the oldest is the first

    async def aclose(self) -> None:
        """Close all idle connections."""
        while self._idle:
            await self._idle.pop().connection.aclose()

    async def try_connect(self, target: httpcore2.URL, seconds: float) -> None:
        """Open a connection, with TLS for https, and close it. Raises httpcore2's errors and DeliveryRefused."""
        origin = target.origin
        name = origin.host.decode("ascii")
        stream = await self._network.connect_tcp(name, origin.port, seconds)
        try:
            if origin.scheme == b"https":
                stream = await stream.start_tls(self._trust, name, seconds)
        finally:
            await stream.aclose()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: httpcore2.URL,
        headers: Sequence[tuple[bytes, bytes]],
        seconds: float,
        **further: Any,
    ) -> AsyncIterator[httpcore2.Response]:
        """Send a request and yield the response once its head has arrived; its body is still to be read.

        `further` goes to httpcore2. Raises httpcore2's errors, ReadTimeout when the head takes more than `seconds`, and
        DeliveryRefused.
        """
        async with self._open_connection(target.origin) as connection, AsyncExitStack() as stack:
            stream = connection.stream(method, target, headers=headers, **further)
            with anyio.move_on_after(seconds) as waiting:
                response = await stack.enter_async_context(stream)
            if waiting.cancelled_caught:
                raise httpcore2.ReadTimeout
            yield response

    @asynccontextmanager
    async def _open_connection(
        self, origin: httpcore2.Origin
    ) -> AsyncIterator[httpcore2.AsyncHTTPConnection]:
        """Yield a connection for one request; keep or close it afterwards."""
        connection = await self._take_idle(origin) or self._make_connection(origin)
        try:
            yield connection
        finally:
            with anyio.CancelScope(shield=True):
                await self._keep_or_close(origin, connection)

    async def _take_idle(self, origin: httpcore2.Origin) -> httpcore2.AsyncHTTPConnection | None:
        while found := next((each for each in reversed(self._idle) if each.origin == origin), None):
            self._idle.remove(found)
            if not found.connection.has_expired():
                return found.connection
            await found.connection.aclose()
        return None

    def _make_connection(self, origin: httpcore2.Origin) -> httpcore2.AsyncHTTPConnection:
        return httpcore2.AsyncHTTPConnection(
            origin, self._trust, keepalive_expiry=_KEPT_SECONDS, network_backend=self._network
        )

    async def _keep_or_close(
        self, origin: httpcore2.Origin, connection: httpcore2.AsyncHTTPConnection
    ) -> None:
        now = time.monotonic()
        if connection.is_available():
            self._idle.append(_Idle(now, origin, connection))
        else:
            await connection.aclose()
        while self._idle and (len(self._idle) > _KEPT or self._idle[0].since < now - _KEPT_SECONDS):
            await self._idle.pop(0).connection.aclose()
