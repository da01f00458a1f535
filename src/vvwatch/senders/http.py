"""Send webhooks over HTTP(S), guarded: each connection resolves the name, checks the address and uses that address.

So no name reaches the daemon's network, not even one that resolves to another address after the check. Redirects are
not followed, and proxies of the environment are not used. Names that share an address share no connection, because a
certificate was checked for one of them only.
"""

from __future__ import annotations

import errno
import math
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import anyio
import httpcore2

from vvwatch.core.shortages import shortage_in
from vvwatch.errors import DeliveryRefused, MachineShortage
from vvwatch.ports import Reply
from vvwatch.senders.connections import Connections
from vvwatch.senders.guard import Guard

_KEPT_BODY_BYTES = 1024
_OURS = {"User-Agent": "vvwatch"}
_LONGEST_RETRY_AFTER_SECONDS = 86_400.0


class HttpSender:
    """Posts with a timeout and keeps the first kilobyte of the response. Close it with `aclose`."""

    def __init__(self, guard: Guard, timeout_seconds: float, ca_file: Path | None = None) -> None:
        self.guard = guard
        self._timeout_seconds = timeout_seconds
        self._connections = Connections(guard, ca_file)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connections.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send `body` once, within the timeout. The reply has the error of a failure; nothing is raised."""
        started = time.monotonic()
        status: int | None = None
        text, error, retry_after, shortage = "", None, None, None
        try:
            target, host = self.guard.parse_url(url)
            status, text, retry_after = await self._exchange(target, {"Host": host, **_OURS, **headers}, body)
        except Exception as failure:  # noqa: BLE001  # as promised
            # The address is a user's and the answer a stranger's: neither may stop the worker that sends.
            shortage = shortage_in(failure)
            error = self._describe(failure, shortage)
        return Reply(status, text, error, time.monotonic() - started, retry_after, shortage)

    async def reach(self, url: str) -> str | None:
        """Connect, and agree on TLS, within the timeout, without a request; return why that failed, None if it did not.

        Nothing is raised.
        """
        try:
            target, _ = self.guard.parse_url(url)
            with anyio.fail_after(self._timeout_seconds):
                await self._connections.try_connect(target, self._timeout_seconds)
        except TimeoutError:
            return self._describe(httpcore2.ConnectTimeout(), None)
        except Exception as failure:  # noqa: BLE001  # as `post`
            return self._describe(failure, shortage_in(failure))
        return None

    def _describe(self, failure: Exception, shortage: MachineShortage | None) -> str:
        if shortage is not None:
            return shortage.message
        if isinstance(failure, DeliveryRefused):
            return failure.message
        if isinstance(failure, httpcore2.TimeoutException):
            return f"no answer within {self._timeout_seconds:g} s"
        if isinstance(failure, httpcore2.NetworkError | httpcore2.ProtocolError):
            return describe_cause(failure) or f"{type(failure).__name__}: the connection failed"
        return f"{type(failure).__name__}: it could not be sent"

    async def _exchange(
        self, target: httpcore2.URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, float | None]:
        whole = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        ends_at = anyio.current_time() + self._timeout_seconds
        request = self._connections.request("POST", target, whole, self._timeout_seconds, content=body)
        async with request as response:
            text = await _read_beginning(response, ends_at)
        answered = {name.lower(): value for name, value in response.headers}
        return response.status, text, _parse_retry_after(answered.get(b"retry-after", b"").decode("latin-1"))


async def _read_beginning(response: httpcore2.Response, ends_at: float) -> str:
    """Return the start of the body that arrives until `ends_at`; it may be cut, the status alone decides."""
    kept = b""
    with anyio.CancelScope(deadline=ends_at), suppress(httpcore2.NetworkError, httpcore2.ProtocolError):
        async for piece in response.aiter_stream():
            kept += piece
            if len(kept) >= _KEPT_BODY_BYTES:
                break
    return kept[:_KEPT_BODY_BYTES].decode("utf-8", "replace")


def _parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110 §10.2.3), bounded; None if absent or invalid."""
    if not value:
        return None
    try:
        seconds = _seconds_until_date(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)


def _seconds_until_date(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return parsedate_to_datetime(value).timestamp() - time.time()


_BY_ERRNO: Final = {
    errno.ECONNREFUSED: "the connection was refused: nothing listens there",
    errno.ECONNRESET: "the connection was reset by the receiver",
    errno.EPIPE: "the connection was closed by the receiver",
    errno.EHOSTUNREACH: "the host cannot be reached: there is no route to it",
    errno.ENETUNREACH: "the host cannot be reached: there is no route to it",
    errno.ETIMEDOUT: "the host cannot be reached: it did not answer in time",
}
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


def describe_cause(failure: BaseException) -> str:
    """Return the root cause of a connection error in words; empty if it is unknown."""
    chain = list(_list_causes(failure))
    for error in chain:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the TLS certificate is not accepted: {error.verify_message or error.reason}"
        if isinstance(error, ssl.SSLError):
            return _describe_tls(error)
        if isinstance(error, socket.gaierror):
            return "the host name does not resolve"
    errors = (error.errno for error in chain if isinstance(error, OSError))
    return next((_BY_ERRNO[number] for number in errors if number in _BY_ERRNO), "")


def _describe_tls(error: ssl.SSLError) -> str:
    if error.reason in _NOT_TLS:
        return "TLS failed: what listens there speaks plain http"
    return f"TLS failed: {(error.reason or 'no agreement').lower().replace('_', ' ')}"


def _list_causes(failure: BaseException) -> Iterator[BaseException]:
    """Yield the error, its causes and contexts, and the members of groups."""
    seen: set[int] = set()
    waiting = [failure]
    while waiting:
        error = waiting.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [each for each in (error.__cause__, error.__context__) if each is not None]
        waiting += error.exceptions if isinstance(error, BaseExceptionGroup) else ()
