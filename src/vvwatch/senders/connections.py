"""HTTP(S) connections to what the guard allows: a name is resolved for each, checked, and what it told is used."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpcore
import httpx

from vvwatch.senders.guard import Guard

_KEPT: Final = 32
_KEPT_SECONDS: Final = 4.0  # many servers close after five: what is sent at that moment is lost
_NEXT_SECONDS: Final = 2.0


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to what the guard has checked, and to nothing else: to the first of the host's addresses that answers.

    The last is given all the time that is left, each other one little.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # as the interface has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        *others, last = await self._guard.addresses(host, port)
        soon = _NEXT_SECONDS if timeout is None else min(timeout, _NEXT_SECONDS)
        for address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._network.connect_tcp(address, port, soon, local_address, socket_options)
        return await self._network.connect_tcp(last, port, timeout, local_address, socket_options)


@dataclass(frozen=True, slots=True, eq=False)
class _Idle:
    since: float
    origin: httpcore.Origin
    connection: httpcore.AsyncHTTPConnection


class Connections:
    """As many as are asked for at once, for those that hang must not keep the others from theirs; a few stay open.

    httpcore's own pool looks at the socket of each of its connections for every request: among 32 that costs three
    times what the request does. Here only the one that is taken is looked at. Close with `aclose`.
    """

    def __init__(self, guard: Guard) -> None:
        self._network = _GuardedBackend(guard)
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._idle: list[_Idle] = []  # the oldest is the first

    async def aclose(self) -> None:
        """Close all that nobody uses."""
        while self._idle:
            await self._idle.pop().connection.aclose()

    @asynccontextmanager
    async def answer(
        self,
        method: str,
        target: httpcore.URL,
        headers: Sequence[tuple[bytes, bytes]],
        seconds: float,
        **further: Any,
    ) -> AsyncIterator[httpcore.Response]:
        """What is answered, whole within `seconds` but for its body; `further` goes to httpcore.

        Raises httpcore's errors, ReadTimeout for an answer that is late, and DeliveryRefused.
        """
        async with self.to(target.origin) as connection, AsyncExitStack() as asking:
            asked = connection.stream(method, target, headers=headers, **further)
            with anyio.move_on_after(seconds) as waiting:
                response = await asking.enter_async_context(asked)
            if waiting.cancelled_caught:
                raise httpcore.ReadTimeout
            yield response

    @asynccontextmanager
    async def to(self, origin: httpcore.Origin) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """A connection for one request. httpcore's errors come from it, and DeliveryRefused from the guard."""
        connection = await self._kept(origin) or self._new(origin)
        try:
            yield connection
        finally:
            with anyio.CancelScope(shield=True):
                await self._keep(origin, connection)

    async def _kept(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection | None:
        while found := next((each for each in reversed(self._idle) if each.origin == origin), None):
            self._idle.remove(found)
            if not found.connection.has_expired():
                return found.connection
            await found.connection.aclose()
        return None

    def _new(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        return httpcore.AsyncHTTPConnection(
            origin, self._tls, keepalive_expiry=_KEPT_SECONDS, network_backend=self._network
        )

    async def _keep(self, origin: httpcore.Origin, connection: httpcore.AsyncHTTPConnection) -> None:
        now = time.monotonic()
        if connection.is_available():
            self._idle.append(_Idle(now, origin, connection))
        else:
            await connection.aclose()
        while self._idle and (len(self._idle) > _KEPT or self._idle[0].since < now - _KEPT_SECONDS):
            await self._idle.pop(0).connection.aclose()
