"""HTTP(S) connections to hosts that the guard allows: each name is resolved, checked, and the checked address used."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
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


class Connections:
    """A pool without an upper limit, so that receivers that hang delay no others; it keeps a few idle connections.

    Close it with `aclose`.
    """

    def __init__(self, guard: Guard, ca_file: Path | None = None) -> None:
        """`ca_file` has further authorities in PEM form. Raises InvalidInput when it cannot be used."""
        self._pool = httpcore2.AsyncConnectionPool(
            _load_trust(ca_file),
            max_connections=None,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=_GuardedBackend(guard),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

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
        DeliveryRefused. The pool strips the `__cause__` of each; the `__context__` has it.
        """
        async with AsyncExitStack() as stack:
            stream = self._pool.stream(method, target, headers=headers, **further)
            with anyio.move_on_after(seconds) as waiting:
                response = await stack.enter_async_context(stream)
            if waiting.cancelled_caught:
                raise httpcore2.ReadTimeout
            yield response
