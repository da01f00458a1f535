"""An SQS queue that receives a bucket's events: directly, through SNS or through EventBridge.

One long poll while few messages arrive, up to sixteen short ones in parallel while many do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from anyio import create_task_group, lowlevel

from vvwatch.errors import StorageError
from vvwatch.ports import Finding, Message
from vvwatch.providers.replies import ReplyTooLarge
from vvwatch.providers.s3 import events
from vvwatch.providers.s3.client import S3Credentials, S3Location
from vvwatch.providers.s3.queue_address import parse_queue_url
from vvwatch.providers.s3.queue_checks import Examination
from vvwatch.providers.s3.queue_client import LONG_POLL_SECONDS, SqsClient
from vvwatch.providers.s3.tasks import run_in_parallel

_BATCH: Final = 10
"""The most that SQS takes or gives in one request."""
_ENOUGH_MESSAGES: Final = 400
_MOST_LANES: Final = 16
_BATCHES_AT_ONCE: Final = 8
_VISIBILITY_SECONDS: Final = 120
"""How long received messages stay hidden, whatever the queue's setting: time to commit, not to process."""
_RELEASED_SECONDS: Final = 30
"""The delay before a released message returns: without it, it would return to us in a tight loop."""


class SqsQueue:
    """The queue at `queue_url` with the events of the bucket of `location`.

    It needs sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes. Raises
    InvalidInput for a URL of no queue.
    """

    def __init__(self, queue_url: str, location: S3Location, credentials: S3Credentials | None) -> None:
        anywhere = bool(location.endpoint_url)
        address = parse_queue_url(queue_url, region=location.region, anywhere=anywhere)
        self._bucket = location.bucket
        self._aws = not location.endpoint_url
        self._client = SqsClient(address, location, credentials)
        self._examination = Examination(self._client)
        self._lanes = 1
        self._most = _BATCH

    async def receive(self) -> Sequence[Message]:
        """As `EventQueue.receive`: up to 560 messages. After a cancellation they return within two minutes."""
        found: list[Message] = []
        while True:
            lanes = self._lanes
            patient = lanes == 1 and not found
            count = await self._receive_round(lanes, LONG_POLL_SECONDS if patient else 0, found)
            many = 2 * count > lanes * _BATCH
            self._lanes = min(2 * lanes, _MOST_LANES) if many else max(lanes // 2, 1)
            if (found or patient) and (not many or len(found) >= _ENOUGH_MESSAGES):
                return found

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """As `EventQueue.acknowledge`."""
        await self._in_batches("delete_message_batch", "sqs:DeleteMessage", messages)

    async def release(self, messages: Sequence[Message]) -> None:
        """As `EventQueue.release`: any reader may receive them after half a minute."""
        name, permission = "change_message_visibility_batch", "sqs:ChangeMessageVisibility"
        await self._in_batches(name, permission, messages, VisibilityTimeout=_RELEASED_SECONDS)

    async def examine(self) -> Sequence[Finding]:
        """As `EventQueue.examine`. It may peek at one message, which counts as a receipt."""
        return await self._examination.examine()

    async def repair(self) -> Sequence[Finding]:
        """As `EventQueue.repair`; also needs sqs:SetQueueAttributes and s3:PutBucketNotification."""
        return await self._examination.repair()

    async def aclose(self) -> None:
        """As `EventQueue.aclose`."""
        await self._client.aclose()

    async def _receive_round(self, lanes: int, wait_seconds: int, found: list[Message]) -> int:
        """Add the messages of so many parallel requests to `found`; return their number.

        A failed request loses nothing that others received.
        """
        before = len(found)
        failures: list[StorageError] = []

        async def poll() -> None:
            try:
                found.extend(await self._poll(wait_seconds))
            except StorageError as error:
                failures.append(error)

        async with create_task_group() as tasks:
            for _ in range(lanes):
                tasks.start_soon(poll)
        if failures and not found:
            self._lanes = 1
            raise failures[0]
        return len(found) - before

    async def _poll(self, wait_seconds: int) -> list[Message]:
        try:
            answer = await self._client.of_queue(
                "receive_message",
                "sqs:ReceiveMessage",
                MaxNumberOfMessages=self._most,
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=_VISIBILITY_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        except ReplyTooLarge:  # a message may be a mebibyte, and its escapes as much again
            self._most = 1
            raise
        self._most = _BATCH
        messages = []
        for said in answer.get("Messages", ()):
            messages.append(self._message(said))
            await lowlevel.checkpoint()  # one may be a mebibyte
        return messages

    def _message(self, said: Mapping[str, Any]) -> Message:
        parsed = events.parse_message(said.get("Body", ""), self._bucket, aws=self._aws)
        sent = said.get("Attributes", {}).get("SentTimestamp", "")
        sent_at = int(sent) / 1000 if sent.isdecimal() else None
        return Message(said["ReceiptHandle"], said["MessageId"], parsed.events, parsed.refusal, sent_at)

    async def _in_batches(self, name: str, permission: str, messages: Sequence[Message], **each: int) -> None:
        """Send the request for all messages. Raises the first failure at the end; messages that SQS declines return."""
        failures: list[StorageError] = []

        async def ask(batch: Sequence[Message]) -> None:
            entries = [{"Id": str(i), "ReceiptHandle": m.receipt, **each} for i, m in enumerate(batch)]
            try:
                await self._client.of_queue(name, permission, Entries=entries)
            except StorageError as error:
                failures.append(error)

        await run_in_parallel(_BATCHES_AT_ONCE, ask, _split_batches(messages))
        if failures:
            raise failures[0]


async def _split_batches(messages: Sequence[Message]) -> AsyncIterator[Sequence[Message]]:
    for start in range(0, len(messages), _BATCH):
        yield messages[start : start + _BATCH]
