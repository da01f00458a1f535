"""Requests to one Azure storage queue in the storage's pipeline, because the protocol is the same.

The SDK's own client parses and signs in the same way; it would only add another pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from vvwatch.errors import AccessDenied, InvalidInput, StorageError, StorageUnavailable
from vvwatch.providers.azure.client import (
    AzureAccountKey,
    AzureClient,
    AzureClientSecret,
    AzureLocation,
    Request,
)
from vvwatch.providers.azure.errors import Operation, RequestContext, ServiceRefusal, translate_errors
from vvwatch.providers.azure.settings import QUEUE_NAME
from vvwatch.providers.failures import LATER

ROLE: Final = "Storage Queue Data Message Processor"
READ: Final = Operation("read", ROLE)
DELETE: Final = Operation("relieved of a message", ROLE)
UPDATE: Final = Operation("updated", "Storage Queue Data Contributor")

_GONE: Final = ("MessageNotFound", "PopReceiptMismatch")
_NO_QUEUE: Final = ("QueueNotFound", "QueueBeingDeleted", "QueueDisabled")
_PUBLIC: Final = re.compile(
    r"([a-z0-9]{3,24})(?:\.z\d{1,3})?\.queue\."
    r"(?:core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)|storage\.azure\.net)",
    re.ASCII,
)
_QUEUE: Final = re.compile(QUEUE_NAME, re.ASCII)


class QueueClient(AzureClient):
    """Requests to the queue at `queue_url`. Raises as AzureClient, and InvalidInput for an address of no queue.

    Credentials go only to queues in Azure, or to the host in `location`.
    """

    def __init__(
        self,
        queue_url: str,
        location: AzureLocation,
        credentials: AzureClientSecret | AzureAccountKey | None,
    ) -> None:
        endpoint_url, queue = _split_queue_url(
            queue_url, location, by_key=isinstance(credentials, AzureAccountKey)
        )
        settings = location.authority_url, location.ca_file, location.proxy
        super().__init__(AzureLocation(location.storage_account, queue, endpoint_url, *settings), credentials)

    async def ask(self, operation: Operation, request: Request) -> bytes:
        """Return the response body; empty if the message is gone or another reader's. Raises StorageError."""
        asked = self.asked(operation)
        with _translate_errors(asked):
            response = await self._pipeline.send_request(self._build_request(request), stream=True)
            try:
                body = await self.whole(operation, "", response)
                if response.status_code < 300:
                    return body
                refused = ServiceRefusal(response.status_code, response.headers)
                if refused.code in _GONE:
                    return b""
                raise refused
            finally:
                await response.close()


def unexpected_response(asked: RequestContext) -> StorageUnavailable:
    """Return the error for a successful response with unexpected content."""
    return StorageUnavailable(
        f"{asked.failure}: something other than Azure Queue Storage answered",
        f"check the queue's address and proxy; {LATER}",
    )


@contextmanager
def _translate_errors(asked: RequestContext) -> Iterator[None]:
    """Translate errors as for blobs, and those that only queues have."""
    with translate_errors(asked):
        try:
            yield
        except ServiceRefusal as refused:
            meaning = _translate(refused, asked)
            if meaning is None:
                raise
            raise meaning from None


def _translate(refused: ServiceRefusal, asked: RequestContext) -> StorageError | None:
    what, code = asked.failure, refused.code
    if code in _NO_QUEUE:
        return StorageUnavailable(
            f"{what}: there is no such queue ({code})",
            "create it (az storage queue create), or correct its address; vvwatch continues once it exists",
        )
    if code == "AuthorizationPermissionMismatch":
        return AccessDenied(
            f"{what}: the identity lacks permission ({code})",
            f"grant the role {asked.operation.role} on the queue",
        )
    return None


def _split_queue_url(queue_url: str, location: AzureLocation, *, by_key: bool) -> tuple[str, str]:
    """Return the account's address and the queue's name. Raises InvalidInput."""
    try:
        parts = urlsplit(queue_url)
        host = parts.hostname or ""
    except ValueError:
        raise _queue_missing(queue_url) from None
    account, _, queue = parts.path.rpartition("/")
    public = _PUBLIC.fullmatch(parts.netloc) if parts.scheme == "https" and not account else None
    ours = parts.scheme in ("http", "https") and host in _own_hosts(location) and "@" not in parts.netloc
    if not (public or ours) or not _QUEUE.fullmatch(queue) or parts.query or parts.fragment:
        raise _queue_missing(queue_url)
    if public and by_key and public[1] != location.storage_account:
        raise InvalidInput(
            f"the queue {queue_url!r} is of another storage account than the key",
            f"use a queue of {location.storage_account!r}, or a client secret",
        )
    return f"{parts.scheme}://{parts.netloc}{account}", queue


def _own_hosts(location: AzureLocation) -> tuple[str, ...]:
    """Return the hosts of queues outside Azure: the blobs' own host, or its sibling."""
    host = urlsplit(location.endpoint_url).hostname
    return (host, host.replace(".blob.", ".queue.", 1)) if host else ()


def _queue_missing(queue_url: str) -> InvalidInput:
    return InvalidInput(
        f"{queue_url.partition('?')[0]!r} is no queue of Azure that the connector could ask",
        "it is written https://ACCOUNT.queue.core.windows.net/QUEUE, without a signature",
    )
