"""Translate errors of S3 and of the network.

No response text is passed on, except the error code and parts of a known form.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.providers.failures import (
    LATER,
    WRONG_CA,
    describe_conflict,
    os_reason,
    retry_after_seconds,
    tls_reason,
)
from vvwatch.providers.replies import ReplyRefused, redirect_refused

_NO_CREDENTIALS: Final = (
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
_LACKS: Final = re.compile(r"is not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)", re.ASCII)
_CODE: Final = re.compile(r"[\w.]{1,64}", re.ASCII)
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_NOT_IMPLEMENTED: Final = 501


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on a bucket: the permission it needs, and the meaning of a failed condition."""

    verb: str
    permission: str
    conflict: type[ObjectChanged | ObjectExists] = ObjectChanged
    of_bucket: bool = False


LIST: Final = Operation("listed", "s3:ListBucket", of_bucket=True)
READ: Final = Operation("read", "s3:GetObject")
READ_TAGS: Final = Operation("read", "s3:GetObjectTagging")
CREATE: Final = Operation("created", "s3:PutObject", conflict=ObjectExists)
REPLACE: Final = Operation("replaced", "s3:PutObject")
ABORT: Final = Operation("given up", "s3:AbortMultipartUpload")
DELETE: Final = Operation("deleted", "s3:DeleteObject")


class NotOffered(StorageUnavailable):
    """Raised when the store does not support the request. It stays within the modules of this store."""


class ArgumentRefused(StorageUnavailable):
    """Raised when the store rejects the request as invalid. It stays within the modules of this store."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An unsuccessful response and its request."""

    code: str
    status: int
    error: Mapping[str, Any]
    headers: Mapping[str, str]
    operation: Operation
    bucket: str
    what: str

    @property
    def region(self) -> str:
        """The bucket's region, if the response names it."""
        said = str(self.error.get("Region") or self.headers.get("x-amz-bucket-region") or "")
        return said if _REGION.fullmatch(said) else ""


@contextmanager
def translate_errors(operation: Operation, bucket: str, uri: str) -> Iterator[None]:
    """Translate errors of the service and the network for `uri`."""
    what = f"{uri!r} cannot be {operation.verb}"
    try:
        yield
    except ReplyRefused as refused:
        raise refused.about(what) from None
    except ClientError as error:
        raise _translate(_to_refusal(error, operation, bucket, what)) from None
    except (BotoCoreError, ResponseParserError, aiohttp.ClientError, OSError, ValueError) as error:
        raise _connection_failed(error, what) from None


def has_no_reason(error: ClientError) -> bool:
    """Return whether the refusal has no reason, as for every HEAD."""
    status = _status_of(error)
    return (400 <= status < 500 or status == _NOT_IMPLEMENTED) and error.response.get("Error", {}).get(
        "Code"
    ) == str(status)


def unexpected_response(what: str, why: str) -> StorageUnavailable:
    """Return the error for a successful response with unexpected content; `what` begins its message."""
    return StorageUnavailable(f"{what}: {why}", "check endpoint_url and proxy; " + LATER)


def _status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _to_refusal(error: ClientError, operation: Operation, bucket: str, what: str) -> _Refusal:
    said = error.response.get("Error", {})
    code = str(said.get("Code", ""))
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    printable = code if _CODE.fullmatch(code) else ""
    return _Refusal(printable, _status_of(error), said, headers, operation, bucket, what)


def _translate(refusal: _Refusal) -> StorageError:
    if refusal.code in _BY_CODE:
        return _BY_CODE[refusal.code](refusal)
    if refusal.status in _BY_STATUS:
        return _BY_STATUS[refusal.status](refusal)
    return StorageUnavailable(
        f"{refusal.what}: the store answered {refusal.status} {refusal.code}".rstrip(), LATER
    )


def _not_found(refusal: _Refusal) -> StorageError:
    if refusal.operation.of_bucket or refusal.operation is CREATE:
        return _bucket_missing(refusal)
    return ObjectNotFound(f"{refusal.what}: it is not there")


def _bucket_missing(refusal: _Refusal) -> StorageUnavailable:
    return StorageUnavailable(
        f"{refusal.what}: there is no bucket {refusal.bucket!r}",
        "create it or correct the name; vvwatch continues once it exists",
    )


def _upload_missing(refusal: _Refusal) -> StorageUnavailable:
    return StorageUnavailable(f"{refusal.what}: the store has dropped the upload", "vvwatch starts it again")


def _conflict(refusal: _Refusal) -> StorageError:
    return describe_conflict(refusal.operation.conflict, refusal.what)


def _object_archived(refusal: _Refusal) -> ObjectArchived:
    return ObjectArchived(
        f"{refusal.what}: it is archived", "restore it; vvwatch continues once it can be read"
    )


def _access_denied(refusal: _Refusal) -> AccessDenied:
    lacks = _LACKS.search(str(refusal.error.get("Message", "")))
    permission = lacks[1] if lacks else refusal.operation.permission
    resource = refusal.bucket if refusal.operation.of_bucket else f"{refusal.bucket}/*"
    where = f" on arn:aws:s3:::{resource}" if permission.startswith("s3:") else " on the bucket's key"
    rest = "; without s3:ListBucket an object that is not there looks so, too"
    return AccessDenied(
        f"{refusal.what}: these credentials lack permission ({refusal.code or refusal.status})",
        f"grant {permission}{where}{rest if refusal.operation is READ else ''}",
    )


def _credentials_refused(why: str, hint: str) -> Callable[[_Refusal], CredentialsRefused]:
    return lambda refusal: CredentialsRefused(f"{refusal.what}: {why} ({refusal.code})", hint)


def _malformed_request(refusal: _Refusal) -> StorageError:
    if refusal.region:
        return _bucket_elsewhere(refusal)
    return _credentials_refused("the credentials are malformed", "check the access key id and the region")(
        refusal
    )


def _bucket_elsewhere(refusal: _Refusal) -> StorageUnavailable:
    location = refusal.headers.get("location", "")
    if location and not refusal.region:
        return redirect_refused(refusal.what, location, "set endpoint_url or region to where the bucket is")
    hint = f"set region to {refusal.region!r}" if refusal.region else "set region to the bucket's own"
    return StorageUnavailable(f"{refusal.what}: bucket {refusal.bucket!r} is in another region", hint)


def _throttle(refusal: _Refusal) -> StorageThrottled:
    seconds = retry_after_seconds(refusal.headers.get("retry-after"))
    return StorageThrottled(f"{refusal.what}: the store asks for fewer requests", LATER, seconds)


def _not_offered(refusal: _Refusal) -> NotOffered:
    return NotOffered(f"{refusal.what}: the store does not offer that ({refusal.code})", LATER)


def _invalid_argument(refusal: _Refusal) -> ArgumentRefused:
    return ArgumentRefused(
        f"{refusal.what}: the store rejects the request as invalid ({refusal.code})", LATER
    )


_UNKNOWN: Final = _credentials_refused("the store does not know the access key", "check the access key id")
_EXPIRED: Final = _credentials_refused("the credentials have expired", "give new ones")

_BY_CODE: Final[Mapping[str, Callable[[_Refusal], StorageError]]] = {
    "AccessDenied": _access_denied,
    "AccountProblem": _access_denied,
    "AllAccessDisabled": _access_denied,
    "AuthorizationHeaderMalformed": _malformed_request,
    "ConditionalRequestConflict": lambda refusal: StorageUnavailable(
        f"{refusal.what}: another writer is active there", LATER
    ),
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "IllegalLocationConstraintException": _bucket_elsewhere,
    "InvalidAccessKeyId": _UNKNOWN,
    "InvalidClientTokenId": _UNKNOWN,
    "InvalidArgument": _invalid_argument,
    "InvalidObjectState": _object_archived,
    "InvalidRange": _conflict,
    "InvalidToken": _credentials_refused(
        "the session token is not valid", "give one that belongs to the access key"
    ),
    "KeyTooLongError": _not_found,
    "NoSuchBucket": _bucket_missing,
    "NoSuchKey": _not_found,
    "NoSuchUpload": _upload_missing,
    "NotImplemented": _not_offered,
    "PermanentRedirect": _bucket_elsewhere,
    "PreconditionFailed": _conflict,
    "RequestExpired": _EXPIRED,
    "RequestLimitExceeded": _throttle,
    "RequestTimeTooSkewed": _credentials_refused(
        "this machine's clock and the store's are too far apart", "set the clock of this machine, say by NTP"
    ),
    "ServiceUnavailable": _throttle,
    "SignatureDoesNotMatch": _credentials_refused("the signature is wrong", "check the secret access key"),
    "SlowDown": _throttle,
    "TemporaryRedirect": _bucket_elsewhere,
    "Throttling": _throttle,
    "ThrottlingException": _throttle,
    "TokenRefreshRequired": _EXPIRED,
    "TooManyRequests": _throttle,
}
_BY_STATUS: Final[Mapping[int, Callable[[_Refusal], StorageError]]] = {
    301: _bucket_elsewhere,
    302: _bucket_elsewhere,
    303: _bucket_elsewhere,
    307: _bucket_elsewhere,
    308: _bucket_elsewhere,
    401: _credentials_refused("the credentials are not accepted", "check them"),
    403: _access_denied,
    404: _not_found,
    405: _not_found,  # a delete marker is there
    412: _conflict,
    416: _conflict,
    429: _throttle,
    501: _not_offered,
    503: _throttle,
}


def _connection_failed(error: Exception, what: str) -> StorageError:
    """Return the error for a request that failed to be sent, or without a readable response."""
    if isinstance(error, _NO_CREDENTIALS):
        return CredentialsRefused(
            f"{what}: this machine has no credentials for it ({type(error).__name__})",
            "give the machine a role or the daemon's environment credentials, or the connector an access key",
        )
    why, hint = _describe_failure(error)
    return StorageUnavailable(f"{what}: {why}", hint)


def _describe_failure(error: Exception) -> tuple[str, str]:
    cause = error.kwargs.get("error") if isinstance(error, BotoCoreError) else None
    if isinstance(error, SSLError):
        return (
            f"no TLS with the server: {tls_reason(cause)}",
            WRONG_CA,
        )
    if isinstance(cause, FileNotFoundError | ssl.SSLError):
        return f"ca_file cannot be used: {tls_reason(cause)}", "check ca_file"
    if isinstance(error, ProxyConnectionError):
        return "the proxy does not let it through", "check proxy; " + LATER
    if isinstance(cause, aiohttp.ClientConnectorError):
        return f"{cause.host}:{cause.port} cannot be reached: {os_reason(cause.os_error)}", LATER
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
        return "no answer in time", LATER
    return f"it broke off ({type(error).__name__})", "check the connector's settings; " + LATER
