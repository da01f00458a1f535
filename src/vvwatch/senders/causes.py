"""Why a connection to a receiver failed, in one sentence without secrets."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

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
