"""What becomes of Google Cloud Storage's refusals, of broken answers, and of no answer at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.emulators.fake_gcs import FakeGcs, make_bucket
from tests.fault_proxy import LOOPBACK, free_port
from tests.http_faults import FOREVER, Answer, Cut, HttpFaultProxy, Reset
from tests.providers.gcs.gcs_places import BUCKET, adapter, described
from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.providers.gcs.storage import GcsStorage

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 10_000
SECRET = "ya29.planted-secret"
Act = Callable[[GcsStorage, Path], Coroutine[Any, Any, None]]


async def list_all(storage: GcsStorage, _: Path) -> None:
    async for _page in storage.pages("in/"):
        pass


async def stat(storage: GcsStorage, _: Path) -> None:
    await storage.stat("in/a.mp4")


async def read(storage: GcsStorage, _: Path) -> None:
    await drain(storage, "1")


async def drain(storage: GcsStorage, version: str) -> None:
    async with storage.opened("in/a.mp4", version) as incoming:
        async for _ in incoming.chunks:
            pass


async def create(storage: GcsStorage, folder: Path) -> None:
    (folder / "source").write_bytes(b"x")
    await storage.create("in/a.mp4", folder / "source", 1, "00", "video/mp4")


async def remove(storage: GcsStorage, _: Path) -> None:
    await storage.remove("in/a.mp4", "1")


ACTS = {"list": list_all, "stat": stat, "read": read, "create": create, "remove": remove}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vvwatch.providers.gcs.session._PAUSES_SECONDS", (0, 0))


@pytest.fixture
def proxy(fake_gcs: FakeGcs) -> Iterator[HttpFaultProxy]:
    parts = urlsplit(fake_gcs.endpoint_url)
    with HttpFaultProxy((str(parts.hostname), int(parts.port or 0))) as proxy:
        yield proxy


@pytest.fixture
async def storage(proxy: HttpFaultProxy, tmp_path: Path) -> AsyncIterator[GcsStorage]:
    async with adapter(tmp_path, proxy.url) as storage:
        yield storage


@pytest.fixture
async def filled(fake_gcs: FakeGcs, proxy: HttpFaultProxy, tmp_path: Path) -> AsyncIterator[GcsStorage]:
    """A bucket that holds `in/a.mp4`."""
    bucket = make_bucket(fake_gcs, f"b-{secrets.token_hex(4)}")
    fake_gcs.put(bucket, "in/a.mp4", CONTENT)
    async with adapter(tmp_path, proxy.url, bucket) as storage:
        yield storage


def refusal(
    status: int, message: str = "", reason: str = "", headers: dict[str, str] | None = None
) -> Answer:
    """A refusal as the JSON API words it."""
    told = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return Answer(status, json.dumps({"error": told}).encode(), headers or {})


def described_as(version: str) -> Answer:
    return Answer(200, json.dumps(described("in/a.mp4", int(version), 1)).encode())


async def fails(act: Act, storage: GcsStorage, folder: Path) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await act(storage, folder)
    return caught.value


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(401, "Invalid Credentials", "authError"), CredentialsRefused),
        (refusal(403, "Forbidden", "forbidden"), AccessDenied),
        (refusal(403, "slow down", "rateLimitExceeded"), StorageThrottled),
        (refusal(404, "The specified bucket does not exist.", "notFound"), StorageUnavailable),
        (Answer(404, b"The specified bucket does not exist."), StorageUnavailable),
        (refusal(429, "slow down", "rateLimitExceeded"), StorageThrottled),
        (refusal(503, "Backend Error", "backendError"), StorageThrottled),
        (Answer(500, b"<html>"), StorageUnavailable),
        (Answer(302, b"", {"Location": "http://127.0.0.1:1/"}), StorageUnavailable),
        (refusal(400, "Invalid bucket name", "invalid"), StorageError),
        (
            refusal(400, "Bucket is a requester pays bucket but no user project provided.", "required"),
            AccessDenied,
        ),
    ],
    ids=lambda value: f"{value.status}-{value.body[-40:-30]!r}" if isinstance(value, Answer) else "",
)
async def test_every_refusal_has_its_meaning(
    storage: GcsStorage,
    proxy: HttpFaultProxy,
    tmp_path: Path,
    name: str,
    answer: Answer,
    expected: type[StorageError],
) -> None:
    proxy.fail(answer, times=FOREVER)
    error = await fails(ACTS[name], storage, tmp_path)
    assert type(error) is expected
    assert error.hint
    assert f"{proxy.url}/{BUCKET}/in/" in error.message


@pytest.mark.parametrize("body", [b"No such object: media/in/a.mp4", b""])
@pytest.mark.parametrize("act", [stat, read, remove])
async def test_an_object_that_is_gone_is_not_found(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path, act: Act, body: bytes
) -> None:
    proxy.fail(Answer(404, body), times=FOREVER)
    assert type(await fails(act, storage, tmp_path)) is ObjectNotFound


@pytest.mark.parametrize(
    ("act", "request_line", "expected"),
    [
        (read, "^GET", ObjectChanged),
        (create, "^POST", ObjectExists),
        (remove, "^DELETE", ObjectChanged),
    ],
)
async def test_a_condition_that_does_not_hold(
    storage: GcsStorage,
    proxy: HttpFaultProxy,
    tmp_path: Path,
    act: Act,
    request_line: str,
    expected: type[StorageError],
) -> None:
    proxy.fail(refusal(412, "Precondition Failed", "conditionNotMet"), request_line)
    proxy.fail(described_as("1"), "^GET", times=FOREVER)
    assert type(await fails(act, storage, tmp_path)) is expected


@pytest.mark.parametrize(
    ("message", "told", "hint"),
    [
        (
            "watch@project.iam.gserviceaccount.com does not have storage.objects.get access to the object.",
            "watch@project.iam.gserviceaccount.com",
            "grant storage.objects.get on bucket 'media', which the role Storage Object Viewer has",
        ),
        (
            "Anonymous caller does not have storage.buckets.get access to the Google Cloud Storage bucket.",
            "Anonymous caller",
            "grant storage.buckets.get on bucket 'media'",
        ),
        (
            "watch@project.iam.gserviceaccount.com does not have serviceusage.services.use access.",
            "watch@project.iam.gserviceaccount.com",
            "grant serviceusage.services.use on bucket 'media'",
        ),
        (
            f"Forbidden for {SECRET}",
            "this identity",
            "grant storage.objects.get on bucket 'media', which the role Storage Object Viewer has",
        ),
    ],
)
async def test_the_missing_permission_is_named(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path, message: str, told: str, hint: str
) -> None:
    proxy.fail(refusal(403, message, "forbidden"))
    error = await fails(stat, storage, tmp_path)
    assert told in error.message
    assert error.hint == hint
    assert SECRET not in error.message


@pytest.mark.parametrize(
    ("act", "permission"),
    [
        (list_all, "storage.objects.list"),
        (read, "storage.objects.get"),
        (create, "storage.objects.create"),
        (remove, "storage.objects.delete"),
    ],
)
async def test_without_a_word_the_operation_names_the_permission(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path, act: Act, permission: str
) -> None:
    if act is remove:
        proxy.fail(described_as("1"), "^GET")
    proxy.fail(Answer(403, b"nothing of a known form"))
    assert permission in (await fails(act, storage, tmp_path)).hint


async def test_a_store_that_says_when_is_not_asked_before(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path
) -> None:
    proxy.fail(refusal(429, headers={"Retry-After": "7"}), times=FOREVER)
    error = await fails(list_all, storage, tmp_path)
    assert isinstance(error, StorageThrottled)
    assert error.retry_after_seconds == 7
    assert proxy.count() == 1


@pytest.mark.parametrize(
    "fault", [refusal(503), Answer(408), Reset(), Cut(10)], ids=["503", "408", "reset", "cut"]
)
async def test_what_passes_is_asked_again(
    filled: GcsStorage, proxy: HttpFaultProxy, fault: Answer | Reset | Cut
) -> None:
    proxy.fail(fault, times=2)
    assert [obj.key async for page in filled.pages("") for obj in page.objects] == ["in/a.mp4"]
    assert proxy.count() == 3


async def test_what_does_not_pass_is_asked_three_times(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path
) -> None:
    proxy.fail(Answer(500), times=FOREVER)
    await fails(list_all, storage, tmp_path)
    assert proxy.count() == 3


async def test_a_body_that_is_cut_is_said_and_read_on_from_there(
    filled: GcsStorage, proxy: HttpFaultProxy
) -> None:
    obj = await filled.stat("in/a.mp4")
    proxy.fail(Cut(100_000), "alt=media")
    with pytest.raises(StorageUnavailable, match="broke off"):
        await drain(filled, obj.version)
    proxy.fail(Cut(1_500_000), "alt=media")
    async with filled.descriptor(obj.key, obj.version) as descriptor:
        assert os.pread(descriptor, len(CONTENT) + 1, 0) == CONTENT
    assert proxy.seen[-1].headers["range"].startswith("bytes=1")


async def test_bytes_that_the_store_states_otherwise_are_not_taken_at_once(
    filled: GcsStorage, proxy: HttpFaultProxy
) -> None:
    obj = await filled.stat("in/a.mp4")
    other_md5 = {"X-Goog-Generation": obj.version, "X-Goog-Hash": "md5=" + "A" * 22 + "=="}
    proxy.fail(Answer(200, CONTENT, other_md5))
    with pytest.raises(StorageUnavailable, match="other bytes than the store states"):
        async with filled.descriptor(obj.key, obj.version):
            pass


@pytest.mark.parametrize(
    "answer",
    [
        Answer(206, b"x", {"Content-Range": "bytes 0-0/9"}),
        Answer(206, b"x", {"Content-Range": "bytes 5-5/*"}),
        Answer(206, b"x"),
        Answer(200, b"x" * 9),
    ],
)
async def test_another_range_than_the_one_asked_for_is_not_taken(
    storage: GcsStorage, proxy: HttpFaultProxy, answer: Answer
) -> None:
    proxy.fail(answer)
    with pytest.raises(StorageUnavailable, match="something other"):
        async with storage.opened("a.mp4", "1", 5, 1):
            pass


async def test_a_listing_that_breaks_half_way_raises(
    filled: GcsStorage, fake_gcs: FakeGcs, proxy: HttpFaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.gcs.storage.PAGE_KEYS", 1)
    bucket = urlsplit(filled.uri("")).path.strip("/")
    fake_gcs.put(bucket, "in/b.mp4", b"x")
    proxy.fail(Answer(500), "pageToken", times=FOREVER)
    async with aclosing(filled.pages("")) as pages:
        assert [obj.key for obj in (await anext(pages)).objects] == ["in/a.mp4"]
        with pytest.raises(StorageUnavailable):
            await anext(pages)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>please sign in</html>",
        b'{"kind":"storage#bucket"}',
        b'{"kind":"storage#objects","items":{}',
        b'{"kind":"storage#objects","items":["a"]}',
        b'{"kind":"storage#objects","nextPageToken":7}',
        b'{"kind":"storage#objects","prefixes":[null]}',
        b"[" * 60_000,
    ],
)
async def test_what_is_no_listing_is_not_an_empty_one(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path, body: bytes
) -> None:
    proxy.fail(Answer(200, body))
    error = await fails(list_all, storage, tmp_path)
    assert type(error) is StorageUnavailable
    assert "something other" in error.message


async def test_an_entry_that_tells_too_little_is_left_out_alone(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path
) -> None:
    proxy.fail(Answer(200, b'{"kind":"storage#objects","items":[{"name":"a"}]}'))
    pages = [page async for page in storage.list("", recursive=True)]
    assert [obj for page in pages for obj in page.objects] == []
    [entry] = [each for page in pages for each in page.irregular]
    assert (entry.key, entry.reason) == ("a", "incomplete_entry")


@pytest.mark.parametrize("circle", [1, 2, 3, 5])
async def test_page_tokens_that_go_round_are_noticed(
    storage: GcsStorage, proxy: HttpFaultProxy, circle: int
) -> None:
    for number in range(40):
        proxy.fail(Answer(200, b'{"kind":"storage#objects","nextPageToken":"%d"}' % (number % circle)))
    with pytest.raises(StorageUnavailable, match="same continuation token twice"):
        await list_all(storage, Path())


async def test_folders_that_a_service_repeats_are_listed_once(
    storage: GcsStorage, proxy: HttpFaultProxy
) -> None:
    proxy.fail(Answer(200, b'{"kind":"storage#objects","prefixes":["a/","b/","a/"],"nextPageToken":"1"}'))
    proxy.fail(Answer(200, b'{"kind":"storage#objects","prefixes":["b/","c/"]}'))
    pages = [list(page.folders) async for page in storage.pages("", level=True)]
    assert pages == [["a/", "b/"], ["c/"]]


async def test_keys_up_to_the_start_are_left_out_whoever_lists(
    storage: GcsStorage, proxy: HttpFaultProxy
) -> None:
    items = [described(key, 1, 1) for key in ("a", "b", "c")]
    proxy.fail(Answer(200, json.dumps({"kind": "storage#objects", "items": items}).encode()))
    assert [obj.key async for page in storage.pages("", after="b") for obj in page.objects] == ["c"]


@pytest.mark.parametrize("headers", [{}, {"Location": "http://["}])
async def test_an_upload_without_an_address_is_not_begun(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path, headers: dict[str, str]
) -> None:
    (tmp_path / "source").write_bytes(bytes(9 << 20))
    proxy.fail(Answer(404), "^GET")
    proxy.fail(Answer(200, b"", headers), "^POST")
    with pytest.raises(StorageUnavailable, match="something other"):
        await storage.create("a.bin", tmp_path / "source", 9 << 20, "00", "video/mp4")


async def test_a_redirect_is_not_followed(storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path) -> None:
    proxy.fail(Answer(307, b"", {"Location": f"{proxy.url}/elsewhere"}), times=FOREVER)
    assert type(await fails(list_all, storage, tmp_path)) is StorageUnavailable
    assert proxy.count("/elsewhere") == 0


async def test_an_endpoint_that_is_down_is_named(tmp_path: Path) -> None:
    port = free_port()
    async with adapter(tmp_path, f"http://{LOOPBACK}:{port}") as storage:
        error = await fails(list_all, storage, tmp_path)
    assert type(error) is StorageUnavailable
    assert f"{LOOPBACK}:{port} cannot be reached" in error.message


async def test_no_text_of_an_answer_is_passed_on(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path
) -> None:
    for status in (400, 401, 403, 404, 409, 412, 429, 500, 503):
        proxy.heal()
        proxy.fail(refusal(status, SECRET, f"no {SECRET}"), times=FOREVER)
        for act in ACTS.values():
            error = await fails(act, storage, tmp_path)
            assert SECRET not in f"{error.message} {error.hint}"
