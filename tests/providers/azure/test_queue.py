"""A queue of Azure: what Event Grid tells arrives, comes again until it is deleted, and then never."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.emulators.azurite import (
    ACCOUNT,
    ACCOUNT_KEY,
    Azurite,
    Container,
    Queue,
    make_container,
    make_queue,
)
from tests.emulators.entra import CLIENT_ID, CLIENT_SECRET, TENANT_ID, Entra
from tests.fault_proxy import LOOPBACK, free_port
from tests.http_faults import FOREVER, Answer, HttpFaultProxy
from tests.providers.azure.test_events import change, encoded, in_cloud_schema
from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    InvalidInput,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.ports import Message
from vvwatch.providers.azure import client
from vvwatch.providers.azure.queue import StorageQueue, parse_messages
from vvwatch.providers.azure.storage import AzureAccountKey, AzureClientSecret, AzureLocation, AzureStorage
from vvwatch.providers.spool import Spool

pytestmark = pytest.mark.anyio

KEY = AzureAccountKey(ACCOUNT_KEY)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, of which nothing is."""
    taken: list[float] = []

    async def pass_by(seconds: float) -> None:
        taken.append(seconds)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("vvwatch.providers.azure.queue.sleep", pass_by)
    monkeypatch.setattr(client, "_WAIT_SECONDS", 0)
    return taken


@pytest.fixture
def raw(azurite_queues: str) -> Iterator[Queue]:
    queue = make_queue(azurite_queues)
    with queue.client:
        yield queue


@pytest.fixture
async def queue(raw: Queue) -> AsyncIterator[StorageQueue]:
    async with aclosing(opened(raw.url)) as queue:
        yield queue


def opened(
    url: str, container: str = "media", credentials: AzureAccountKey | AzureClientSecret | None = KEY
) -> StorageQueue:
    return StorageQueue(url, AzureLocation(ACCOUNT, container, f"http://{LOOPBACK}/{ACCOUNT}"), credentials)


def of_emulator(key: str = "in/a.mp4", **details: Any) -> dict[str, Any]:
    """An event as Event Grid would send it of a blob of the emulator's account."""
    event: dict[str, Any] = change(key=key, **details)
    event["topic"] = event["topic"].rpartition("/")[0] + f"/{ACCOUNT}"
    return event


async def received(queue: StorageQueue, count: int) -> list[Message]:
    messages: list[Message] = []
    with anyio.fail_after(30):
        while len(messages) < count:
            messages += await queue.receive()
    assert len(messages) == count
    return messages


async def test_events_name_exactly_the_blobs_that_a_listing_has(
    azurite: Azurite, raw: Queue, tmp_path: Path
) -> None:
    container: Container = make_container(azurite)
    sent = []
    for number, key in enumerate(("in/a.mp4", "in/a+b %2F é.mp4", "🎬//x.mp4", "in/a.mp4")):
        etag, data = container.put(key, b"x" * (number + 1)), {"container": container.name}
        sent.append(of_emulator(key, eTag=etag, contentLength=number + 1, sequencer=f"{number:032}", **data))
    raw.send(*map(encoded, sent[:3]), encoded(in_cloud_schema(sent[3])))
    location = AzureLocation(ACCOUNT, container.name, azurite.endpoint_url)
    async with (
        aclosing(AzureStorage(location, KEY, Spool(tmp_path, 1 << 30))) as storage,
        aclosing(opened(raw.url, container.name)) as queue,
    ):
        listed = {obj.key: obj.version async for page in storage.pages("") for obj in page.objects}
        messages = await received(queue, 4)
    events = sorted((event for each in messages for event in each.events), key=lambda each: each.sequencer)
    assert {event.keys[0]: event.found.version for event in events if event.found} == listed
    assert len(listed) == 3


async def test_slow_job_no_redelivery_after_the_acknowledgement(raw: Queue, queue: StorageQueue) -> None:
    raw.send(*[encoded(of_emulator(f"{number}.mp4")) for number in range(70)])
    messages = await received(queue, 70)
    assert len({message.id for message in messages}) == 70
    assert all(message.sent_at for message in messages)
    await queue.acknowledge(messages)
    assert raw.left() == 0


async def test_much_is_received_by_several_requests_at_a_time(raw: Queue, queue: StorageQueue) -> None:
    raw.send(*[encoded(of_emulator())] * 100)
    assert len(await queue.receive()) == 32
    assert len(await queue.receive()) == 64
    assert len(await queue.receive()) == 4


async def test_a_message_that_is_not_acknowledged_in_time_comes_again(
    raw: Queue, queue: StorageQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.azure.queue._HIDDEN_SECONDS", 1)
    raw.send(encoded(of_emulator()))
    late = await received(queue, 1)
    (again,) = await received(queue, 1)
    assert (again.id, again.events) == (late[0].id, late[0].events)
    await queue.acknowledge(late)
    assert raw.left() == 1
    await queue.acknowledge([again])
    assert raw.left() == 0
    await queue.acknowledge([again])
    await queue.release([again])


async def test_what_is_released_comes_again_after_a_while_and_not_at_once(
    raw: Queue, queue: StorageQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw.send(encoded(of_emulator()))
    messages = await received(queue, 1)
    monkeypatch.setattr("vvwatch.providers.azure.queue._RELEASED_FOR_SECONDS", 1)
    await queue.release(messages)
    assert raw.left() == 1
    assert await received(queue, 1)


async def test_an_empty_queue_is_asked_less_and_less(
    queue: StorageQueue, raw: Queue, pauses: list[float]
) -> None:
    assert list(await queue.receive()) == []
    assert pauses == [1, 2, 4, 5, 5, 5]
    raw.send(encoded(of_emulator()))
    await received(queue, 1)
    assert len(pauses) == 6
    assert list(await queue.receive()) == []
    assert pauses[6:8] == [1, 2]


async def test_a_cancelled_receive_loses_nothing(
    raw: Queue, queue: StorageQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.azure.queue._HIDDEN_SECONDS", 1)
    raw.send(encoded(of_emulator()))
    with anyio.move_on_after(0):
        await queue.receive()
    assert await received(queue, 1)


async def test_poison_matrix_what_is_refused_stays_until_somebody_deletes_it(
    raw: Queue, queue: StorageQueue
) -> None:
    raw.send("hello", encoded(change()), encoded({**of_emulator(), "data": None}), "<a>&amp;</a>")
    raw.send(encoded({**of_emulator(), "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent"}))
    reasons = [each.refusal.reason if each.refusal else "" for each in await received(queue, 5)]
    assert sorted(reasons) == ["", "foreign", "malformed", "malformed", "malformed"]
    assert raw.left() == 5


class Faulty:
    """The queue behind a proxy that fails on demand."""

    def __init__(self, proxy: HttpFaultProxy, raw: Queue) -> None:
        self.proxy = proxy
        host, port = proxy.address
        self.url = f"http://{host}:{port}/{ACCOUNT}/{raw.client.queue_name}"


@pytest.fixture
def faulty(raw: Queue) -> Iterator[Faulty]:
    port = int(raw.url.split(":")[2].partition("/")[0])
    with HttpFaultProxy((LOOPBACK, port)) as proxy:
        yield Faulty(proxy, raw)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (
            Answer(403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"}),
            AccessDenied,
            "Processor",
        ),
        (Answer(403, headers={"x-ms-error-code": "AuthenticationFailed"}), CredentialsRefused, "check"),
        (Answer(404, headers={"x-ms-error-code": "QueueNotFound"}), StorageUnavailable, "az storage queue"),
        (Answer(503, headers={"x-ms-error-code": "ServerBusy"}), StorageThrottled, "again"),
        (Answer(500, b"secret"), StorageUnavailable, "again"),
        (Answer(200, b"<html>secret</html>"), StorageUnavailable, "address"),
        (Answer(200, b"\xff"), StorageUnavailable, "address"),
        (Answer(200, b""), StorageUnavailable, "address"),
    ],
)
async def test_what_the_service_refuses_is_told_in_our_words(
    faulty: Faulty, answer: Answer, error: type[StorageError], words: str
) -> None:
    faulty.proxy.fail(answer, "/messages", times=FOREVER)
    async with aclosing(opened(faulty.url)) as queue:
        with pytest.raises(error) as caught:
            await queue.receive()
        (finding,) = await queue.examine()
    assert type(caught.value) is error
    assert faulty.url in caught.value.message
    assert words in caught.value.hint
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"
    assert (finding.state, finding.fix) == ("problem", caught.value.hint)


async def test_without_the_right_to_update_a_message_its_release_waits(faulty: Faulty, raw: Queue) -> None:
    raw.send(encoded(of_emulator()))
    refusal = Answer(403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"})
    async with aclosing(opened(faulty.url)) as queue:
        messages = await received(queue, 1)
        faulty.proxy.fail(refusal, "PUT", times=FOREVER)
        await queue.release(messages)
    assert raw.left() == 1


async def test_a_server_that_is_not_there_is_said_so() -> None:
    async with aclosing(opened(f"http://{LOOPBACK}:{free_port()}/{ACCOUNT}/events")) as queue:
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            await queue.receive()
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            await queue.acknowledge([Message("receipt", "1")] * 40)


async def test_a_client_secret_opens_the_queue(azurite_queues_oauth: str, entra: Entra) -> None:
    raw = make_queue(azurite_queues_oauth, connection_verify=entra.ca_file)
    location = AzureLocation(
        ACCOUNT, "media", f"https://{LOOPBACK}/{ACCOUNT}", entra.authority_url, entra.ca_file
    )
    secret = AzureClientSecret(TENANT_ID, CLIENT_ID, CLIENT_SECRET)
    with raw.client:
        raw.send(encoded(of_emulator()))
        async with aclosing(StorageQueue(raw.url, location, secret)) as queue:
            await queue.acknowledge(await received(queue, 1))
        assert raw.left() == 0
    wrong = AzureClientSecret(TENANT_ID, CLIENT_ID, "wrong")
    async with aclosing(StorageQueue(raw.url, location, wrong)) as queue:
        with pytest.raises(CredentialsRefused, match="AADSTS7000215"):
            await queue.receive()


async def test_a_wrong_key_is_said_so(raw: Queue) -> None:
    async with aclosing(opened(raw.url, credentials=AzureAccountKey("d3Jvbmc="))) as queue:
        with pytest.raises(CredentialsRefused):
            await queue.receive()


async def test_an_examination_says_what_it_cannot_see_and_how_to_see_it(
    raw: Queue, queue: StorageQueue
) -> None:
    readable, unseen = await queue.examine()
    assert (readable.state, unseen.state) == ("ok", "warning")
    assert "az eventgrid event-subscription list" in unseen.fix
    assert f"--name {ACCOUNT}" in unseen.fix
    raw.send("hello", encoded(of_emulator()))
    assert [finding.state for finding in await queue.examine()] == ["ok", "ok"]
    assert [finding.state for finding in await queue.repair()] == ["ok", "ok"]
    assert await received(queue, 2)


PUBLIC = AzureLocation("studio", "media")


@pytest.mark.parametrize(
    "url",
    [
        "https://studio.queue.core.windows.net/events",
        "https://studio.z12.queue.storage.azure.net/events-2",
        "https://studio.queue.core.usgovcloudapi.net/abc",
    ],
)
async def test_a_queue_of_azure_is_taken(url: str) -> None:
    await StorageQueue(url, PUBLIC, KEY).aclose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "events",
        "http://studio.queue.core.windows.net/events",
        "https://studio.queue.core.windows.net.example.com/events",
        "https://example.com/events",
        "https://studio.queue.core.windows.net@example.com/events",
        "https://user@studio.queue.core.windows.net/events",
        "https://studio.queue.core.windows.net:444/events",
        "https://studio.blob.core.windows.net/events",
        "https://studio.queue.core.windows.net/",
        "https://studio.queue.core.windows.net/events/messages",
        "https://studio.queue.core.windows.net/Events",
        "https://studio.queue.core.windows.net/ev",
        "https://studio.queue.core.windows.net/e--v",
        "https://studio.queue.core.windows.net/events?sig=secret",
        "https://studio.queue.core.windows.net/events#x",
        "https://[studio/events",
        "https://another.queue.core.windows.net/events",
    ],
)
def test_what_is_no_queue_gets_no_credentials(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        StorageQueue(url, PUBLIC, KEY)
    assert "secret" not in caught.value.message


async def test_a_queue_of_another_account_takes_a_token_and_no_key() -> None:
    secret = AzureClientSecret(TENANT_ID, CLIENT_ID, CLIENT_SECRET)
    await StorageQueue("https://another.queue.core.windows.net/events", PUBLIC, secret).aclose()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a/>",
        b"<!DOCTYPE a><QueueMessagesList/>",
        b"<QueueMessagesList><QueueMessage/></QueueMessagesList>",
        b"<QueueMessagesList><QueueMessage><MessageId>../x</MessageId></QueueMessage></QueueMessagesList>",
        b"<QueueMessagesList><QueueMessage><MessageId>1</MessageId></QueueMessage></QueueMessagesList>",
    ],
)
def test_what_is_no_answer_of_the_service_is_not_read_as_one(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_messages(body, ACCOUNT, "media")


async def test_what_some_requests_brought_is_kept_when_others_fail(faulty: Faulty, raw: Queue) -> None:
    raw.send(*[encoded(of_emulator())] * 40)
    refusal = Answer(403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"})
    async with aclosing(opened(faulty.url)) as queue:
        assert len(await queue.receive()) == 32
        faulty.proxy.fail(refusal, "GET", skip=1, times=FOREVER)
        assert len(await queue.receive()) == 8
        with pytest.raises(AccessDenied):
            await queue.receive()
