"""Webhook posts over HTTP(S), guarded: an address is resolved once, checked, and that very address is used.

So neither a name that resolves to a private address nor one that changes its mind between check and connection
reaches into the daemon's network. Redirects are not followed and proxies of the environment are not used.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit, urlunsplit

import anyio
import httpx

from vvwatch.errors import DeliveryRefused
from vvwatch.ports import Reply

_KEPT_BODY_BYTES = 1024
_LONGEST_RETRY_AFTER_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Guard:
    """What addresses may be posted to."""

    allow_http: bool = False
    allow_private_addresses: bool = False

    async def pinned(self, url: str) -> tuple[str, str]:
        """`url` with its host replaced by a checked address, and the host in ASCII. Raises DeliveryRefused."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allow_http):
            raise DeliveryRefused("the address is not https", "use https, or allow http in [webhooks]")
        host, port = _destination(parts)
        address = await self._resolved(host, port or (443 if parts.scheme == "https" else 80))
        bracketed = f"[{address}]" if ":" in address else address
        netloc = bracketed if port is None else f"{bracketed}:{port}"
        return urlunsplit((parts.scheme, netloc, parts.path, parts.query, "")), host

    async def _resolved(self, host: str, port: int) -> str:
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
        mapped = getattr(parsed, "ipv4_mapped", None)
        public = mapped if mapped is not None else parsed
        return bool(public.is_global) and not public.is_multicast


class HttpSender:
    """Posts with a time-out; keeps the first kilobyte of an answer. Close it with `aclose`."""

    def __init__(self, guard: Guard, timeout_seconds: float) -> None:
        self._guard = guard
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=timeout_seconds,
            headers={"User-Agent": "vvwatch"},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send `body` once within the time-out. Whatever hinders it stands in the reply; nothing is raised."""
        started = time.monotonic()
        status: int | None = None
        text, error, retry_after = "", None, None
        try:
            with anyio.fail_after(self._timeout_seconds):
                target, host = await self._guard.pinned(url)
                status, text, retry_after = await self._exchange(target, host, body, headers)
        except DeliveryRefused as refusal:
            error = refusal.message
        except TimeoutError:
            error = f"no answer within {self._timeout_seconds:g} s"
        except httpx.HTTPError as failure:
            error = f"{type(failure).__name__}: the connection failed"
        except Exception as failure:  # noqa: BLE001  # as promised
            # The address is a user's and the answer a stranger's: neither may stop the worker that sends.
            error = f"{type(failure).__name__}: it could not be sent"
        return Reply(status, text, error, time.monotonic() - started, retry_after)

    async def _exchange(
        self, target: str, host: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, str, float | None]:
        port = urlsplit(target).port
        name = f"[{host}]" if ":" in host else host
        request = self._client.build_request(
            "POST",
            target,
            content=body,
            headers={**headers, "Host": name if port is None else f"{name}:{port}"},
            extensions={"sni_hostname": host},
        )
        response = await self._client.send(request, stream=True)
        try:
            text = await _beginning(response)
        finally:
            await response.aclose()
        return response.status_code, text, _retry_after(response.headers.get("Retry-After"))


def _destination(parts: SplitResult) -> tuple[str, int | None]:
    """The host as headers and certificates spell it, and the port if one is given. Raises DeliveryRefused."""
    try:
        return (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError as error:
        raise DeliveryRefused("the address has no valid host and port", "check the webhook's url") from error


async def _beginning(response: httpx.Response) -> str:
    kept = b""
    async for piece in response.aiter_raw():
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
