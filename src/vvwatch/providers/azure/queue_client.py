"""Requests to one queue of Azure Queue Storage, in the pipeline of the storage: the protocol is the same.

The SDK's own client would parse and sign in the same way; what it adds is another pipeline with settings of its own.
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
from vvwatch.providers.azure.errors import LATER, Operation, RequestContext, ServiceRefusal, translate_errors

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
_QUEUE: Final = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)


class QueueClient(AzureClient):
    """Asks the queue at `queue_url`; made, and raises, as AzureClient, and InvalidInput for what is no such address.

    Credentials go to queues of Azure alone, or to the host that `location` names.
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
        """The body of the answer; empty for a message that is gone, or another's by now. Raises StorageError."""
        asked = self.asked(operation)
        with _translate_errors(asked):
            response = await self._pipeline.send_request(self._built(request), stream=True)
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
    """An answer that is a success and still not what it should be."""
    return StorageUnavailable(
        f"{asked.failure}: something else than Azure Queue Storage answered",
        f"check the queue's address and proxy; {LATER}",
    )


@contextmanager
def _translate_errors(asked: RequestContext) -> Iterator[None]:
    """As `told`, with what only a queue refuses."""
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
            "create it (az storage queue create), or correct its address; vvwatch goes on when it is there",
        )
    if code == "AuthorizationPermissionMismatch":
        return AccessDenied(
            f"{what}: the identity has no right to ({code})",
            f"grant the role {asked.operation.role} on the queue",
        )
    return None


def _split_queue_url(queue_url: str, location: AzureLocation, *, by_key: bool) -> tuple[str, str]:
    """The address of the account, and the name of the queue. Raises InvalidInput."""
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
    """Where queues may be that are nowhere in Azure: at the host of the blobs, or beside it."""
    host = urlsplit(location.endpoint_url).hostname
    return (host, host.replace(".blob.", ".queue.", 1)) if host else ()


def _queue_missing(queue_url: str) -> InvalidInput:
    return InvalidInput(
        f"{queue_url.partition('?')[0]!r} is no queue of Azure that the connector could ask",
        "it is written https://ACCOUNT.queue.core.windows.net/QUEUE, without a signature",
    )
