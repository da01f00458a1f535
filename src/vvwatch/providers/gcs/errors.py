"""Translate errors of Google Cloud Storage and of the network.

No response text is passed on, except parts of a known form.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp

from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.providers.failures import LATER, connection_failed, describe_conflict, retry_after_seconds
from vvwatch.providers.replies import ReplyRefused, is_redirect, redirect_refused

_NO_HEADERS: Final[Mapping[str, str]] = {}
_PASSING: Final = frozenset((408, 429, 500, 502, 503, 504))
_RATE_LIMITS: Final = frozenset(("rateLimitExceeded", "userRateLimitExceeded"))
_MESSAGE_CHARACTERS: Final = 500
_LACKS: Final = re.compile(
    r"(?:(Anonymous caller|[\w.+-]+@[\w.-]+) )?does not have ([a-z]+\.[\w.]+) access", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on a bucket: the permission it needs, and the meaning of a failed condition.

    An operation `of_object` needs an object: a 404 then does not concern the bucket.
    """

    verb: str
    permission: str
    role: str
    conflict: type[ObjectChanged | ObjectExists]
    of_object: bool


LIST: Final = Operation("listed", "storage.objects.list", "Storage Object Viewer", ObjectChanged, False)
READ: Final = Operation("read", "storage.objects.get", "Storage Object Viewer", ObjectChanged, True)
CREATE: Final = Operation("created", "storage.objects.create", "Storage Object User", ObjectExists, False)
REPLACE: Final = Operation("replaced", "storage.objects.delete", "Storage Object User", ObjectChanged, True)
DELETE: Final = Operation("deleted", "storage.objects.delete", "Storage Object User", ObjectChanged, True)


class ServiceRefusal(Exception):
    """Raised for an unsuccessful response. It stays within the modules of this store."""

    def __init__(self, status: int, body: bytes = b"", headers: Mapping[str, str] = _NO_HEADERS) -> None:
        super().__init__(status)
        self.status = status
        self.reason, self.message = _read_error(body)
        self.retry_after_seconds = retry_after_seconds(headers.get("Retry-After"))
        self.location = headers["Location"] if is_redirect(status, headers) else ""


FAILURES: Final = (ServiceRefusal, aiohttp.ClientError, OSError)
"""The exceptions of an unsuccessful request."""


def is_transient(error: Exception) -> bool:
    """Return whether the same request may soon succeed; after a 401 with a fresh token."""
    if isinstance(error, ServiceRefusal):
        return error.status == 401 or (error.status in _PASSING and error.retry_after_seconds is None)
    return not isinstance(error, ssl.SSLError)


@contextmanager
def translate_errors(operation: Operation, bucket: str, uri: str) -> Iterator[None]:
    """Translate errors of the store and the network for `uri`."""
    what = f"{uri!r} cannot be {operation.verb}"
    try:
        yield
    except ReplyRefused as refused:
        raise refused.about(what) from None
    except ServiceRefusal as refused:
        raise _translate(_RefusalContext(refused, operation, bucket, what)) from None
    except (aiohttp.ClientError, OSError) as error:
        raise connection_failed(error, what) from None


def unexpected_response(what: str) -> StorageUnavailable:
    """Return the error for a successful response with unexpected content."""
    return StorageUnavailable(
        f"{what}: something other than Google Cloud Storage answered",
        "check endpoint_url and proxy; " + LATER,
    )


@dataclass(frozen=True, slots=True)
class _RefusalContext:
    """A refusal and its request."""

    refused: ServiceRefusal
    operation: Operation
    bucket: str
    what: str


def _translate(case: _RefusalContext) -> StorageError:
    refused = case.refused
    if refused.location:
        return redirect_refused(
            case.what, refused.location, "set endpoint_url to where the bucket is; check proxy"
        )
    if "requester pays" in refused.message:
        return AccessDenied(
            f"{case.what}: bucket {case.bucket!r} makes the requester pay",
            "set user_project to a project that pays; this needs serviceusage.services.use there",
        )
    if refused.status in (429, 503) or refused.reason in _RATE_LIMITS:
        message = f"{case.what}: the store asks for fewer requests"
        return StorageThrottled(message, LATER, refused.retry_after_seconds)
    return _BY_STATUS.get(refused.status, _other_refusal)(case)


def _credentials_refused(case: _RefusalContext) -> CredentialsRefused:
    return CredentialsRefused(
        f"{case.what}: the credentials are not accepted",
        "make a new key for the service account; to an http:// endpoint none is sent",
    )


def _access_denied(case: _RefusalContext) -> AccessDenied:
    lacks = _LACKS.search(case.refused.message)
    permission = lacks[2] if lacks else case.operation.permission
    role = f", which the role {case.operation.role} has" if permission == case.operation.permission else ""
    who = (lacks and lacks[1]) or "this identity"
    return AccessDenied(
        f"{case.what}: {who} may not ({case.refused.reason or 403})",
        f"grant {permission} on bucket {case.bucket!r}{role}",
    )


def _not_found(case: _RefusalContext) -> StorageError:
    if case.operation.of_object and "bucket does not exist" not in case.refused.message:
        return ObjectNotFound(f"{case.what}: it is not there")
    return StorageUnavailable(
        f"{case.what}: there is no bucket {case.bucket!r}",
        "create it or correct the name; vvwatch continues once it exists",
    )


def _conflict(case: _RefusalContext) -> StorageError:
    return describe_conflict(case.operation.conflict, case.what)


def _other_refusal(case: _RefusalContext) -> StorageError:
    status = case.refused.status
    message = f"{case.what}: the store answered {status} {case.refused.reason}".rstrip()
    if 400 <= status < 500 and status not in _PASSING:
        return StorageError(message, "check the bucket's name and its rules")
    return StorageUnavailable(message, LATER)


_BY_STATUS: Final[dict[int, Callable[[_RefusalContext], StorageError]]] = {
    401: _credentials_refused,
    403: _access_denied,
    404: _not_found,
    412: _conflict,
}


def _read_error(body: bytes) -> tuple[str, str]:
    """Return the code and the message in a refusal's body, which is plain text for media requests."""
    try:
        error = json.loads(body)["error"]
        reason, message = str(error["errors"][0]["reason"]), str(error["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        reason, message = "", body.decode(errors="replace")
    return reason if re.fullmatch(r"\w{1,60}", reason) else "", message[:_MESSAGE_CHARACTERS]
