"""Translate network failures that all stores have in common."""

from __future__ import annotations

import os
import ssl
from typing import Any, Final

import aiohttp

from vvwatch.errors import ObjectChanged, ObjectExists, StorageUnavailable

LATER: Final = "it is tried again automatically"
"""The hint for a failure that needs nobody's help."""

WRONG_CA: Final = (
    "set ca_file to the certificate of the authority that signed the server's, and check the address"
)
_LONGEST_RETRY_AFTER_SECONDS: Final = 86_400.0


def describe_conflict(kind: type[ObjectChanged | ObjectExists], what: str) -> ObjectChanged | ObjectExists:
    """Return the error for a condition that the object at hand does not meet; `what` begins its message."""
    if kind is ObjectExists:
        return ObjectExists(
            f"{what}: an object already exists there", "choose another name or remove that object"
        )
    return ObjectChanged(
        f"{what}: it is not the requested version", "the new version is picked up automatically"
    )


def retry_after_seconds(header: str | None) -> float | None:
    """Return the seconds in a Retry-After header, at most a day; None without a number."""
    if header is None or not header.isdecimal():
        return None
    return min(float(header), _LONGEST_RETRY_AFTER_SECONDS)


def connection_failed(error: Exception, what: str, unreachable: str = LATER) -> StorageUnavailable:
    """Return the error for a request without a complete response; `unreachable` is the hint for a missing server."""
    if isinstance(error, ssl.SSLError):
        server = "the server"
        if isinstance(error, aiohttp.ClientConnectorError):
            server = f"{error.host}:{error.port}"
        return StorageUnavailable(f"{what}: no TLS with {server}: {tls_reason(error)}", WRONG_CA)
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return StorageUnavailable(f"{what}: the proxy does not let it through", f"check proxy; {LATER}")
    if isinstance(error, aiohttp.ClientConnectorError):
        why = f"{error.host}:{error.port} cannot be reached: {os_reason(error.os_error)}"
        return StorageUnavailable(f"{what}: {why}", unreachable)
    if isinstance(error, TimeoutError):
        return StorageUnavailable(f"{what}: no answer in time", LATER)
    return StorageUnavailable(f"{what}: the connection broke off ({type(error).__name__})", LATER)


def os_reason(error: OSError) -> str:
    """Return why a connection failed; the strerror of asyncio repeats the address."""
    number = error.errno or 0  # a resolver's are negative
    return os.strerror(number) if number > 0 else error.strerror or type(error).__name__


def tls_reason(error: Any) -> str:
    """Return why TLS failed."""
    found = getattr(error, "certificate_error", error)
    return (
        getattr(found, "verify_message", "")
        or getattr(found, "reason", "")
        or getattr(found, "strerror", "")
        or "it broke off"
    )
