"""Translate errors of SQS, and of S3 notifications; `errors` does so for objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from botocore.exceptions import ClientError

from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.providers.failures import LATER
from vvwatch.providers.replies import redirect_refused
from vvwatch.providers.s3.errors import Operation
from vvwatch.providers.s3.errors import translate_errors as translate_client_errors

_CODE: Final = re.compile(r"[\w.]{1,64}", re.ASCII)
_LACKS: Final = re.compile(r"is not authorized to perform: (kms:[A-Za-z]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """A request to a service: `what` fails without it, the permission it needs, and its resource."""

    what: str
    permission: str
    arn: str
    missing: str = ""
    """The hint when its resource does not exist."""


class NotTaken(StorageUnavailable):
    """Raised when a service rejects the content of a request. It stays within the modules of this queue."""


class Missing(StorageUnavailable):
    """Raised when the resource of a request does not exist."""


@contextmanager
def translate_errors(errand: QueueRequest) -> Iterator[None]:
    """Translate errors of the service and the network; no response text is passed on."""
    with translate_client_errors(Operation("asked", errand.permission), errand.arn, errand.arn):
        try:
            yield
        except ClientError as error:
            raise _translate(error, errand) from None


def _translate(error: ClientError, errand: QueueRequest) -> StorageError:
    said, metadata = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    if 300 <= status < 400 and (location := metadata.get("HTTPHeaders", {}).get("location", "")):
        return redirect_refused(
            errand.what, location, "set the queue's URL, endpoint_url and region to where they are"
        )
    code = str(said.get("Code", ""))
    code = code.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.") if _CODE.fullmatch(code) else ""
    if code.upper().startswith("KMS") and "Denied" in code:
        return _key_missing(errand, str(said.get("Message", "")), code)
    meaning = _BY_CODE.get(code) or _BY_STATUS.get(status) or _unexpected_response
    return meaning(errand, code or str(status))


def _key_missing(errand: QueueRequest, message: str, code: str) -> AccessDenied:
    lacks = _LACKS.search(message)
    return AccessDenied(
        f"{errand.what}: its key may not be used ({code})",
        f"grant {lacks[1] if lacks else 'kms:Decrypt'} on the key that encrypts {errand.arn}",
    )


def _access_denied(errand: QueueRequest, code: str) -> AccessDenied:
    return AccessDenied(
        f"{errand.what}: these credentials lack permission ({code})",
        f"grant {errand.permission} on {errand.arn}",
    )


def _queue_missing(errand: QueueRequest, code: str) -> Missing:
    return Missing(f"{errand.what}: {errand.arn} does not exist ({code})", errand.missing or LATER)


def _throttle(errand: QueueRequest, code: str) -> StorageThrottled:
    return StorageThrottled(f"{errand.what}: the service asks for fewer requests ({code})", LATER)


def _not_accepted(errand: QueueRequest, code: str) -> NotTaken:
    return NotTaken(f"{errand.what}: the service rejects that ({code})", LATER)


def _unexpected_response(errand: QueueRequest, code: str) -> StorageUnavailable:
    return StorageUnavailable(f"{errand.what}: the service answered {code}", LATER)


def _credentials_refused(why: str, hint: str) -> Callable[[QueueRequest, str], CredentialsRefused]:
    return lambda errand, code: CredentialsRefused(f"{errand.what}: {why} ({code})", hint)


_UNKNOWN: Final = _credentials_refused("the service does not know the access key", "check the access key id")
_EXPIRED: Final = _credentials_refused("the credentials have expired", "give new ones")
_UNSIGNED: Final = _credentials_refused(
    "the signature is wrong", "check the secret access key, the region and the clock"
)

_BY_CODE: Final[Mapping[str, Callable[[QueueRequest, str], StorageError]]] = {
    "AccessDenied": _access_denied,
    "AccessDeniedException": _access_denied,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "InvalidAccessKeyId": _UNKNOWN,
    "InvalidArgument": _not_accepted,
    "InvalidClientTokenId": _UNKNOWN,
    "InvalidParameterValue": _not_accepted,
    "InvalidSecurity": lambda errand, code: StorageUnavailable(
        f"{errand.what}: the service wants https ({code})", "give the queue's URL with https"
    ),
    "InvalidSignatureException": _UNSIGNED,
    "InvalidToken": _credentials_refused(
        "the session token is not valid", "give one that belongs to the access key"
    ),
    "MethodNotAllowed": _not_accepted,
    "NoSuchBucket": _queue_missing,
    "NonExistentQueue": _queue_missing,
    "NotImplemented": _not_accepted,
    "OverLimit": _throttle,  # too many messages are in flight
    "QueueDeletedRecently": _queue_missing,
    "QueueDoesNotExist": _queue_missing,
    "ReceiptHandleIsInvalid": _not_accepted,
    "RequestExpired": _EXPIRED,
    "RequestThrottled": _throttle,
    "RequestTimeTooSkewed": _credentials_refused(
        "this machine's clock and the service's are too far apart",
        "set the clock of this machine, say by NTP",
    ),
    "SignatureDoesNotMatch": _UNSIGNED,
    "SlowDown": _throttle,
    "Throttling": _throttle,
    "ThrottlingException": _throttle,
    "TooManyRequestsException": _throttle,
    "UnrecognizedClientException": _UNKNOWN,
}
_BY_STATUS: Final[Mapping[int, Callable[[QueueRequest, str], StorageError]]] = {
    401: _credentials_refused("the credentials are not accepted", "check them"),
    403: _access_denied,
    404: _queue_missing,
    429: _throttle,
    501: _not_accepted,
    503: _throttle,
}
