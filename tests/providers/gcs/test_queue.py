"""A subscription of Pub/Sub: what a bucket tells arrives, comes again until it is acknowledged, and then never."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import jwt
import pytest
import trustme
from aiohttp import web
from anyio import to_thread

from tests.emulators.fake_gcs import FakeGcs, make_bucket, notifying_gcs
from tests.emulators.pubsub import CONSUME, GET, PubSub
from tests.fault_proxy import LOOPBACK, free_port
from tests.providers.gcs.gcs_places import adapter, private_key, service_account, serving
from tests.providers.gcs.test_events import BUCKET, notification
from vvwatch.core.changes import EventKind, Order
from vvwatch.core.objects import StorageObject
from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    InvalidInput,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.ports import Finding, Message
from vvwatch.providers.gcs.queue import PubSubQueue
from vvwatch.providers.gcs.session import GcsLocation

pytestmark = pytest.mark.anyio

NAME = "projects/project/subscriptions/watch"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vvwatch.providers.gcs.session._PAUSES_SECONDS", (0, 0))


@pytest.fixture
def topic(pubsub: PubSub) -> str:
    return pubsub.make_topic()


@pytest.fixture
def subscription(pubsub: PubSub, topic: str) -> str:
    return pubsub.subscribe(topic)


@pytest.fixture
async def queue(pubsub: PubSub, subscription: str) -> AsyncIterator[PubSubQueue]:
    async with aclosing(opened(pubsub, subscription)) as queue:
        yield queue


@pytest.fixture
def gcs(pubsub: PubSub, topic: str, tmp_path: Path) -> Any:
    with notifying_gcs(tmp_path, pubsub, topic) as server:
        make_bucket(server, BUCKET)
        yield server


def opened(pubsub: PubSub, subscription: str, credentials: str | None = None) -> PubSubQueue:
    return PubSubQueue(
        subscription, GcsLocation(BUCKET, pubsub.endpoint_url), credentials, pubsub.endpoint_url
    )


def publish(pubsub: PubSub, topic: str, message: dict[str, Any]) -> None:
    pubsub.publish(topic, json.dumps({}).encode(), message["attributes"])


async def received(queue: PubSubQueue, count: int) -> list[Message]:
    messages: list[Message] = []
    with anyio.fail_after(20):
        while len(messages) < count:
            messages += await queue.receive()
    assert len(messages) == count
    return messages


async def nothing_comes(pubsub: PubSub, queue: PubSubQueue, monkeypatch: pytest.MonkeyPatch) -> bool:
    with monkeypatch.context() as patched:
        patched.setattr("vvwatch.providers.gcs.queue._WAIT_SECONDS", 0.2)
        messages = await queue.receive()
    await to_thread.run_sync(pubsub.await_pulls, 0)
    return not messages


async def test_events_name_exactly_the_objects_that_a_listing_has(
    gcs: FakeGcs, queue: PubSubQueue, tmp_path: Path
) -> None:
    for key in ("in/a.mp4", "in/a+b %2F é.mp4", "🎬//x.mp4", "gone.mp4", "in/a.mp4"):
        gcs.put(BUCKET, key, key.encode())
    gcs.remove(BUCKET, "gone.mp4")
    async with adapter(tmp_path, gcs.endpoint_url) as storage:
        listed = {obj.key: obj async for page in storage.pages("") for obj in page.objects}
    order, known = Order(), dict[str, StorageObject | None]()
    with anyio.fail_after(20):
        while known != listed:
            for event in (event for message in await queue.receive() for event in message.events):
                if not order.is_overtaken(event):
                    known[event.keys[0]] = event.found
                    if event.kind is EventKind.REMOVED:
                        del known[event.keys[0]]
    assert len(known) == 3


async def test_what_is_acknowledged_is_gone_with_one_request(
    pubsub: PubSub, topic: str, subscription: str, queue: PubSubQueue
) -> None:
    for _ in range(300):
        publish(pubsub, topic, notification())
    messages = await received(queue, 300)
    await queue.acknowledge(messages)
    assert pubsub.left(subscription) == 0
    assert pubsub.requests["acknowledge"] == 1
    assert pubsub.requests["pull"] == 1


async def test_a_message_has_its_id_and_the_moment_it_was_sent(
    pubsub: PubSub, topic: str, queue: PubSubQueue
) -> None:
    number = pubsub.publish(topic, b"", notification()["attributes"])
    (message,) = await received(queue, 1)
    assert message.id == number
    assert message.sent_at is not None


async def test_slow_job_no_redelivery_after_the_acknowledgement(
    pubsub: PubSub, topic: str, queue: PubSubQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(pubsub, topic, notification())
    await queue.acknowledge(await received(queue, 1))
    pubsub.advance(3600)
    assert await nothing_comes(pubsub, queue, monkeypatch)


async def test_a_message_that_is_not_acknowledged_in_time_comes_again(
    pubsub: PubSub, topic: str, subscription: str, queue: PubSubQueue
) -> None:
    publish(pubsub, topic, notification())
    late = await received(queue, 1)
    pubsub.advance(61)
    await queue.acknowledge(late)
    assert pubsub.left(subscription) == 1
    (again,) = await received(queue, 1)
    assert again.id == late[0].id
    assert again.events == late[0].events


async def test_a_receipt_that_is_refused_as_too_old_is_no_error(pubsub: PubSub, queue: PubSubQueue) -> None:
    pubsub.broken = (400, '{"error": {"code": 400, "status": "FAILED_PRECONDITION"}}')
    await queue.acknowledge([Message("receipt", "1")])
    await queue.release([Message("receipt", "1")])


async def test_what_is_released_comes_again_after_a_while_and_not_at_once(
    pubsub: PubSub, topic: str, queue: PubSubQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(pubsub, topic, notification())
    await queue.release(await received(queue, 1))
    assert await nothing_comes(pubsub, queue, monkeypatch)
    pubsub.advance(31)
    assert await received(queue, 1)


async def test_a_pull_waits_for_a_message(pubsub: PubSub, topic: str, queue: PubSubQueue) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(received, queue, 1)
        await to_thread.run_sync(pubsub.await_pulls, 1)
        publish(pubsub, topic, notification())
    assert pubsub.requests["pull"] == 1


@pytest.mark.parametrize("held_back_seconds", [0.0, 90.0])
async def test_an_empty_pull_ends_without_an_error(
    pubsub: PubSub, queue: PubSubQueue, monkeypatch: pytest.MonkeyPatch, held_back_seconds: float
) -> None:
    pubsub.longest_pull_seconds = held_back_seconds
    assert await nothing_comes(pubsub, queue, monkeypatch)


async def test_a_pull_that_the_service_ends_for_want_of_messages_is_empty(
    pubsub: PubSub, queue: PubSubQueue
) -> None:
    pubsub.broken = (504, '{"error": {"code": 504, "status": "DEADLINE_EXCEEDED"}}')
    assert list(await queue.receive()) == []


async def test_a_cancelled_pull_loses_nothing(pubsub: PubSub, topic: str, queue: PubSubQueue) -> None:
    with anyio.move_on_after(0.1):
        await queue.receive()
    publish(pubsub, topic, notification())
    with anyio.move_on_after(0):
        await queue.receive()
    pubsub.advance(61)
    assert await received(queue, 1)


async def test_poison_matrix_what_is_refused_stays_until_somebody_deletes_it(
    pubsub: PubSub, topic: str, subscription: str, queue: PubSubQueue
) -> None:
    pubsub.publish(topic, b"\xff" * 100, {})
    pubsub.publish(topic, b"hello", {"bucketId": "other", "eventType": "OBJECT_FINALIZE", "objectId": "a"})
    publish(pubsub, topic, notification(objectGeneration="x"))
    publish(pubsub, topic, notification("OBJECT_METADATA_UPDATE"))
    messages = await received(queue, 4)
    assert [each.refusal and each.refusal.reason for each in messages] == [
        "foreign",
        "foreign",
        "malformed",
        None,
    ]
    assert not any(each.events for each in messages)
    assert pubsub.left(subscription) == 4


async def test_answers_that_are_too_long_are_asked_for_in_pieces(
    pubsub: PubSub, topic: str, queue: PubSubQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.replies.Reply.most_bytes", 4_000)
    for _ in range(20):
        publish(pubsub, topic, notification())
    kept: set[str] = set()
    failures = 0
    with anyio.fail_after(20):
        while len(kept) < 20:
            try:
                messages = await queue.receive()
            except StorageUnavailable:
                failures += 1
                pubsub.advance(61)
                continue
            kept |= {message.id for message in messages}
            await queue.acknowledge(messages)
    assert failures > 0


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ((401, "{}"), CredentialsRefused),
        ((429, "{}"), StorageThrottled),
        ((503, "{}"), StorageThrottled),
        ((500, "<html>"), StorageUnavailable),
        ((400, "{}"), StorageUnavailable),
        ((200, "<html>"), StorageUnavailable),
        ((200, "[]"), StorageUnavailable),
        ((200, '{"receivedMessages": [{"ackId": "1"}]}'), StorageUnavailable),
    ],
)
async def test_what_the_service_refuses_is_told_in_our_words(
    pubsub: PubSub, subscription: str, queue: PubSubQueue, broken: tuple[int, str], error: type[StorageError]
) -> None:
    pubsub.broken = broken
    with pytest.raises(error) as caught:
        await queue.receive()
    assert type(caught.value) is error
    assert subscription in caught.value.message
    assert "<html>" not in f"{caught.value.message} {caught.value.hint}"


async def test_a_missing_right_is_named(pubsub: PubSub, queue: PubSubQueue) -> None:
    pubsub.granted.clear()
    for asking in (queue.receive(), queue.acknowledge([Message("receipt", "1")])):
        with pytest.raises(AccessDenied) as caught:
            await asking
        assert "pubsub.subscriptions.consume" in caught.value.hint
        assert "roles/pubsub.subscriber" in caught.value.hint


async def test_a_missing_subscription_can_be_made(pubsub: PubSub) -> None:
    async with aclosing(opened(pubsub, NAME)) as queue:
        with pytest.raises(StorageUnavailable) as caught:
            await queue.receive()
    assert f"gcloud pubsub subscriptions create {NAME}" in caught.value.hint


async def test_a_server_that_is_not_there_is_said_so() -> None:
    nowhere = f"http://{LOOPBACK}:{free_port()}"
    async with aclosing(PubSubQueue(NAME, GcsLocation(BUCKET, nowhere), None, nowhere)) as queue:
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            await queue.receive()
        assert [each.state for each in await queue.examine()] == ["problem"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "watch",
        "projects/project/topics/watch",
        "projects/project/subscriptions/w",
        "projects/project/subscriptions/googwatch",
        "projects/project/subscriptions/../../x",
        "projects/project/subscriptions/watch:pull",
        f"https://pubsub.googleapis.com/v1/{NAME}",
        f"{NAME}\n",
    ],
)
def test_what_is_no_subscription_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        PubSubQueue(name, GcsLocation(BUCKET), None)


async def test_the_service_is_asked_with_a_token_for_pubsub_alone(tmp_path: Path) -> None:
    asked: list[str] = []

    async def token(request: web.Request) -> web.Response:
        assertion = str((await request.post())["assertion"])
        claims = jwt.decode(assertion, private_key().public_key(), ["RS256"], audience=f"{url}/token")
        assert claims["scope"] == "https://www.googleapis.com/auth/pubsub"
        return web.json_response({"access_token": "ya29.secret", "expires_in": 3600})

    async def pull(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Authorization", ""))
        return web.json_response({})

    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(LOOPBACK).configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    app = web.Application()
    app.router.add_post("/token", token)
    app.router.add_post(f"/v1/{NAME}:pull", pull)
    async with serving(app, tls) as url, serving(app) as in_clear:
        credentials = service_account(token_uri=f"{url}/token")
        for endpoint_url in (url, in_clear):
            location = GcsLocation(BUCKET, endpoint_url, str(tmp_path / "ca.pem"))
            async with aclosing(PubSubQueue(NAME, location, credentials, endpoint_url)) as queue:
                assert list(await queue.receive()) == []
    assert asked == ["Bearer ya29.secret", ""]


async def states(queue: PubSubQueue) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in await queue.examine():
        found.setdefault(finding.subject, []).append(finding.state)
    return found


def configuration(of: str, **changes: Any) -> dict[str, Any]:
    default = {"id": "1", "topic": f"//pubsub.googleapis.com/{of}", "payload_format": "JSON_API_V1"}
    return {**default, **changes}


async def bucket_finding(queue: PubSubQueue) -> Finding:
    return (await queue.examine())[-1]


async def test_a_bucket_that_notifies_of_everything_is_well(
    pubsub: PubSub, topic: str, subscription: str, queue: PubSubQueue
) -> None:
    pubsub.configurations = [configuration(topic)]
    assert await states(queue) == {"queue": ["ok"], "rights": ["ok"], "notifications": ["ok"]}
    pubsub.configurations = [configuration(topic, event_types=["OBJECT_FINALIZE"])]
    assert (await bucket_finding(queue)).state == "ok"


@pytest.mark.parametrize(
    ("changes", "state", "word"),
    [
        ({"topic": "//pubsub.googleapis.com/projects/project/topics/other"}, "problem", "--topic="),
        ({"event_types": ["OBJECT_DELETE"]}, "problem", "--event-types=OBJECT_FINALIZE"),
        ({"payload_format": "NONE"}, "warning", "--payload-format=json"),
        ({"object_name_prefix": "in/"}, "warning", "notifications create"),
    ],
)
async def test_a_bucket_that_does_not_tell_everything_is_told_how(
    pubsub: PubSub, topic: str, queue: PubSubQueue, changes: dict[str, Any], state: str, word: str
) -> None:
    pubsub.configurations = [configuration(topic, **changes)]
    finding = await bucket_finding(queue)
    assert (finding.state, finding.repairable) == (state, state == "problem")
    assert word in finding.fix


@pytest.mark.parametrize(
    ("described", "state", "word"),
    [
        ({"topic": "_deleted-topic_"}, "problem", "create"),
        ({"pushConfig": {"pushEndpoint": "https://example.com"}}, "problem", "modify-push-config"),
        ({"filter": 'attributes.eventType = "OBJECT_DELETE"'}, "warning", "without a filter"),
        ({"ackDeadlineSeconds": 10}, "warning", "--ack-deadline=60"),
    ],
)
async def test_a_subscription_that_keeps_events_from_us_is_told_how(
    pubsub: PubSub, topic: str, described: dict[str, Any], state: str, word: str
) -> None:
    subscription = pubsub.subscribe(**{"topic": topic, **described})
    async with aclosing(opened(pubsub, subscription)) as queue:
        finding = (await queue.examine())[0]
    assert finding.state == state
    assert word in finding.fix


async def test_rights_that_are_missing_are_findings(
    pubsub: PubSub, topic: str, subscription: str, queue: PubSubQueue
) -> None:
    pubsub.granted.discard("storage.buckets.get")
    pubsub.configurations = [configuration(topic)]
    finding = await bucket_finding(queue)
    assert (finding.state, "storage.buckets.get" in finding.fix) == ("warning", True)
    pubsub.granted.discard(CONSUME)
    assert (await states(queue))["rights"] == ["problem"]
    pubsub.granted.discard(GET)
    unseen, may_not = await queue.examine()
    assert (unseen.state, may_not.state) == ("warning", "problem")
    assert "roles/pubsub.viewer" in unseen.fix
    assert "roles/pubsub.subscriber" in may_not.fix


async def test_repair_adds_what_is_missing_and_keeps_the_rest(
    pubsub: PubSub, topic: str, queue: PubSubQueue
) -> None:
    other = configuration("projects/project/topics/other")
    pubsub.configurations = [other]
    assert {finding.state for finding in await queue.repair()} == {"ok"}
    assert [each["topic"] for each in pubsub.configurations] == [
        other["topic"],
        f"//pubsub.googleapis.com/{topic}",
    ]
    assert pubsub.configurations[1]["payload_format"] == "JSON_API_V1"
    await queue.repair()
    assert len(pubsub.configurations) == 2


async def test_a_repair_that_is_refused_says_what_it_takes(pubsub: PubSub, queue: PubSubQueue) -> None:
    pubsub.granted.discard("storage.buckets.update")
    finding = (await queue.repair())[-1]
    assert finding.state == "problem"
    assert "storage.buckets.update" in finding.fix
    assert "roles/pubsub.publisher" in finding.fix
