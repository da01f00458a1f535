"""A queue of SQS: what S3 tells through it, on servers that speak the protocol, and what becomes of refusals."""

from __future__ import annotations

import json
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.emulators.s3_server import S3Server
from tests.fault_proxy import LOOPBACK, free_port
from tests.http_faults import FOREVER, Answer, HttpFaultProxy, Reset
from tests.providers.s3.s3_queues import HOSTILE_KEYS, WAYS, Place, direct, place_of
from vvwatch.core.changes import EventKind, ObjectEvent
from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    InvalidInput,
    ObjectNotFound,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.ports import Message
from vvwatch.providers.s3.queue import SqsQueue
from vvwatch.providers.s3.queue_address import parse_queue_url
from vvwatch.providers.s3.storage import S3Credentials, S3Location, S3Storage

pytestmark = pytest.mark.anyio

PLANTED = ("AKIAPLANTED", "planted-secret", "planted-token")
CREDENTIALS = S3Credentials(*PLANTED)
SERVICE = "AWS.SimpleQueueService"
MIB = 1 << 20


@pytest.fixture
async def place(ministack: S3Server, tmp_path: Path) -> AsyncIterator[Place]:
    async with place_of(ministack, tmp_path) as place:
        yield place


@pytest.fixture
def proxy() -> Iterator[HttpFaultProxy]:
    with HttpFaultProxy((LOOPBACK, free_port())) as proxy:
        yield proxy


@pytest.fixture
async def canned(proxy: HttpFaultProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqsQueue]:
    """A queue of a server that answers what the test tells the proxy to."""
    monkeypatch.setattr("vvwatch.providers.s3.queue_client._ATTEMPTS", 1)
    location = S3Location("media", "eu-west-3", proxy.url)
    queue = SqsQueue(f"{proxy.url}/123456789012/changes", location, CREDENTIALS)
    yield queue
    await queue.aclose()


def events(messages: Sequence[Message], *kinds: EventKind) -> list[ObjectEvent]:
    return [event for message in messages for event in message.events if event.kind in kinds]


async def write_hostile(place: Place) -> None:
    """Objects of all kinds; one more is copied and deleted."""
    for key in HOSTILE_KEYS:
        await place.bucket.put(key, key.encode())
    await place.bucket.storage.write(
        "large.mp4", place.bucket.source(b"x" * 9 * MIB), content_type="video/mp4"
    )
    source = {"Bucket": place.bucket.name, "Key": HOSTILE_KEYS[0]}
    await place.bucket.client.copy_object(Bucket=place.bucket.name, Key="copy.mp4", CopySource=source)
    await place.bucket.client.delete_object(Bucket=place.bucket.name, Key="copy.mp4")


def all_told(messages: Sequence[Message]) -> bool:
    created = {key for event in events(messages, EventKind.CREATED) for key in event.keys}
    return {*HOSTILE_KEYS, "large.mp4", "copy.mp4"} <= created and bool(events(messages, EventKind.REMOVED))


async def named(storage: S3Storage, event: ObjectEvent) -> dict[str, str]:
    """Key and version of the object that the event is about, which is asked for where it does not tell."""
    if event.found:
        return {event.found.key: event.found.version}
    for key in event.keys:
        try:
            return {key: (await storage.stat(key)).version}
        except ObjectNotFound:
            pass
    return {}


async def listed(storage: S3Storage) -> dict[str, str]:
    return {obj.key: obj.version async for page in storage.pages("") for obj in page.objects}


@pytest.mark.parametrize("way", WAYS)
async def test_event_then_list_once_events_name_what_a_listing_names(place: Place, way: str) -> None:
    place.queue._aws = way != "event-bridge"  # it tells as AWS does
    await WAYS[way](place)
    await write_hostile(place)
    came = await place.drain(all_told)
    told: dict[str, str] = {}
    for event in events(came, EventKind.CREATED):
        assert event.found or not place.queue._aws
        told |= await named(place.bucket.storage, event)
    told.pop("copy.mp4")
    assert told == await listed(place.bucket.storage)
    assert {event.keys for event in events(came, EventKind.REMOVED)} == {("copy.mp4",)}
    assert all(event.sequencer for message in came for event in message.events)
    assert [message.refusal for message in came if message.refusal] == []


@pytest.mark.parametrize("way", ["direct", "event-bridge"])
async def test_event_then_list_once_at_a_store_that_encodes_otherwise(
    moto: S3Server, tmp_path: Path, way: str
) -> None:
    async with place_of(moto, tmp_path) as place:
        await WAYS[way](place)
        await write_hostile(place)
        came = await place.drain(all_told)
        told: dict[str, str] = {}
        for event in events(came, EventKind.CREATED):
            told |= await named(place.bucket.storage, event)
        told.pop("copy.mp4", None)
        assert told == await listed(place.bucket.storage)
        assert [message.refusal for message in came if message.refusal] == []


async def test_noncurrent_version_event_a_delete_marker_is_a_removal(place: Place) -> None:
    enabled = {"Status": "Enabled"}
    await place.bucket.client.put_bucket_versioning(Bucket=place.bucket.name, VersioningConfiguration=enabled)
    await direct(place)
    await place.bucket.put("a.mp4", b"first")
    await place.bucket.client.delete_object(Bucket=place.bucket.name, Key="a.mp4")
    came = await place.drain(lambda messages: bool(events(messages, EventKind.REMOVED)))
    assert [event.keys for event in events(came, EventKind.REMOVED)] == [("a.mp4",)]


async def test_poison_matrix_refusals_come_with_their_messages(place: Place) -> None:
    await direct(place)  # which sends an s3:TestEvent
    await place.send("not JSON", '{"Records": []}', json.dumps({"hello": "world"}))
    came = await place.drain(lambda messages: len(messages) >= 4)
    reasons = sorted(message.refusal.reason for message in came if message.refusal)
    assert reasons == ["foreign", "malformed"]
    assert events(came, *EventKind) == []
    assert all(message.sent_at and message.id for message in came)


async def test_many_messages_come_together_and_go_together(place: Place) -> None:
    await place.send(*(f'{{"number": {n}}}' for n in range(1_000)))
    batches: list[Sequence[Message]] = []
    with anyio.fail_after(30):
        while sum(map(len, batches)) < 1_000:
            batches.append(await place.queue.receive())
            await place.queue.acknowledge(batches[-1])
    assert len({message.id for batch in batches for message in batch}) == 1_000
    assert max(map(len, batches)) >= 100
    assert await place.waiting() == (0, 0)


async def test_slow_job_no_redelivery_whatever_the_visibility_of_the_queue(
    ministack: S3Server, tmp_path: Path
) -> None:
    async with place_of(ministack, tmp_path, VisibilityTimeout="0") as place:
        await place.send("one")
        await place.queue.receive()
        assert await place.waiting() == (0, 1)


async def test_a_message_that_is_not_acknowledged_comes_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.s3.queue._VISIBILITY_SECONDS", 1)
    await place.send("one")
    (first,) = await place.queue.receive()
    (second,) = await place.queue.receive()
    assert first.id == second.id
    await place.queue.acknowledge([second])
    assert await place.waiting() == (0, 0)


async def test_a_released_message_goes_to_others_and_not_round_in_a_circle(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.send("one")
    messages = await place.queue.receive()
    await place.queue.release(messages)
    assert await place.waiting() == (0, 1)
    monkeypatch.setattr("vvwatch.providers.s3.queue._RELEASED_SECONDS", 0)
    await place.queue.release(messages)
    assert await place.waiting() == (1, 0)


async def test_a_cancelled_receive_loses_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the server has not heard of it yet and gives the message to who is gone."""
    monkeypatch.setattr("vvwatch.providers.s3.queue._VISIBILITY_SECONDS", 1)
    with anyio.move_on_after(0.3):
        await place.queue.receive()
    await place.send("one")
    assert len(await place.queue.receive() or await place.queue.receive()) == 1


async def test_acknowledging_what_cannot_be_is_no_error(place: Place) -> None:
    await place.send("one")
    messages = [Message("no-receipt", "x"), *await place.queue.receive()]
    await place.queue.acknowledge(messages)
    await place.queue.acknowledge(messages)
    await place.queue.acknowledge([])
    assert await place.waiting() == (0, 0)


async def test_a_request_that_fails_takes_nothing_from_what_others_bring(
    place: Place, ministack: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.s3.queue_client._ATTEMPTS", 1)
    await place.send(*map(str, range(40)))
    with HttpFaultProxy(ministack.address) as proxy:
        url = place.queue_url.replace(ministack.endpoint_url, proxy.url)
        queue = SqsQueue(url, place.bucket.location, CREDENTIALS)
        queue._lanes = 4
        proxy.fail(refusal(500, "InternalError"), times=1)
        received = await queue.receive()
        proxy.fail(refusal(500, "InternalError"), times=1)
        with pytest.raises(StorageUnavailable):
            await queue.acknowledge(received)
        await queue.aclose()
    assert len(received) >= 30
    visible, hidden = await place.waiting()
    assert (visible, hidden) == (40 - len(received), 10)


# Refusals


def refusal(status: int, code: str, query: str = "") -> Answer:
    """As SQS refuses; the message repeats what nobody may see."""
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": " ".join(PLANTED)})
    headers = {"Content-Type": "application/x-amz-json-1.0"}
    return Answer(
        status, body.encode(), headers | ({"x-amzn-query-error": f"{query};Sender"} if query else {})
    )


Act = Callable[[SqsQueue], Coroutine[Any, Any, Any]]
ACTS: dict[str, Act] = {
    "sqs:ReceiveMessage": lambda queue: queue.receive(),
    "sqs:DeleteMessage": lambda queue: queue.acknowledge([Message("r", "i")]),
    "sqs:ChangeMessageVisibility": lambda queue: queue.release([Message("r", "i")]),
}


async def failure(act: Act, queue: SqsQueue) -> StorageError:
    """What the act raises, which shows nobody a secret."""
    try:
        await act(queue)
    except StorageError as error:
        shown = "\n".join([repr(error), error.hint, *traceback.format_exception(error)])
        assert not [secret for secret in PLANTED if secret in shown]
        return error
    raise AssertionError("it went well")


@pytest.mark.parametrize(
    ("answer", "kind", "hint"),
    [
        (refusal(400, "QueueDoesNotExist", f"{SERVICE}.NonExistentQueue"), StorageUnavailable, "create-queue"),
        (refusal(400, "QueueDoesNotExist"), StorageUnavailable, "create-queue --queue-name changes"),
        (Answer(404, b"<html>"), StorageUnavailable, "create-queue"),
        (refusal(400, "AccessDeniedException", "AccessDenied"), AccessDenied, "grant sqs:"),
        (refusal(403, "AccessDeniedException"), AccessDenied, "grant sqs:"),
        (refusal(400, "KmsAccessDenied", "KMS.AccessDeniedException"), AccessDenied, "grant kms:Decrypt on the key"),
        (refusal(403, "InvalidClientTokenId"), CredentialsRefused, "access key id"),
        (refusal(400, "UnrecognizedClientException"), CredentialsRefused, "access key id"),
        (refusal(403, "SignatureDoesNotMatch"), CredentialsRefused, "secret access key"),
        (refusal(400, "ExpiredTokenException"), CredentialsRefused, "new ones"),
        (refusal(401, "Whatever"), CredentialsRefused, "check"),
        (refusal(400, "RequestThrottled"), StorageThrottled, "again"),
        (refusal(400, "OverLimit"), StorageThrottled, "again"),
        (refusal(503, "ServiceUnavailable"), StorageThrottled, "again"),
        (refusal(500, "InternalError"), StorageUnavailable, "again"),
        (refusal(400, "\x1b[31m" * 100), StorageUnavailable, "again"),
        (refusal(403, "InvalidSecurity"), StorageUnavailable, "https"),
        (Reset(), StorageUnavailable, ""),
    ],
)  # fmt: skip
async def test_a_refusal_is_told_in_our_words(
    proxy: HttpFaultProxy, canned: SqsQueue, answer: Answer | Reset, kind: type[StorageError], hint: str
) -> None:
    proxy.fail(answer, times=FOREVER)
    for permission, act in ACTS.items():
        error = await failure(act, canned)
        assert isinstance(error, kind), permission
        assert error.transient == (kind is not AccessDenied)
        assert "changes" in error.message
        assert error.message.isprintable()
        assert hint in error.hint
        if hint == "grant sqs:":
            assert error.hint == f"grant {permission} on arn:aws:sqs:eu-west-3:123456789012:changes"


async def test_the_right_to_a_key_that_is_missing_is_named(proxy: HttpFaultProxy, canned: SqsQueue) -> None:
    body = json.dumps(
        {"__type": "KmsAccessDenied", "message": "u is not authorized to perform: kms:GenerateDataKey on x"}
    )
    proxy.fail(Answer(400, body.encode(), {"x-amzn-query-error": "KMS.AccessDeniedException;Sender"}))
    assert "grant kms:GenerateDataKey" in (await failure(ACTS["sqs:ReceiveMessage"], canned)).hint


async def test_a_server_that_is_away_is_named() -> None:
    nowhere = f"http://{LOOPBACK}:{free_port()}"
    queue = SqsQueue(
        f"{nowhere}/123456789012/changes", S3Location("media", "eu-west-3", nowhere), CREDENTIALS
    )
    error = await failure(ACTS["sqs:ReceiveMessage"], queue)
    await queue.aclose()
    assert isinstance(error, StorageUnavailable)
    assert "cannot be reached" in error.message


# Addresses


@pytest.mark.parametrize(
    ("url", "arn"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", "arn:aws:sqs:eu-west-1:123456789012:q"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "arn:aws-cn:sqs:cn-north-1:123456789012:q"),
        ("https://sqs.us-gov-west-1.amazonaws.com/123456789012/q", "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:q"),
        ("https://sqs-fips.us-east-2.amazonaws.com/123456789012/q", "arn:aws:sqs:us-east-2:123456789012:q"),
        ("https://sqs.us-east-2.api.aws/123456789012/q", "arn:aws:sqs:us-east-2:123456789012:q"),
        ("https://queue.amazonaws.com/123456789012/q", "arn:aws:sqs:us-east-1:123456789012:q"),
        ("https://eu-west-2.queue.amazonaws.com/123456789012/q", "arn:aws:sqs:eu-west-2:123456789012:q"),
        ("https://vpce-0a-1b.sqs.us-east-2.vpce.amazonaws.com/123456789012/q", "arn:aws:sqs:us-east-2:123456789012:q"),
    ],
)  # fmt: skip
def test_a_queue_of_aws_tells_its_region(url: str, arn: str) -> None:
    address = parse_queue_url(url, region="eu-central-1", anywhere=False)
    assert address.arn == arn
    assert url.startswith(f"{address.endpoint_url}/123")


def test_elsewhere_a_queue_is_in_the_region_of_its_bucket() -> None:
    url = "http://127.0.0.1:4566/queue/eu-west-3/000000000000/q"
    assert (
        parse_queue_url(url, region="eu-west-3", anywhere=True).arn == "arn:aws:sqs:eu-west-3:000000000000:q"
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "q",
        "arn:aws:sqs:eu-west-1:123456789012:q",
        "ftp://sqs.eu-west-1.amazonaws.com/123456789012/q",
        "https://sqs.eu-west-1.amazonaws.com/q",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/q/",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/q?x",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/q q",
        "https://u:planted-secret@sqs.eu-west-1.amazonaws.com/123456789012/q",
        "https://sqs.eu-west-1.amazonaws.com:x/123456789012/q",
        "https://[/123456789012/q",
        "http://sqs.eu-west-1.amazonaws.com/123456789012/q",
        "http://169.254.169.254/123456789012/q",
        "https://sqs.eu-west-1.amazonaws.com.evil.example/123456789012/q",
        "https://evilsqs.eu-west-1.amazonaws.com/123456789012/q",
    ],
)
def test_what_cannot_be_a_queue_of_aws_is_refused_without_a_request(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        SqsQueue(url, S3Location("media", "eu-west-1"), None)
    assert "planted" not in refused.value.message
    assert "get-queue-url" in refused.value.hint
