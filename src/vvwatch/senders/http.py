"""Webhook posts over HTTP(S), guarded: a name is resolved for each connection, checked, and that very address is used.

So neither a name that resolves to a private address nor one that changes its mind between check and connection
reaches into the daemon's network. Redirects are not followed and proxies of the environment are not used. Names that
share an address share no connection: whose certificate was checked for one is not asked for the other.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import SplitResult, quote, urlsplit

import anyio
import httpcore
import httpx

from vvwatch.errors import DeliveryRefused
from vvwatch.ports import Reply

_KEPT_BODY_BYTES = 1024
_KEPT_CONNECTIONS = 32
_KEPT_CONNECTION_SECONDS = 5.0
_OURS = {"User-Agent": "vvwatch"}
_PLAIN = "/?%:@!$&'()*+,;=~[]"  # stands in paths and queries as it is
_NAT64 = IPv6Network("64:ff9b::/96")
_LONGEST_RETRY_AFTER_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Guard:
    """What addresses may be posted to."""

    allow_http: bool = False
    allow_private_addresses: bool = False

    def checked(self, url: str) -> tuple[httpcore.URL, str]:
        """The address, and its host as the header has it. Raises DeliveryRefused for what its spelling forbids."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allow_http):
            raise DeliveryRefused("the address is not https", "use https, or allow http in [webhooks]")
        host, port = _destination(parts)
        path = quote(parts.path or "/", safe=_PLAIN) + (
            f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else ""
        )
        name = f"[{host}]" if ":" in host else host
        target = httpcore.URL(scheme=parts.scheme, host=host, port=port, target=path)
        return target, name if port is None else f"{name}:{port}"

    async def address(self, host: str, port: int) -> str:
        """An address of `host` that may be connected to. Raises DeliveryRefused unless all of them may."""
        try:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise DeliveryRefused(f"the host {host!r} does not resolve", "check the webhook's url") from error
        addresses = [str(entry[4][0]) for entry in found]
        allowed = [address for address in addresses if self._allows(address)]
        if not allowed or len(allowed) < len(addresses):
            raise DeliveryRefused(
                f"the host {host!r} resolves to a private address",
                "use a public address, or set allow_private_addresses in [webhooks]",
            )
        return allowed[0]

    def _allows(self, address: str) -> bool:
        if self.allow_private_addresses:
            return True
        parsed = ipaddress.ip_address(address.partition("%")[0])
        return all(each.is_global and not each.is_multicast for each in _meant(parsed))


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to what the guard has checked, and to nothing else."""

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
        address = await self._guard.address(host, port)
        return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)


def guarded_pool(guard: Guard) -> httpcore.AsyncConnectionPool:
    """Connections to what the guard allows, and to nothing else."""
    return httpcore.AsyncConnectionPool(
        ssl_context=httpx.create_ssl_context(trust_env=False),
        max_connections=None,  # those that hang must not keep the others from theirs
        max_keepalive_connections=_KEPT_CONNECTIONS,
        keepalive_expiry=_KEPT_CONNECTION_SECONDS,
        network_backend=_GuardedBackend(guard),
    )


class HttpSender:
    """Posts with a time-out; keeps the first kilobyte of an answer. Close it with `aclose`."""

    def __init__(self, guard: Guard, timeout_seconds: float) -> None:
        self._guard = guard
        self._timeout_seconds = timeout_seconds
        self._pool = guarded_pool(guard)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send `body` once within the time-out. Whatever hinders it stands in the reply; nothing is raised."""
        started = time.monotonic()
        status: int | None = None
        text, error, retry_after = "", None, None
        try:
            with anyio.fail_after(self._timeout_seconds):
                target, host = self._guard.checked(url)
                status, text, retry_after = await self._exchange(
                    target, {"Host": host, **_OURS, **headers}, body
                )
        except DeliveryRefused as refusal:
            error = refusal.message
        except TimeoutError:
            error = f"no answer within {self._timeout_seconds:g} s"
        except (httpcore.NetworkError, httpcore.ProtocolError) as failure:
            error = f"{type(failure).__name__}: the connection failed"
        except Exception as failure:  # noqa: BLE001  # as promised
            # The address is a user's and the answer a stranger's: neither may stop the worker that sends.
            error = f"{type(failure).__name__}: it could not be sent"
        return Reply(status, text, error, time.monotonic() - started, retry_after)

    async def _exchange(
        self, target: httpcore.URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, float | None]:
        whole = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        async with self._pool.stream("POST", target, headers=whole, content=body) as response:
            text = await _beginning(response)
        answered = {name.lower(): value for name, value in response.headers}
        return response.status, text, _retry_after(answered.get(b"retry-after", b"").decode("latin-1"))


def _meant(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """The address, and that of IPv4 which the system or a router would make of it."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (address, IPv4Address(int(address) & 0xFFFF_FFFF))
    return (address,) if address.sixtofour is None else (address, address.sixtofour)


def _destination(parts: SplitResult) -> tuple[str, int | None]:
    """The host as headers and certificates spell it, and the port if one is given. Raises DeliveryRefused."""
    try:
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0:
        raise DeliveryRefused("the address has no valid host and port", "check the webhook's url")
    return host, port


async def _beginning(response: httpcore.Response) -> str:
    kept = b""
    async for piece in response.aiter_stream():
        kept += piece
        if len(kept) >= _KEPT_BODY_BYTES:
            break
    return kept[:_KEPT_BODY_BYTES].decode("utf-8", "replace")


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110 §10.2.3), bounded; None when absent or unreadable."""
    if not value:
        return None
    try:
        seconds = _seconds_until(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)


def _seconds_until(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return parsedate_to_datetime(value).timestamp() - time.time()
