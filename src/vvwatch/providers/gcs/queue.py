"""A Pub/Sub subscription that receives a bucket's change notifications.

It is pulled through the REST interface: one parse for many messages, and one request to delete them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from anyio import move_on_after, to_thread

from vvwatch.errors import InvalidInput
from vvwatch.ports import Finding, Message
from vvwatch.providers.gcs.errors import FAILURES, ServiceRefusal, is_transient, unexpected_response
from vvwatch.providers.gcs.events import parse_message as parse_bucket_message
from vvwatch.providers.gcs.listing import read_json
from vvwatch.providers.gcs.queue_checks import Examination
from vvwatch.providers.gcs.queue_requests import PULL, PubSubSession, post_request, translate_errors
from vvwatch.providers.gcs.session import Answer, GcsLocation, GcsSession, Request
from vvwatch.providers.gcs.settings import QUEUE_EXAMPLE, SUBSCRIPTION
from vvwatch.providers.messages import parse_time
from vvwatch.providers.replies import ReplyTooLarge

_MOST_MESSAGES: Final = 500
"""In one request; of notifications that is 1 MiB."""
_WAIT_SECONDS: Final = 20.0
"""Stop waiting after this time, because the service would hold its response for as long again."""
_RELEASED_FOR_SECONDS: Final = 30
"""The delay before redelivery: without it released messages would return to us in a tight loop."""
_TIMED_OUT: Final = 504


class PubSubQueue:
    """The messages of `subscription` (`projects/P/subscriptions/S`) about a bucket; see `ports.EventQueue`.

    `credentials` is the JSON of a service account, or None for the machine's identity; `endpoint_url` is an
    emulator's, which gets no credentials over http. Create it in a worker thread. Raises InvalidInput for an unusable
    name or credentials.
    """

    def __init__(
        self, subscription: str, location: GcsLocation, credentials: str | None, endpoint_url: str = ""
    ) -> None:
        if not re.fullmatch(SUBSCRIPTION, subscription, re.ASCII):
            raise InvalidInput(
                f"{subscription!r} is no subscription of Pub/Sub",
                f"it is written {QUEUE_EXAMPLE}",
            )
        self._subscription = subscription
        self._bucket = location.bucket
        self._session = PubSubSession(location, credentials, endpoint_url)
        self._storage = GcsSession(location, credentials)
        self._examination = Examination(subscription, location.bucket, self._session, self._storage)
        self._most = _MOST_MESSAGES

    async def receive(self) -> Sequence[Message]:
        """As `EventQueue.receive`."""
        content = {"maxMessages": self._most}
        request = post_request(self._session.address(self._subscription, "pull"), content)
        answer = None
        try:
            with move_on_after(_WAIT_SECONDS), translate_errors(PULL, self._subscription):
                answer = await self._pull(request)
        except ReplyTooLarge:
            self._most = max(1, self._most // 2)
            raise
        if answer is None:
            return ()
        try:
            messages = await to_thread.run_sync(parse_messages, answer.body, self._bucket)
        except ValueError:
            raise unexpected_response(f"{self._subscription!r} cannot be pulled from") from None
        self._most = _MOST_MESSAGES
        return messages

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """As `EventQueue.acknowledge`."""
        await self._tell_each("acknowledge", messages, {})

    async def release(self, messages: Sequence[Message]) -> None:
        """As `EventQueue.release`; others receive them after half a minute."""
        await self._tell_each("modifyAckDeadline", messages, {"ackDeadlineSeconds": _RELEASED_FOR_SECONDS})

    async def examine(self) -> Sequence[Finding]:
        """As `EventQueue.examine`."""
        return await self._examination.findings()

    async def repair(self) -> Sequence[Finding]:
        """As `EventQueue.repair`."""
        return await self._examination.repair()

    async def aclose(self) -> None:
        """As `EventQueue.aclose`."""
        await self._session.aclose()
        await self._storage.aclose()

    async def _pull(self, request: Request) -> Answer | None:
        """Return the response; None if the service had nothing in time.

        It retries only once, so a failure is reported before the wait is over.
        """
        try:
            return await self._session.ask_once(request)
        except FAILURES as error:
            if isinstance(error, ServiceRefusal) and error.status == _TIMED_OUT:
                return None
            if isinstance(error, TimeoutError) or not is_transient(error):
                raise
        return await self._session.ask_once(request)

    async def _tell_each(self, verb: str, messages: Sequence[Message], content: dict[str, int]) -> None:
        """Send a request for the messages. With exactly-once delivery, some are rejected as too old."""
        url = self._session.address(self._subscription, verb)
        for start in range(0, len(messages), _MOST_MESSAGES):
            receipts = [message.receipt for message in messages[start : start + _MOST_MESSAGES]]
            with translate_errors(PULL, self._subscription):
                try:
                    await self._session.ask(post_request(url, {"ackIds": receipts, **content}))
                except ServiceRefusal as refused:
                    if refused.status != 400:
                        raise


def parse_messages(body: bytes, bucket: str) -> list[Message]:
    """Return the messages in a pull response. Raises ValueError if it is none."""
    try:
        received = read_json(body or b"{}").get("receivedMessages", ())
        if len(received) > _MOST_MESSAGES:
            raise ValueError("more messages than requested")
        return [_to_message(each["ackId"], each["message"], bucket) for each in received]
    except (LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("not the shape of an answer to a pull") from None


def _to_message(receipt: str, message: dict[str, str], bucket: str) -> Message:
    events, refusal = parse_bucket_message(message, bucket)
    return Message(
        str(receipt), str(message["messageId"]), events, refusal, parse_time(message.get("publishTime"))
    )
