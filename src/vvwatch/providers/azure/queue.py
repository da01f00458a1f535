"""An Azure storage queue that receives a storage account's changes from Event Grid.

The service has no long poll: an empty queue is asked again after a growing pause.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar
from xml.etree.ElementTree import Element

from anyio import CapacityLimiter, create_task_group, sleep, to_thread

from vvwatch.errors import AccessDenied, StorageError
from vvwatch.ports import Finding, Message
from vvwatch.providers.azure.client import AzureAccountKey, AzureClientSecret, AzureLocation, Request
from vvwatch.providers.azure.events import parse_message
from vvwatch.providers.azure.listing import epoch_seconds
from vvwatch.providers.azure.queue_client import DELETE, READ, UPDATE, QueueClient, unexpected_response
from vvwatch.providers.markup import parse_xml

_MOST_MESSAGES: Final = 32
"""The most that the service gives at once."""
_MOST_RECEIVING: Final = 8
_AT_A_TIME: Final = 16
_HIDDEN_SECONDS: Final = 120
"""Far longer than recording a message takes, and the wait after a reader's death."""
_RELEASED_FOR_SECONDS: Final = 30
"""The delay before redelivery: without it released messages would return to us in a tight loop."""
_WAIT_SECONDS: Final = 20.0
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 5.0
"""Each request costs money: one every five seconds comes to a few dollars a year."""
_ID: Final = re.compile(r"[\w-]{1,64}", re.ASCII)
_T = TypeVar("_T")
_R = TypeVar("_R")


class StorageQueue:
    """The messages of the queue at `queue_url` about a container; see `ports.EventQueue`.

    Create it in a worker thread. Raises as QueueClient. `credentials` None: the machine's identity.
    """

    def __init__(
        self,
        queue_url: str,
        location: AzureLocation,
        credentials: AzureClientSecret | AzureAccountKey | None,
    ) -> None:
        self._client = QueueClient(queue_url, location, credentials)
        self._account, self._container = location.storage_account, location.container
        self._receiving = 1
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    async def receive(self) -> Sequence[Message]:
        """As `EventQueue.receive`; parallel requests fetch many messages."""
        waited = 0.0
        while True:
            messages = await self._receive_round()
            if messages:
                self._pause_seconds = _FIRST_PAUSE_SECONDS
                return messages
            if waited >= _WAIT_SECONDS:
                return ()
            await sleep(self._pause_seconds)
            waited += self._pause_seconds
            self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """As `EventQueue.acknowledge`."""
        _, failures = await _run_for_each(messages, self._delete)
        if failures:
            raise failures[0]

    async def release(self, messages: Sequence[Message]) -> None:
        """As `EventQueue.release`; without the right to update messages they return when due."""
        _, failures = await _run_for_each(messages, self._show)
        if failures and not isinstance(failures[0], AccessDenied):
            raise failures[0]

    async def examine(self) -> Sequence[Finding]:
        """As `EventQueue.examine`. Event Grid's subscriptions belong to another service and are not checked."""
        try:
            waiting = await self._messages({"peekonly": "true"})
        except StorageError as error:
            return [Finding("queue", "problem", error.message, error.hint)]
        found = Finding("queue", "ok", "it is there, and messages can be received")
        if any(message.events for message in waiting):
            return [
                found,
                Finding("notifications", "ok", f"events of {self._container!r} come into the queue"),
            ]
        return [found, self._report_unverified()]

    async def repair(self) -> Sequence[Finding]:
        """As `EventQueue.repair`; there is nothing to repair."""
        return await self.examine()

    async def aclose(self) -> None:
        """As `EventQueue.aclose`."""
        await self._client.aclose()

    async def _receive_round(self) -> list[Message]:
        """Return one round of messages, also if some of its requests fail."""
        hidden = {"visibilitytimeout": str(_HIDDEN_SECONDS)}
        answers, failures = await _run_for_each([hidden] * self._receiving, self._messages)
        messages = [message for answer in answers for message in answer]
        if failures and not messages:
            raise failures[0]
        full = len(messages) == _MOST_MESSAGES * self._receiving
        self._receiving = min(2 * self._receiving, _MOST_RECEIVING) if full else 1
        return messages

    async def _messages(self, query: dict[str, str]) -> list[Message]:
        request = Request("GET", "messages", {"numofmessages": str(_MOST_MESSAGES), **query})
        body = await self._client.ask(READ, request)
        try:
            return await to_thread.run_sync(parse_messages, body, self._account, self._container)
        except ValueError:
            raise unexpected_response(self._client.asked(READ)) from None

    async def _delete(self, message: Message) -> None:
        request = Request("DELETE", f"messages/{message.id}", {"popreceipt": message.receipt})
        await self._client.ask(DELETE, request)

    async def _show(self, message: Message) -> None:
        query = {"popreceipt": message.receipt, "visibilitytimeout": str(_RELEASED_FOR_SECONDS)}
        await self._client.ask(UPDATE, Request("PUT", f"messages/{message.id}", query, content=b""))

    def _report_unverified(self) -> Finding:
        return Finding(
            "notifications",
            "warning",
            "no event of the container is waiting, and with these rights it cannot be seen whether "
            "an event subscription sends them here: it should send Microsoft.Storage.BlobCreated to this queue",
            "az eventgrid event-subscription list --source-resource-id "
            f'"$(az storage account show --name {self._account} --query id --output tsv)" '
            '--query "[].{name:name, state:provisioningState, queue:destination.queueName, '
            'types:filter.includedEventTypes, subject:filter.subjectBeginsWith}"',
        )


def parse_messages(body: bytes, storage_account: str, container: str) -> list[Message]:
    """Return the messages in a response. Raises ValueError if it is none."""
    root = parse_xml(body.decode("utf-8-sig"))
    if root.tag != "QueueMessagesList":
        raise ValueError("not the shape of an answer")
    return [_to_message(each, storage_account, container) for each in root]


def _to_message(element: Element, storage_account: str, container: str) -> Message:
    """Return a message; a peeked one has no receipt."""
    name, text = element.findtext("MessageId", ""), element.findtext("MessageText", "")
    if not _ID.fullmatch(name):
        raise ValueError("a message has no id")
    sent_at = epoch_seconds(element.findtext("InsertionTime", ""))
    events, refusal = parse_message(text, storage_account, container)
    return Message(element.findtext("PopReceipt", ""), name, events, refusal, sent_at)


async def _run_for_each(
    items: Iterable[_T], work: Callable[[_T], Awaitable[_R]]
) -> tuple[list[_R], list[StorageError]]:
    """Return results and errors of the work on the items, some in parallel; a failure starts no more."""
    done: list[_R] = []
    failures: list[StorageError] = []
    limiter = CapacityLimiter(_AT_A_TIME)

    async def one(item: _T) -> None:
        async with limiter:
            if failures:
                return
            try:
                done.append(await work(item))
            except StorageError as error:
                failures.append(error)

    async with create_task_group() as tasks:
        for item in items:
            tasks.start_soon(one, item)
    return done, failures
