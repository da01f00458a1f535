"""What becomes of S3's refusals and of answers that make no sense, in our words and without secrets."""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.moto import make_user
from tests.emulators.s3_server import S3Server, make_bucket, raw_client
from tests.fault_proxy import LOOPBACK, free_port
from tests.http_faults import FOREVER, Answer, Cut, HttpFaultProxy, Reset
from tests.providers.s3.s3_buckets import CREDENTIALS, adapter, contents, listing, refusal
from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.providers.s3.storage import S3Credentials, S3Location, S3Storage

pytestmark = pytest.mark.anyio

PLANTED = ("AKIAPLANTED", "planted-secret", "planted-token")
Act = Callable[[S3Storage, Path], Coroutine[Any, Any, None]]


async def list_all(storage: S3Storage, _: Path) -> None:
    async for _page in storage.pages("in/"):
        pass


async def stat(storage: S3Storage, _: Path) -> None:
    await storage.stat("in/a.mp4")


async def read(storage: S3Storage, _: Path) -> None:
    await pour(storage, "e:4", bytearray())


async def create(storage: S3Storage, folder: Path) -> None:
    (folder / "source").write_bytes(b"x")
    await storage.create("in/a.mp4", folder / "source", 1, "00", "video/mp4")


async def remove(storage: S3Storage, _: Path) -> None:
    await storage.remove("in/a.mp4", "e:4")


ACTS = {"list": list_all, "stat": stat, "read": read, "create": create, "remove": remove}


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vvwatch.providers.s3.client._ATTEMPTS", 1)


@pytest.fixture
def proxy() -> Iterator[HttpFaultProxy]:
    with HttpFaultProxy((LOOPBACK, free_port())) as proxy:
        yield proxy


@pytest.fixture
async def storage(proxy: HttpFaultProxy, tmp_path: Path) -> AsyncIterator[S3Storage]:
    """A bucket of a server that answers what the test tells the proxy to."""
    async with adapter(tmp_path, S3Location("media", "us-east-1", proxy.url)) as storage:
        yield storage


async def failure(act: Act, storage: S3Storage, folder: Path) -> StorageError:
    """What the act raises, which shows nobody a secret."""
    try:
        await act(storage, folder)
    except StorageError as error:
        shown = (
            repr(error),
            str(error),
            error.message,
            error.hint,
            "".join(traceback.format_exception(error)),
        )
        assert not [secret for secret in PLANTED if secret in "\n".join(shown)]
        return error
    raise AssertionError("it went well")


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    ("answer", "kind", "hint"),
    [
        (refusal(403, "InvalidAccessKeyId"), CredentialsRefused, "access key id"),
        (refusal(403, "SignatureDoesNotMatch"), CredentialsRefused, "secret access key"),
        (refusal(400, "ExpiredToken"), CredentialsRefused, "new ones"),
        (refusal(400, "InvalidToken"), CredentialsRefused, "belongs to the access key"),
        (refusal(403, "RequestTimeTooSkewed"), CredentialsRefused, "clock"),
        (refusal(400, "AuthorizationHeaderMalformed"), CredentialsRefused, "access key id"),
        (refusal(401, "Whatever"), CredentialsRefused, "check"),
        (refusal(403, "AccessDenied"), AccessDenied, "grant s3:"),
        (refusal(403, "SomethingNew"), AccessDenied, "grant s3:"),
        (refusal(404, "NoSuchBucket"), StorageUnavailable, "create it or correct the name"),
        (refusal(301, "PermanentRedirect"), StorageUnavailable, "the bucket's own"),
        (refusal(500, "InternalError"), StorageUnavailable, "again"),
        (refusal(400, "\x1b[31m" * 100), StorageUnavailable, "again"),
        (Answer(502, b"<html>Bad gateway</html>"), StorageUnavailable, "again"),
        (refusal(503, "SlowDown"), StorageThrottled, "again"),
        (refusal(429, "TooManyRequests"), StorageThrottled, "again"),
    ],
)  # fmt: skip
async def test_a_refusal_is_told_in_our_words(
    proxy: HttpFaultProxy,
    storage: S3Storage,
    tmp_path: Path,
    answer: Answer,
    kind: type[StorageError],
    hint: str,
) -> None:
    proxy.fail(answer, times=FOREVER)
    for name, act in ACTS.items():
        error = await failure(act, storage, tmp_path)
        assert type(error) is kind, name
        assert storage.uri("in/") in error.message
        assert error.message.isprintable()
        assert hint in error.hint


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    ("answer", "outcomes"),
    [
        (refusal(404, "NoSuchKey"), {"list": StorageUnavailable, "stat": ObjectNotFound, "read": ObjectNotFound}),
        (Answer(404), {"list": StorageUnavailable, "stat": ObjectNotFound, "remove": ObjectNotFound}),
        (refusal(405, "MethodNotAllowed"), {"stat": ObjectNotFound, "read": ObjectNotFound}),
        (refusal(400, "KeyTooLongError"), {"stat": ObjectNotFound, "read": ObjectNotFound}),
        (refusal(412, "PreconditionFailed"), {"read": ObjectChanged, "create": ObjectExists}),
        (refusal(416, "InvalidRange"), {"read": ObjectChanged}),
        (refusal(403, "InvalidObjectState"), {"read": ObjectArchived}),
        (refusal(409, "ConditionalRequestConflict"), {"create": StorageUnavailable}),
    ],
)  # fmt: skip
async def test_what_a_refusal_means_depends_on_what_was_asked(
    proxy: HttpFaultProxy,
    storage: S3Storage,
    tmp_path: Path,
    answer: Answer,
    outcomes: dict[str, type[StorageError]],
) -> None:
    for name, kind in outcomes.items():
        if name == "create":  # looks first
            proxy.fail(refusal(404, "NoSuchKey"), "^(HEAD|GET)", times=FOREVER)
        proxy.fail(answer, times=FOREVER)
        assert type(await failure(ACTS[name], storage, tmp_path)) is kind, name
        proxy.heal()


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    "answer",
    [
        refusal(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-3"}),
        refusal(400, "AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>"),
        refusal(400, "IllegalLocationConstraintException", headers={"x-amz-bucket-region": "eu-west-3"}),
    ],
)
async def test_a_wrong_region_is_corrected_by_the_hint(
    proxy: HttpFaultProxy, storage: S3Storage, tmp_path: Path, answer: Answer
) -> None:
    proxy.fail(answer, times=FOREVER)
    for act in (list_all, stat, read):
        error = await failure(act, storage, tmp_path)
        assert type(error) is StorageUnavailable
        assert "another region" in error.message
        assert error.hint == "set region to 'eu-west-3'"


async def test_a_region_that_the_store_tells_is_used_at_once(
    proxy: HttpFaultProxy, storage: S3Storage, tmp_path: Path
) -> None:
    proxy.fail(refusal(400, "AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>"), times=1)
    proxy.fail(listing(contents("in/a.mp4")))
    await list_all(storage, tmp_path)
    assert "/eu-west-3/s3/aws4_request" in proxy.seen[-1].headers["authorization"]


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    ("said", "seconds"), [({}, None), ({"Retry-After": "7"}, 7.0), ({"Retry-After": "x"}, None)]
)
async def test_slow_down_says_for_how_long_when_the_store_does(
    proxy: HttpFaultProxy, storage: S3Storage, tmp_path: Path, said: dict[str, str], seconds: float | None
) -> None:
    proxy.fail(refusal(503, "SlowDown", headers=said), times=FOREVER)
    for act in ACTS.values():
        error = await failure(act, storage, tmp_path)
        assert isinstance(error, StorageThrottled)
        assert error.retry_after_seconds == seconds


@pytest.mark.usefixtures("once")
async def test_a_denial_names_the_permission_that_the_store_names(
    proxy: HttpFaultProxy, storage: S3Storage, tmp_path: Path
) -> None:
    message = (
        "User: arn:aws:iam::1:user/x is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:1"
    )
    body = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
    proxy.fail(Answer(403, body.encode()), times=FOREVER)
    assert "grant kms:Decrypt on the bucket's key" in (await failure(read, storage, tmp_path)).hint


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    "answer",
    [
        refusal(200, "InternalError"),
        Answer(200),
        Answer(200, b"<html>Sign in</html>"),
        Answer(200, b"<ListBucketResult><IsTruncated>false</IsTruncated>"),
        Answer(200, b"<ListBucketResult><Error/></ListBucketResult>"),
    ],
)
async def test_what_is_no_listing_is_no_empty_one(
    proxy: HttpFaultProxy, storage: S3Storage, tmp_path: Path, answer: Answer
) -> None:
    proxy.fail(answer, times=FOREVER)
    assert type(await failure(list_all, storage, tmp_path)) is StorageUnavailable


@pytest.mark.usefixtures("once")
async def test_an_answer_that_says_too_little_is_none(
    proxy: HttpFaultProxy, storage: S3Storage, tmp_path: Path
) -> None:
    proxy.fail(Answer(200), times=2)
    assert "the answer has no " in (await failure(stat, storage, tmp_path)).message
    proxy.fail(Answer(200), times=2)
    assert "cannot be listed" in (await failure(read, storage, tmp_path)).message
    proxy.fail(Answer(200, headers={"ETag": '"e"', "Last-Modified": "never"}))
    assert type(await failure(stat, storage, tmp_path)) is StorageUnavailable
    (tmp_path / "source").write_bytes(bytes(9 << 20))
    proxy.fail(refusal(404, "NoSuchKey"), "^(HEAD|GET)", times=2)
    proxy.fail(Answer(200, b"<InitiateMultipartUploadResult/>"), r"^POST .*\?uploads")
    with pytest.raises(StorageUnavailable, match="has no UploadId"):
        await storage.create("in/a.mp4", tmp_path / "source", 9 << 20, "00", "x/y")


@pytest.mark.usefixtures("once")
async def test_a_listing_that_breaks_half_way_raises(proxy: HttpFaultProxy, storage: S3Storage) -> None:
    proxy.fail(listing(contents("a.mp4"), token="1"))
    proxy.fail(refusal(500, "InternalError"), times=FOREVER)
    pages = storage.pages("")
    assert [obj.key for obj in (await anext(pages)).objects] == ["a.mp4"]
    with pytest.raises(StorageUnavailable):
        await anext(pages)


@pytest.mark.usefixtures("once")
async def test_a_body_that_breaks_off_raises_from_its_iterator(ministack: S3Server, tmp_path: Path) -> None:
    key = S3Credentials(ministack.access_key_id, ministack.secret_access_key)
    await make_bucket(ministack, "cut-bodies")
    async with raw_client(ministack) as client:
        await client.put_object(Bucket="cut-bodies", Key="in/a.mp4", Body=bytes(1 << 20))
    with HttpFaultProxy(ministack.address) as proxy:
        location = S3Location("cut-bodies", ministack.region, proxy.url)
        async with adapter(tmp_path, location, key) as storage:
            version = (await storage.stat("in/a.mp4")).version
            proxy.fail(Cut(500_000))
            received = bytearray()
            with pytest.raises(StorageUnavailable, match="broke off"):
                await pour(storage, version, received)
            assert len(received) == 500_000


async def pour(storage: S3Storage, version: str, into: bytearray) -> None:
    async with storage.opened("in/a.mp4", version) as incoming:
        async for chunk in incoming.chunks:
            into += chunk


@pytest.mark.usefixtures("once")
async def test_an_endpoint_that_is_down_or_hangs_up_is_unavailable(
    proxy: HttpFaultProxy, storage: S3Storage, tmp_path: Path
) -> None:
    proxy.fail(Reset(), times=FOREVER)
    for act in ACTS.values():
        assert type(await failure(act, storage, tmp_path)) is StorageUnavailable
    proxy.cut()
    for act in ACTS.values():
        error = await failure(act, storage, tmp_path)
        assert type(error) is StorageUnavailable
        assert "cannot be reached: Connection refused" in error.message


async def test_a_signature_is_checked(seaweed: S3Server, tmp_path: Path) -> None:
    await make_bucket(seaweed, "signed")
    location = S3Location("signed", seaweed.region, seaweed.endpoint_url)
    for credentials, hint in (
        (S3Credentials(seaweed.access_key_id, "planted-secret"), "secret access key"),
        (S3Credentials("AKIAPLANTED", "planted-secret"), "access key id"),
    ):
        async with adapter(tmp_path, location, credentials) as storage:
            for act in ACTS.values():
                error = await failure(act, storage, tmp_path)
                assert type(error) is CredentialsRefused
                assert hint in error.hint


@pytest.mark.parametrize(
    ("permission", "resource", "denied"),
    [("s3:ListBucket", "", "list"), ("s3:GetObject", "/*", "read"), ("s3:PutObject", "/*", "create")],
)
async def test_who_lacks_a_permission_learns_which(
    moto_iam: S3Server, tmp_path: Path, permission: str, resource: str, denied: str
) -> None:
    name = f"b-{secrets.token_hex(8)}"
    await make_bucket(moto_iam, name)
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    but_one = {"Effect": "Deny", "Action": permission, "Resource": "*"}
    user = await make_user(moto_iam, name, everything, but_one)
    key = S3Credentials(user.access_key_id, user.secret_access_key)
    async with adapter(tmp_path, S3Location(name, user.region, user.endpoint_url), key) as storage:
        error = await failure(ACTS[denied], storage, tmp_path)
    assert type(error) is AccessDenied
    assert error.hint.startswith(f"grant {permission} on arn:aws:s3:::{name}{resource}")


@pytest.mark.usefixtures("once")
async def test_the_sdk_s_own_words_hold_no_secrets_either(
    proxy: HttpFaultProxy, storage: S3Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy.fail(refusal(403, "SignatureDoesNotMatch"), times=FOREVER)
    for act in ACTS.values():
        await failure(act, storage, tmp_path)
    assert not [secret for secret in PLANTED if secret in caplog.text]


def test_credentials_show_nobody_what_they_are() -> None:
    location = S3Location("media", "us-east-1", proxy="http://user:planted-secret@proxy:1")
    shown = f"{CREDENTIALS!r} {CREDENTIALS} {location!r}"
    assert not [secret for secret in PLANTED if secret in shown]
