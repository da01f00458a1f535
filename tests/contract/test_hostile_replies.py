"""What no store and no queue achieves by its replies, whatever it sends: the same on all clouds."""

from __future__ import annotations

import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.hostile_store import HostileStore, endless, hostile_store, replied, trickled
from vvwatch.errors import StorageError, StorageUnavailable
from vvwatch.providers import replies
from vvwatch.providers.azure.queue import StorageQueue
from vvwatch.providers.azure.storage import AzureAccountKey, AzureLocation, AzureStorage
from vvwatch.providers.gcs.queue import PubSubQueue
from vvwatch.providers.gcs.storage import GcsLocation, GcsStorage
from vvwatch.providers.s3.queue import SqsQueue
from vvwatch.providers.s3.storage import S3Credentials, S3Location, S3Storage
from vvwatch.providers.spool import Spool

pytestmark = pytest.mark.anyio

SECRET = "c2VjcmV0LXNlY3JldA=="  # base64 for Azure
SESSION = "a-session-token"
STEP_SECONDS = 0.02
Ask = Callable[[], Awaitable[Any]]


def _s3(url: str) -> tuple[S3Location, S3Credentials]:
    return S3Location("bucket", "us-east-1", url), S3Credentials("AKIAEXAMPLE", SECRET, SESSION)


def _azure(url: str) -> tuple[AzureLocation, AzureAccountKey]:
    return AzureLocation("account", "container", f"{url}/account"), AzureAccountKey(SECRET)


STORES: Mapping[str, Callable[[str, Spool], Any]] = {
    "s3": lambda url, spool: S3Storage(*_s3(url), spool),
    "gcs": lambda url, spool: GcsStorage(GcsLocation("bucket", url), None, spool),
    "azure": lambda url, spool: AzureStorage(*_azure(url), spool),
}
QUEUES: Mapping[str, Callable[[str], Any]] = {
    "sqs": lambda url: SqsQueue(f"{url}/123456789012/queue", *_s3(url)),
    "pubsub": lambda url: PubSubQueue(
        "projects/project/subscriptions/sub", GcsLocation("bucket", url), None, url
    ),
    "storage_queue": lambda url: StorageQueue(f"{url}/account/queue", *_azure(url)),
}
ALL = (*STORES, *QUEUES)


@pytest.fixture
async def store() -> AsyncIterator[HostileStore]:
    async with hostile_store() as store:
        yield store


@pytest.fixture
async def witness() -> AsyncIterator[HostileStore]:
    async with hostile_store() as witness:
        yield witness


@pytest.fixture
async def ask(request: pytest.FixtureRequest, store: HostileStore, tmp_path: Path) -> AsyncIterator[Ask]:
    """Ask the store for a listing, or the queue for messages."""
    if request.param in QUEUES:
        async with aclosing(QUEUES[request.param](store.url)) as queue:
            yield queue.receive
    else:
        async with aclosing(STORES[request.param](store.url, Spool(tmp_path, 1 << 30))) as storage:

            async def list_all() -> list[Any]:
                return [page async for page in storage.list("", recursive=True)]

            yield list_all


async def fails(ask: Ask) -> StorageError:
    with pytest.raises(StorageUnavailable) as caught:
        await ask()
    assert SECRET not in str(caught.value)
    return caught.value


# Redirects


@pytest.mark.parametrize("ask", ALL, indirect=True)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_by_name_and_nothing_arrives_there(
    ask: Ask, store: HostileStore, witness: HostileStore, status: int
) -> None:
    there = f"{witness.url.replace('//', '//user:word@')}/x?a-query=secret"
    store.answer = lambda _: replied(b"", status, {"Location": there})
    error = await fails(ask)
    assert f"redirect to {urlsplit(witness.url).netloc}: vvwatch does not follow" in error.message
    assert "set " in error.hint
    assert not any(word in f"{error.message}{error.hint}" for word in ("a-query", "user:", "word@"))
    assert (len(store.seen), witness.seen) == (1, [])


@pytest.mark.parametrize("ask", ["s3"], indirect=True)
async def test_the_right_region_of_a_bucket_is_said_and_its_location_not_followed(
    ask: Ask, store: HostileStore, witness: HostileStore
) -> None:
    headers = {"x-amz-bucket-region": "eu-west-3", "Location": f"{witness.url}/bucket"}
    store.answer = lambda _: replied(b"", 301, headers)
    error = await fails(ask)
    assert "another region" in error.message
    assert "'eu-west-3'" in error.hint
    assert (
        b"/eu-west-3/s3/aws4_request" in store.seen[-1]
    )  # the SDK asked again, here, signed for that region
    assert witness.seen == []


AWS_WAYS: Mapping[str, Callable[[str, Path], Mapping[str, str]]] = {
    "machine": lambda url, _: {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url},
    "container": lambda url, _: {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": SESSION,
    },
    "web identity": lambda url, folder: {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token"),
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r",
        "AWS_ENDPOINT_URL_STS": url,
    },
}


@pytest.fixture
async def as_role(
    request: pytest.FixtureRequest, store: HostileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ask]:
    """Ask a bucket as whoever the machine is, which the store is asked about."""
    (tmp_path / "token").write_text(SECRET)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name, value in AWS_WAYS[request.param](store.url, tmp_path).items():
        monkeypatch.setenv(name, value)
    location = S3Location("bucket", "us-east-1", store.url)
    async with aclosing(S3Storage(location, None, Spool(tmp_path, 1 << 30))) as storage:
        yield lambda: anext(storage.list("", recursive=True))


@pytest.mark.parametrize("as_role", AWS_WAYS, indirect=True)
async def test_who_gives_credentials_sends_nowhere_else(
    as_role: Ask, store: HostileStore, witness: HostileStore
) -> None:
    store.answer = lambda _: replied(b"", 307, {"Location": f"{witness.url}/x"})
    error = await fails(as_role)
    assert "no sign-in: the endpoint answered with a redirect to" in error.message
    assert (len(store.seen), witness.seen) == (1, [])


@pytest.mark.parametrize("as_role", AWS_WAYS, indirect=True)
async def test_who_gives_credentials_gives_64_kib_at_most(as_role: Ask, store: HostileStore) -> None:
    store.answer = lambda _: endless(b"x" * 65_536)
    assert "larger than 64 KiB" in (await fails(as_role)).message
    assert len(store.seen) == 1


# Bytes


@pytest.mark.parametrize("ask", ALL, indirect=True)
async def test_a_reply_that_never_ends_is_read_up_to_16_mib(ask: Ask, store: HostileStore) -> None:
    store.answer = lambda _: endless(b" " * 65_536)
    assert "the reply is larger than 16 MiB" in (await fails(ask)).message
    tries = len(store.seen)  # Azure is asked for fewer blobs
    assert tries <= 3
    assert store.sent_bytes < tries * (24 << 20)


@pytest.mark.parametrize("ask", ALL, indirect=True)
async def test_a_refusal_that_never_ends_is_cut_off(ask: Ask, store: HostileStore) -> None:
    async def refusal(_: bytes) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n"
        while True:
            yield b"x" * 65_536

    store.answer = refusal
    with pytest.raises(StorageError, match="cannot be"):
        await ask()
    assert store.sent_bytes < 8 << 20  # what the sockets hold


@pytest.mark.parametrize("ask", ALL, indirect=True)
async def test_a_compressed_reply_is_measured_by_what_it_holds(ask: Ask, store: HostileStore) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    store.answer = lambda _: replied(bomb, headers={"Content-Encoding": "gzip"})
    await fails(ask)


@pytest.mark.parametrize("ask", ALL, indirect=True)
@pytest.mark.parametrize("field", [b"x" * 20_000, b"x\r\nName: y" * 1_000], ids=["long", "many"])
async def test_a_head_has_a_limit(ask: Ask, store: HostileStore, field: bytes) -> None:
    async def reply(_: bytes) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\nName: " + field + b"\r\n\r\n"

    store.answer = reply
    await fails(ask)


@pytest.mark.parametrize("ask", QUEUES, indirect=True)
@pytest.mark.parametrize("unit", [b"<a/>", b"[],"], ids=["tags", "lists"])
async def test_a_reply_of_millions_of_values_is_refused_before_it_is_parsed(
    ask: Ask, store: HostileStore, unit: bytes
) -> None:
    whole = b"<a>%s</a>" if unit == b"<a/>" else b'{"Messages":[%s[]],"receivedMessages":1}'
    store.answer = lambda _: replied(whole % (unit * (8 << 18)))
    began = time.process_time()
    await fails(ask)
    assert time.process_time() - began < 1.5  # to parse it takes several


# Seconds


@pytest.mark.parametrize("ask", ALL, indirect=True)
@pytest.mark.parametrize("part", ["head", "body"])
async def test_a_reply_that_comes_byte_by_byte_ends_in_time(
    ask: Ask, store: HostileStore, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(replies, "_HEAD_SECONDS", 0.3)
    monkeypatch.setattr(replies, "_BODY_SECONDS", 0.3)

    async def reply(_: bytes) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if part == "body" else b"Name: ")
        async for byte in trickled(b"x" * 4_000, STEP_SECONDS):
            yield byte

    store.answer = reply
    assert "too slow" in (await fails(ask)).message
    assert len(store.seen) == 1
