"""What is special to S3 among the object stores, on servers that speak its protocol."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from tests.emulators.s3_server import S3Server
from tests.http_faults import FOREVER, Answer, Hang, HttpFaultProxy
from tests.providers.s3.s3_buckets import Bucket, adapter, bucket_of, contents, listing, refusal
from vvwatch.core.store_notes import Oddity
from vvwatch.errors import (
    AccessDenied,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    StorageUnavailable,
)
from vvwatch.providers.s3.storage import S3Location, S3Storage
from vvwatch.providers.spool import Spool

pytestmark = pytest.mark.anyio

MIB = 1 << 20
RESTORE_SECONDS = 20


@pytest.fixture
async def bucket(ministack: S3Server, tmp_path: Path) -> AsyncIterator[Bucket]:
    async with bucket_of(ministack, tmp_path) as bucket:
        yield bucket


@pytest.fixture
def proxy(ministack: S3Server) -> Iterator[HttpFaultProxy]:
    with HttpFaultProxy(ministack.address) as proxy:
        yield proxy


@pytest.fixture
async def canned(proxy: HttpFaultProxy, tmp_path: Path) -> AsyncIterator[S3Storage]:
    """A bucket of a server that answers what the test tells the proxy to."""
    async with adapter(tmp_path, S3Location("media", "us-east-1", proxy.url)) as storage:
        yield storage


def head(**headers: str) -> Answer:
    """An answer to a HEAD of an object of four bytes."""
    said = {"ETag": '"e"', "Content-Length": "4", "Last-Modified": "Sun, 22 Nov 2026 05:12:33 GMT", **headers}
    return Answer(200, headers=said)


# Versions


async def test_a_version_is_etag_and_size_also_of_an_object_of_parts(bucket: Bucket) -> None:
    await bucket.put("small", b"four")
    await bucket.storage.write("large", bucket.source(os.urandom(9 * MIB)), content_type="x/y")
    found = {obj.key: obj async for page in bucket.storage.pages("") for obj in page.objects}
    assert found["small"].version == f"{hashlib.md5(b'four').hexdigest()}:4"
    assert found["large"].version.endswith(f"-2:{9 * MIB}")
    assert {key: await bucket.storage.stat(key) for key in found} == found


async def test_reupload_same_bytes_keeps_the_version(bucket: Bucket) -> None:
    await bucket.put("a.mp4", b"same")
    before = await bucket.storage.stat("a.mp4")
    await bucket.put("a.mp4", b"same")
    assert await bucket.read("a.mp4", before.version) == b"same"
    await bucket.put("a.mp4", b"else")
    assert (await bucket.storage.stat("a.mp4")).version != before.version


async def test_noncurrent_version_event_only_what_stands_there_now_is_an_object(bucket: Bucket) -> None:
    enabled = {"Status": "Enabled"}
    await bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration=enabled)
    await bucket.put("a.mp4", b"first")
    first = await bucket.storage.stat("a.mp4")
    await bucket.put("a.mp4", b"second")
    assert await bucket.keys() == ["a.mp4"]
    with pytest.raises(ObjectChanged):
        await bucket.read("a.mp4", first.version)
    await bucket.client.delete_object(Bucket=bucket.name, Key="a.mp4")
    assert await bucket.keys() == []
    for looked_for in (bucket.storage.stat("a.mp4"), bucket.read("a.mp4", first.version)):
        with pytest.raises(ObjectNotFound):
            await looked_for
    await bucket.put("a.mp4", b"first")
    assert await bucket.read("a.mp4", first.version) == b"first"


async def test_a_delete_in_a_versioned_bucket_leaves_the_versions(bucket: Bucket) -> None:
    enabled = {"Status": "Enabled"}
    await bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration=enabled)
    version_id = await bucket.put("a.mp4", b"ours")
    await bucket.storage.delete("a.mp4", (await bucket.storage.stat("a.mp4")).version)
    kept = await bucket.client.get_object(Bucket=bucket.name, Key="a.mp4", VersionId=version_id)
    assert await kept["Body"].read() == b"ours"


# Archives


async def test_glacier_then_restored(bucket: Bucket) -> None:
    await bucket.put("cold.mp4", b"cold", StorageClass="GLACIER")
    await bucket.put("warm.mp4", b"warm", StorageClass="GLACIER_IR")
    found = {obj.key: obj async for page in bucket.storage.pages("") for obj in page.objects}
    assert {key: obj.archived for key, obj in found.items()} == {"cold.mp4": True, "warm.mp4": False}
    version = found["cold.mp4"].version
    with pytest.raises(ObjectArchived):
        await bucket.read("cold.mp4", version)
    keys = ["cold.mp4", "warm.mp4", "gone.mp4"]
    assert await bucket.storage.restored(keys) == {"warm.mp4"}
    days = {"Days": 1, "GlacierJobParameters": {"Tier": "Expedited"}}
    await bucket.client.restore_object(Bucket=bucket.name, Key="cold.mp4", RestoreRequest=days)
    assert await bucket.storage.restored(keys) == {"warm.mp4"}  # it takes its time
    with anyio.fail_after(RESTORE_SECONDS):
        while "cold.mp4" not in await bucket.storage.restored(keys):  # noqa: ASYNC110  # nobody tells
            await anyio.sleep(0.1)
    assert await bucket.read("cold.mp4", version) == b"cold"
    assert (await bucket.storage.stat("cold.mp4")).version == version


async def test_an_archive_tier_is_learnt_of_when_the_object_is_read(
    canned: S3Storage, proxy: HttpFaultProxy
) -> None:
    proxy.fail(listing(contents("a.mp4")), "list-type=2")
    (page,) = [page async for page in canned.pages("")]
    assert not page.objects[0].archived
    proxy.fail(refusal(403, "InvalidObjectState"), "^GET")
    with pytest.raises(ObjectArchived, match="it is archived"):
        async with canned.opened("a.mp4", "e:4"):
            pass
    proxy.fail(
        head(**{"x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-archive-status": "ARCHIVE_ACCESS"})
    )
    assert await canned.restored(["a.mp4"]) == set()
    proxy.fail(head(**{"x-amz-storage-class": "INTELLIGENT_TIERING"}))
    assert await canned.restored(["a.mp4"]) == {"a.mp4"}


async def test_a_restore_under_way_is_none(canned: S3Storage, proxy: HttpFaultProxy) -> None:
    proxy.fail(head(**{"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="true"'}))
    assert await canned.restored(["a.mp4"]) == set()


async def test_an_archived_object_that_may_not_be_looked_at_holds_up_no_other(
    canned: S3Storage, proxy: HttpFaultProxy
) -> None:
    proxy.fail(refusal(403, "AccessDenied"), "denied.mp4", times=FOREVER)
    proxy.fail(head(**{"x-amz-storage-class": "GLACIER_IR"}), "warm.mp4")
    assert await canned.restored(["denied.mp4", "warm.mp4"]) == {"warm.mp4"}


async def test_who_cannot_look_cannot_say_what_is_restored(canned: S3Storage, proxy: HttpFaultProxy) -> None:
    proxy.fail(refusal(404, "NoSuchBucket"), times=FOREVER)
    with pytest.raises(StorageUnavailable):  # alone, in no group
        await canned.restored([f"{number}.mp4" for number in range(20)])


# Reading


async def test_an_etag_is_only_vouched_for_when_it_is_an_md5(
    bucket: Bucket, canned: S3Storage, proxy: HttpFaultProxy
) -> None:
    await bucket.put("plain", b"four")
    await bucket.storage.write("parts", bucket.source(os.urandom(9 * MIB)), content_type="x/y")
    digests = {}
    for key in ("plain", "parts"):
        async with bucket.storage.opened(key, (await bucket.storage.stat(key)).version) as incoming:
            digests[key] = incoming.md5
    assert digests == {"plain": hashlib.md5(b"four").digest(), "parts": None}
    etag = hashlib.md5(b"cipher").hexdigest()
    for encryption, vouched in (("AES256", True), ("aws:kms", False), ("aws:kms:dsse", False)):
        proxy.fail(Answer(200, b"four", {"ETag": f'"{etag}"', "x-amz-server-side-encryption": encryption}))
        async with canned.opened("a.mp4", f"{etag}:4") as incoming:
            assert (incoming.md5 is not None) is vouched


async def test_a_server_that_minds_no_condition_is_found_out(
    canned: S3Storage, proxy: HttpFaultProxy
) -> None:
    """What else is told of it decides whether it was replaced: here nothing says that it was not."""
    for entry in (contents("a.mp4"), contents("a.mp4").replace("&quot;e&quot;", "other"), ""):
        proxy.fail(Answer(200, b"else", {"ETag": '"other"'}))
        proxy.fail(listing(entry))
        with pytest.raises(ObjectChanged):
            await content(canned, "a.mp4", "e:4")


async def test_an_object_with_two_names_is_the_one_that_is_listed(
    canned: S3Storage, proxy: HttpFaultProxy
) -> None:
    told = {"ETag": '"other"', "Last-Modified": "Sun, 22 Nov 2026 05:12:33 GMT"}
    later = {**told, "Last-Modified": "Sun, 22 Nov 2026 05:12:35 GMT"}
    for _ in range(2):
        proxy.fail(Answer(200, b"four", told), "^GET /media/a.mp4")
        proxy.fail(listing(contents("a.mp4")), "list-type=2", times=2)
        proxy.fail(head(**told), "^HEAD")
        assert await content(canned, "a.mp4", "e:4") == b"four"
    assert list(canned.notes.odd) == [Oddity.OTHER_VERSIONS]
    proxy.fail(Answer(200, b"else", later), "^GET /media/a.mp4")
    proxy.fail(listing(contents("a.mp4")), "list-type=2")
    with pytest.raises(ObjectChanged):
        await content(canned, "a.mp4", "e:4")


async def test_a_server_that_sends_all_of_an_object_for_a_part_is_cut(
    canned: S3Storage, proxy: HttpFaultProxy
) -> None:
    for start, length, wanted in ((2, 1, b"u"), (0, 1, b"f"), (1, None, b"our"), (3, 9, b"r")):
        proxy.fail(Answer(200, b"four", {"ETag": '"e"'}))
        assert await content(canned, "a.mp4", "e:4", start, length) == wanted
    assert list(canned.notes.odd) == [Oddity.NO_RANGES]
    for answer in (
        Answer(206, b"our", {"ETag": '"e"', "Content-Range": "bytes 1-3/4"}),
        Answer(206, b"our", {"ETag": '"e"'}),
    ):
        proxy.fail(answer)
        with pytest.raises(StorageUnavailable, match="another range"):
            await content(canned, "a.mp4", "e:4", 2, 1)


async def test_a_range_never_ends_behind_the_object(canned: S3Storage, proxy: HttpFaultProxy) -> None:
    proxy.fail(Answer(200, b"four", {"ETag": '"e"'}), times=2)
    for length in (4, 5):
        assert await content(canned, "a.mp4", "e:4", 0, length) == b"four"
    assert all("range" not in request.headers for request in proxy.seen)
    proxy.fail(Answer(206, b"ur", {"ETag": '"e"', "Content-Range": "bytes 2-3/4"}))
    assert await content(canned, "a.mp4", "e:4", 2, 9) == b"ur"
    assert proxy.seen[-1].headers["range"] == "bytes=2-3"


async def content(storage: S3Storage, key: str, version: str, *part: int | None) -> bytes:
    async with storage.opened(key, version, *part) as incoming:  # type: ignore[arg-type]
        return b"".join([chunk async for chunk in incoming.chunks])


# Writing


async def test_what_is_sent_travels_with_its_digest(bucket: Bucket, proxy: HttpFaultProxy) -> None:
    async with bucket.over(proxy.url) as storage:
        await storage.write("small", bucket.source(b"four"), content_type="x/y")
        await storage.write("large", bucket.source(os.urandom(9 * MIB)), content_type="x/y")
    sent = [request for request in proxy.seen if request.words[0] == "PUT"]
    assert len(sent) == 3
    assert all("content-md5" in request.headers for request in sent)


async def test_parts_grow_with_the_object_so_that_there_are_never_too_many(
    bucket: Bucket, proxy: HttpFaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.s3.upload._MOST_PARTS", 2)
    async with bucket.over(proxy.url) as storage:
        written = await storage.write("large", bucket.source(os.urandom(21 * MIB)), content_type="x/y")
    assert written.version.endswith(f"-2:{21 * MIB}")
    assert proxy.count("^PUT .*partNumber=") == 2


async def test_a_server_without_conditional_requests_is_looked_at_first(
    bucket: Bucket, proxy: HttpFaultProxy
) -> None:
    not_there = refusal(501, "NotImplemented")
    async with bucket.over(proxy.url) as storage:
        proxy.fail(not_there, "^PUT")
        written = await storage.write("a.json", bucket.source(b"ours"), content_type="x/y")
        proxy.fail(not_there, "^POST .*uploadId=")
        large = bucket.source(os.urandom(9 * MIB))
        await storage.write("large", large, content_type="x/y")
        proxy.seen.clear()
        with pytest.raises(ObjectExists):
            await storage.create("a.json", large, 4, "00", "x/y")
        assert proxy.count("^PUT") == 0
        proxy.fail(not_there, "^DELETE")
        await storage.delete("a.json", written.version)
    assert await bucket.keys() == ["large"]


async def test_a_success_that_is_an_error_is_asked_again(bucket: Bucket, proxy: HttpFaultProxy) -> None:
    error = refusal(200, "InternalError")
    async with bucket.over(proxy.url) as storage:
        proxy.fail(error, "^POST .*uploadId=")
        await storage.write("large", bucket.source(os.urandom(9 * MIB)), content_type="x/y")
        proxy.fail(error, "list-type=2")
        assert [obj.key async for page in storage.pages("") for obj in page.objects] == ["large"]


async def test_an_upload_whose_end_is_refused_is_given_up(bucket: Bucket, proxy: HttpFaultProxy) -> None:
    proxy.fail(refusal(403, "AccessDenied"), "^POST .*uploadId=")
    async with bucket.over(proxy.url) as storage:
        with pytest.raises(AccessDenied):
            await storage.write("large", bucket.source(os.urandom(9 * MIB)), content_type="x/y")
    left = await bucket.client.list_multipart_uploads(Bucket=bucket.name)
    assert not left.get("Uploads")
    assert await bucket.keys() == []


async def test_an_upload_that_is_cancelled_is_given_up(bucket: Bucket, proxy: HttpFaultProxy) -> None:
    proxy.fail(Hang(), "partNumber=2")
    async with bucket.over(proxy.url) as storage, anyio.create_task_group() as tasks:
        large = bucket.source(os.urandom(9 * MIB))
        tasks.start_soon(storage.create, "large", large, 9 * MIB, "00", "x/y")
        while not proxy.count("partNumber=2"):  # noqa: ASYNC110  # nobody tells
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    left = await bucket.client.list_multipart_uploads(Bucket=bucket.name)
    assert not left.get("Uploads")


async def test_whoever_asks_pays_for_every_request(bucket: Bucket, proxy: HttpFaultProxy) -> None:
    async with bucket.over(proxy.url, requester_pays=True) as storage:
        written = await storage.write("large", bucket.source(os.urandom(9 * MIB)), content_type="x/y")
        await storage.check(read=True, write_below="")
        await storage.delete("large", written.version)
    assert proxy.count() > 12
    assert {request.headers.get("x-amz-request-payer") for request in proxy.seen} == {"requester"}


# Listing


async def test_folders_that_come_again_on_the_next_page_are_told_once(
    canned: S3Storage, proxy: HttpFaultProxy
) -> None:
    group = "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>"
    proxy.fail(listing(group.format("a/"), contents("b"), token="1"))
    proxy.fail(listing(group.format("a/"), group.format("c/")))
    pages = [page async for page in canned.pages("", level=True)]
    assert [list(page.folders) for page in pages] == [["a/"], ["c/"]]


async def test_a_listing_that_goes_round_in_a_circle_is_an_error(
    canned: S3Storage, proxy: HttpFaultProxy
) -> None:
    for token in ("1", "2", "1", "2"):
        proxy.fail(listing(contents("a"), token=token))
    with pytest.raises(StorageUnavailable, match="same continuation token twice"):
        async for _ in canned.pages(""):
            pass
    assert proxy.count() == 4


async def test_a_listing_asks_for_encoded_keys_and_for_what_was_restored(
    canned: S3Storage, proxy: HttpFaultProxy
) -> None:
    proxy.fail(listing())
    async for _ in canned.pages("in/", level=True, after="in/b"):
        pass
    (request,) = proxy.seen
    asked = set(request.words[1].partition("?")[2].split("&"))
    assert asked == {
        "list-type=2",
        "prefix=in%2F",
        "delimiter=%2F",
        "start-after=in%2Fb",
        "encoding-type=url",
    }
    assert request.headers["x-amz-optional-object-attributes"] == "RestoreStatus"


async def test_a_listing_tells_how_far_the_clocks_are_apart(canned: S3Storage, proxy: HttpFaultProxy) -> None:
    answer = listing()
    proxy.fail(Answer(200, answer.body, {**answer.headers, "Date": "Sat, 22 Nov 2036 05:12:33 GMT"}))
    async for _ in canned.pages(""):
        pass
    assert canned.clock_ahead_seconds > 86_400


async def test_the_listing_of_a_directory_bucket_is_not_split(tmp_path: Path) -> None:
    """It refuses prefixes that end within a name, as those of shards do."""
    spool = Spool(tmp_path, 1 << 20)
    for bucket, any_prefix in (("films--use1-az4--x-s3", False), ("films", True)):
        assert S3Storage(S3Location(bucket, "us-east-1"), None, spool).any_prefix is any_prefix
