"""Translate errors of Azure Blob Storage, of Entra ID and of the network.

No response text is passed on; only the error code of a refusal is used.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from azure.core.exceptions import AzureError, ClientAuthenticationError

from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.providers.failures import LATER, connection_failed, describe_conflict, retry_after_seconds
from vvwatch.providers.replies import ReplyRefused, is_redirect, redirect_refused

_ARCHIVED: Final = ("BlobArchived", "BlobBeingRehydrated")
_THERE: Final = ("BlobAlreadyExists", "UnauthorizedBlobOverwrite", "InvalidBlockList")
_UNHEARD_OF: Final = ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation")
_NO_CONTAINER: Final = ("ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled")
_NO_SUCH_NAME: Final = ("InvalidUri", "InvalidResourceName", "OutOfRangeInput")
_SKEW_SECONDS: Final = 300.0
"""The clock difference worth mentioning; the service refuses at 900."""

_SIGN_IN_CODE: Final = re.compile(r"AADSTS\d{1,9}", re.ASCII)
_SIGN_IN_HINTS: Final = {
    "AADSTS7000215": "the client secret is wrong: give the value of the secret, not its id",
    "AADSTS7000222": "the client secret has expired: make a new one for the application",
    "AADSTS700016": "the tenant does not know the application: correct client_id or tenant_id",
    "AADSTS90002": "there is no such tenant: correct tenant_id",
    "AADSTS900023": "there is no such tenant: correct tenant_id",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on a container: the role it needs, and the meaning of a failed condition."""

    verb: str
    role: str
    conflict: type[ObjectChanged | ObjectExists] = ObjectChanged


LIST: Final = Operation("listed", "Storage Blob Data Reader")
READ: Final = Operation("read", "Storage Blob Data Reader")
CREATE: Final = Operation("created", "Storage Blob Data Contributor", ObjectExists)
REPLACE: Final = Operation("replaced", "Storage Blob Data Contributor")
DELETE: Final = Operation("deleted", "Storage Blob Data Contributor")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A request: its operation, its address, and whether the account key signed it."""

    operation: Operation
    uri: str
    by_key: bool

    @property
    def failure(self) -> str:
        """Return the beginning of an error message."""
        return f"{self.uri!r} cannot be {self.operation.verb}"


class ServiceRefusal(Exception):
    """Raised for an unsuccessful response. It stays within the modules of this store."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        code = headers.get("x-ms-error-code", "")
        self.code = code if re.fullmatch(r"\w{1,80}", code, re.ASCII) else ""


@contextmanager
def translate_errors(asked: RequestContext) -> Iterator[None]:
    """Translate errors of the store and the network."""
    try:
        yield
    except ReplyRefused as refused:
        raise refused.about(asked.failure) from None
    except ServiceRefusal as refused:
        raise _translate(refused, asked) from None
    except ClientAuthenticationError:
        raise _key_unusable(asked) from None
    except (AzureError, aiohttp.ClientError, OSError) as error:
        raise _connection_failed(error, asked.failure, "storage_account and endpoint_url") from None


def unexpected_response(asked: RequestContext) -> StorageUnavailable:
    """Return the error for a successful response with unexpected content."""
    return StorageUnavailable(
        f"{asked.failure}: something other than Azure Blob Storage answered",
        f"check endpoint_url and proxy; {LATER}",
    )


def sign_in_failed(error: AzureError, *, ambient: bool) -> StorageUnavailable:
    """Return why there is no token: the application is refused, no identity, or no answer from Entra ID."""
    if not isinstance(error, ClientAuthenticationError):
        return _connection_failed(error, "no sign-in at Entra ID", "authority_url")
    found = _SIGN_IN_CODE.search(str(error.message))
    if found:
        hint = _SIGN_IN_HINTS.get(found[0], "look the code up in the documentation of Entra ID")
        return CredentialsRefused(f"Entra ID refuses the application ({found[0]})", hint)
    if ambient:
        return CredentialsRefused(
            "no sign-in at Entra ID: this machine has no identity there",
            "give it a managed identity, or the connector tenant_id, client_id and a client secret",
        )
    return StorageUnavailable(
        "no sign-in at Entra ID: it is out of order, or something other than it answered",
        f"check authority_url and proxy; {LATER}",
    )


def _translate(refused: ServiceRefusal, asked: RequestContext) -> StorageError:
    return (
        _translate_object(refused, asked)
        or _translate_identity(refused, asked)
        or _translate_service(refused, asked)
    )


def _translate_object(refused: ServiceRefusal, asked: RequestContext) -> StorageError | None:
    code, what = refused.code, asked.failure
    if code == "BlobNotFound":
        return ObjectNotFound(f"{what}: it is not there")
    if code in _ARCHIVED:
        return ObjectArchived(
            f"{what}: it is in the archive tier", "set its tier to hot or cool; it is read when that is done"
        )
    if code in _THERE or refused.status == 412:
        return _translate_conflict(code, asked)
    if code in _NO_SUCH_NAME:
        nowhere = OutsideLocation if asked.operation is CREATE else ObjectNotFound
        return nowhere(f"{what}: the store has no such names ({code})")
    return None


def _translate_conflict(code: str, asked: RequestContext) -> StorageError:
    if code.startswith("Lease"):
        return StorageError(
            f"{asked.failure}: somebody holds a lease on it", "break the lease, or wait for its end"
        )
    return describe_conflict(asked.operation.conflict, asked.failure)


def _translate_identity(refused: ServiceRefusal, asked: RequestContext) -> StorageError | None:
    code, what = refused.code, asked.failure
    if code == "KeyBasedAuthenticationNotPermitted":
        return CredentialsRefused(
            f"{what}: the account takes no keys",
            "allow them there, or give a client secret in place of the key",
        )
    # Azurite says so of a wrong key; Azure means a network rule, which concerns no single blob either
    wrong_key = asked.by_key and code == "AuthorizationFailure"
    if code in _UNHEARD_OF or refused.status == 401 or wrong_key:
        return CredentialsRefused(
            f"{what}: the credentials are not accepted ({code or refused.status})",
            _clock_skew_hint(refused.headers.get("Date"))
            or "check them, and the network rules of the storage account",
        )
    if refused.status == 403:
        return AccessDenied(
            f"{what}: the identity lacks permission ({code or refused.status})",
            f"grant the role {asked.operation.role} on the container, and check the account's network rules",
        )
    return None


def _translate_service(refused: ServiceRefusal, asked: RequestContext) -> StorageError:
    status, code, what = refused.status, refused.code, asked.failure
    if is_redirect(status, refused.headers):
        location = refused.headers["Location"]
        return redirect_refused(
            what, location, "set storage_account or endpoint_url to where it is; check proxy"
        )
    if status in (429, 503):
        retry_after = retry_after_seconds(refused.headers.get("Retry-After"))
        return StorageThrottled(f"{what}: the store asks for fewer requests", LATER, retry_after)
    if code in _NO_CONTAINER or (status == 404 and code == "ResourceNotFound"):
        return StorageUnavailable(
            f"{what}: there is no such container ({code})",
            "create it, or correct container and storage_account; vvwatch continues once it exists",
        )
    if not code and status < 500:
        return unexpected_response(asked)
    message = f"{what}: the store answered {status} {code}".rstrip()
    if status in (408, 409) or status >= 500:
        return StorageUnavailable(message, LATER)
    return StorageError(message, "look the code up in the documentation of Azure Blob Storage")


def _key_unusable(asked: RequestContext) -> CredentialsRefused:
    return CredentialsRefused(
        f"{asked.failure}: the account key cannot sign", "give the key as Azure shows it, base64"
    )


def _connection_failed(error: Exception, what: str, address: str) -> StorageUnavailable:
    """Return the error for a request without a complete response; `address` names the settings to check."""
    cause = getattr(error, "inner_exception", None) or error
    return connection_failed(cause, what, f"check {address}; {LATER}")


def _clock_skew_hint(date: str | None) -> str:
    """Return the hint if this machine's clock is the likely cause; empty if not."""
    try:
        ahead = time.time() - parsedate_to_datetime(date or "").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return ""
    if abs(ahead) < _SKEW_SECONDS:
        return ""
    side = "ahead of" if ahead > 0 else "behind"
    return f"set this machine's clock: it is {abs(ahead):,.0f} seconds {side} the store's"
