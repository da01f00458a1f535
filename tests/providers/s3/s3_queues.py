"""Buckets of S3 that tell a queue of SQS of their objects: directly, through SNS or through EventBridge."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from tests.emulators.s3_server import S3Server, raw_client
from tests.providers.s3.s3_buckets import Bucket, bucket_of
from vvwatch.ports import Message
from vvwatch.providers.s3.queue import SqsQueue
from vvwatch.providers.s3.storage import S3Credentials

EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectRestore:Completed"]
DEADLINE_SECONDS = 20.0
HOSTILE_KEYS = [
    "a b.mp4",
    "a+b.mp4",
    "100%.mp4",
    "a%2Fb.mp4",
    "é.mp4",
    "e\u0301.mp4",
    "🎬/x y+z.mp4",
    "a//b.mp4",
    "/a",
]


@dataclass(frozen=True)
class Place:
    """A bucket and a queue; what `sqs` does there happens behind the adapter's back."""

    bucket: Bucket
    queue_url: str
    arn: str
    queue: SqsQueue
    sqs: Any

    async def notifications(self, **config: Any) -> None:
        await self.bucket.client.put_bucket_notification_configuration(
            Bucket=self.bucket.name, NotificationConfiguration=config
        )

    async def send(self, *bodies: str) -> None:
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies[start : start + 10])
            ]
            await self.sqs.send_message_batch(QueueUrl=self.queue_url, Entries=entries)

    async def drain(self, enough: Callable[[Sequence[Message]], bool]) -> list[Message]:
        """What comes, all of it acknowledged, until it is enough."""
        came: list[Message] = []
        with anyio.fail_after(DEADLINE_SECONDS):
            while not enough(came):
                received = await self.queue.receive()
                await self.queue.acknowledge(received)
                came += received
        return came

    async def waiting(self) -> tuple[int, int]:
        """How many messages are there to be received, and how many are received and not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)
        visible, hidden = (int(answer["Attributes"][name]) for name in names)
        return visible, hidden


@asynccontextmanager
async def place_of(server: S3Server, folder: Path, **attributes: str) -> AsyncIterator[Place]:
    """A new bucket of the server, and a new queue that it does not tell anything yet."""
    async with bucket_of(server, folder) as bucket, raw_client(server, "sqs") as sqs:
        url = (await sqs.create_queue(QueueName=f"q-{secrets.token_hex(8)}", Attributes=attributes))[
            "QueueUrl"
        ]
        answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        key = S3Credentials(server.access_key_id, server.secret_access_key)
        queue = SqsQueue(url, bucket.location, key)
        try:
            yield Place(bucket, url, answer["Attributes"]["QueueArn"], queue, sqs)
        finally:
            await queue.aclose()


async def direct(place: Place) -> None:
    await place.notifications(QueueConfigurations=[{"QueueArn": place.arn, "Events": EVENTS}])


async def through_sns(place: Place, attributes: dict[str, str] | None = None) -> None:
    async with raw_client(place.bucket.server, "sns") as sns:
        topic = (await sns.create_topic(Name=f"t-{secrets.token_hex(8)}"))["TopicArn"]
        await sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=place.arn, Attributes=attributes or {})
    await place.notifications(TopicConfigurations=[{"TopicArn": topic, "Events": EVENTS}])


async def through_sns_raw(place: Place) -> None:
    await through_sns(place, {"RawMessageDelivery": "true"})


async def through_event_bridge(place: Place) -> None:
    rule, pattern = (
        f"r-{secrets.token_hex(8)}",
        {"source": ["aws.s3"], "detail": {"bucket": {"name": [place.bucket.name]}}},
    )
    async with raw_client(place.bucket.server, "events") as events:
        await events.put_rule(Name=rule, EventPattern=json.dumps(pattern), State="ENABLED")
        await events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": place.arn}])
    await place.notifications(EventBridgeConfiguration={})


WAYS: dict[str, Callable[[Place], Coroutine[Any, Any, None]]] = {
    "direct": direct,
    "sns": through_sns,
    "sns-raw": through_sns_raw,
    "event-bridge": through_event_bridge,
}
