"""What is special about Google Cloud Storage, against a server that speaks its protocol."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from tests.emulators.fake_gcs import FakeGcs, make_bucket
from tests.http_faults import Answer, HttpFaultProxy
from tests.providers.gcs.gcs_places import adapter, service_account
from vvwatch.core.objects import StorageObject
from vvwatch.errors import ObjectChanged, ObjectExists, ObjectNotFound, OutsideLocation, StorageUnavailable
from vvwatch.providers.gcs.storage import GcsStorage
from vvwatch.providers.remote import Incoming

pytestmark = pytest.mark.anyio

PART_BYTES = 8 << 20


@pytest.fixture
def bucket(fake_gcs: FakeGcs) -> str:
    return make_bucket(fake_gcs, f"b-{secrets.token_hex(4)}")


@pytest.fixture
def proxy(fake_gcs: FakeGcs) -> Iterator[HttpFaultProxy]:
    parts = urlsplit(fake_gcs.endpoint_url)
    with HttpFaultProxy((str(parts.hostname), int(parts.port or 0))) as proxy:
        yield proxy


@pytest.fixture
async def storage(bucket: str, proxy: HttpFaultProxy, tmp_path: Path) -> AsyncIterator[GcsStorage]:
    async with adapter(tmp_path, proxy.url, bucket) as storage:
        yield storage


async def listed(storage: GcsStorage, prefix: str = "", after: str = "") -> dict[str, StorageObject]:
    return {obj.key: obj async for page in storage.pages(prefix, after=after) for obj in page.objects}


async def received(incoming: Incoming) -> bytes:
    return b"".join([chunk async for chunk in incoming.chunks])


async def read(storage: GcsStorage, obj: StorageObject, start: int = 0, length: int | None = None) -> bytes:
    async with storage.opened(obj.key, obj.version, start, length) as incoming:
        assert incoming.size_bytes == obj.size_bytes
        return await received(incoming)


def source(folder: Path, data: bytes) -> Path:
    path = folder / f"source-{secrets.token_hex(4)}"
    path.write_bytes(data)
    return path


async def make(storage: GcsStorage, key: str, data: bytes, folder: Path) -> None:
    await storage.create(
        key, source(folder, data), len(data), hashlib.sha256(data).hexdigest(), "application/json"
    )


async def test_the_version_is_the_generation_from_list_and_stat(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str
) -> None:
    generation = fake_gcs.put(bucket, "in/a.mp4", b"four")
    obj = (await listed(storage))["in/a.mp4"]
    assert obj == await storage.stat("in/a.mp4")
    assert (obj.version, obj.size_bytes, obj.archived) == (generation, 4, False)


async def test_reupload_same_bytes_is_a_new_version(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str
) -> None:
    fake_gcs.put(bucket, "a.mp4", b"same")
    first = await storage.stat("a.mp4")
    fake_gcs.put(bucket, "a.mp4", b"same")
    second = await storage.stat("a.mp4")
    assert first.version != second.version
    with pytest.raises(ObjectChanged):
        await read(storage, first)
    assert await read(storage, second) == b"same"


async def test_delete_recreate_same_bytes_is_a_new_version(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str
) -> None:
    fake_gcs.put(bucket, "a.mp4", b"same")
    first = await storage.stat("a.mp4")
    fake_gcs.remove(bucket, "a.mp4")
    with pytest.raises(ObjectNotFound):
        await read(storage, first)
    fake_gcs.put(bucket, "a.mp4", b"same")
    with pytest.raises(ObjectChanged):
        await read(storage, first)


@pytest.mark.parametrize(("start", "length"), [(0, None), (0, 1), (2, None), (4, 4)])
@pytest.mark.parametrize("now", [b"others", b""])
async def test_no_part_of_another_generation_is_read(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str, start: int, length: int | None, now: bytes
) -> None:
    fake_gcs.put(bucket, "a.mp4", b"before")
    before = await storage.stat("a.mp4")
    fake_gcs.put(bucket, "a.mp4", now)
    with pytest.raises(ObjectChanged):
        await read(storage, before, start, length)


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, None, b"012345"), (0, 3, b"012"), (4, None, b"45"), (4, 9, b"45"), (6, None, b""), (9, 1, b"")],
)
async def test_a_range_is_that_part_and_the_size_is_the_whole(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str, start: int, length: int | None, expected: bytes
) -> None:
    fake_gcs.put(bucket, "a.mp4", b"012345")
    assert await read(storage, await storage.stat("a.mp4"), start, length) == expected


async def test_an_empty_object_has_no_first_byte(storage: GcsStorage, fake_gcs: FakeGcs, bucket: str) -> None:
    fake_gcs.put(bucket, "a.mp4", b"")
    obj = await storage.stat("a.mp4")
    assert await read(storage, obj, 0, 1) == b""
    async with storage.excerpt(obj.key, obj.version) as excerpt:
        assert excerpt.whole


async def test_what_is_stored_compressed_is_read_as_it_is_stored(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str
) -> None:
    packed = gzip.compress(b"frame" * 1000)
    fake_gcs.put(bucket, "a.mp4", packed, encoding="gzip")
    obj = await storage.stat("a.mp4")
    assert obj.size_bytes == len(packed)
    assert await read(storage, obj) == packed
    assert await read(storage, obj, 3, 10) == packed[3:13]
    async with storage.descriptor(obj.key, obj.version) as descriptor:
        assert os.pread(descriptor, 10_000, 0) == packed


async def test_the_store_vouches_for_the_bytes(storage: GcsStorage, fake_gcs: FakeGcs, bucket: str) -> None:
    obj = await put_and_stat(storage, fake_gcs, bucket, b"bytes")
    async with storage.opened(obj.key, obj.version) as incoming:
        assert incoming.md5 == hashlib.md5(b"bytes").digest()


@pytest.mark.parametrize(
    ("hashes", "md5"),
    [
        ("crc32c=KpSy6Q==", None),
        (f"crc32c=KpSy6Q==,md5={base64.b64encode(b'm' * 16).decode()}", b"m" * 16),
        ("md5=short==", None),
    ],
)
async def test_a_composite_object_has_no_md5(
    storage: GcsStorage, proxy: HttpFaultProxy, hashes: str, md5: bytes | None
) -> None:
    proxy.fail(Answer(200, b"bytes", {"X-Goog-Generation": "7", "X-Goog-Hash": hashes}))
    async with storage.opened("a.mp4", "7") as incoming:
        assert (incoming.md5, await received(incoming)) == (md5, b"bytes")


async def put_and_stat(storage: GcsStorage, fake_gcs: FakeGcs, bucket: str, data: bytes) -> StorageObject:
    fake_gcs.put(bucket, "a.mp4", data)
    return await storage.stat("a.mp4")


async def test_a_created_object_has_its_type_and_its_sha256(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str, tmp_path: Path
) -> None:
    for size_bytes in (0, 10, PART_BYTES + 1):
        data = os.urandom(size_bytes)
        await make(storage, f"out/{size_bytes} ü.json", data, tmp_path)
        made = fake_gcs.resource(bucket, f"out/{size_bytes} ü.json")
        assert made["contentType"] == "application/json"
        assert made["metadata"] == {"sha256": hashlib.sha256(data).hexdigest()}
        assert await read(storage, await storage.stat(f"out/{size_bytes} ü.json")) == data


async def test_a_large_object_goes_up_in_parts(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path
) -> None:
    data = os.urandom(2 * PART_BYTES + 5)
    written = await storage.write("out/a.bin", source(tmp_path, data), content_type="application/json")
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    parts = [head.headers["content-range"] for head in proxy.seen if head.words[0] == "PUT"]
    assert parts == [
        f"bytes 0-{PART_BYTES - 1}/{len(data)}",
        f"bytes {PART_BYTES}-{2 * PART_BYTES - 1}/{len(data)}",
        f"bytes {2 * PART_BYTES}-{len(data) - 1}/{len(data)}",
    ]
    assert PART_BYTES % (256 << 10) == 0


async def test_of_several_creators_one_wins_whole(storage: GcsStorage, tmp_path: Path) -> None:
    winners: list[bytes] = []

    async def create(data: bytes) -> None:
        with suppress(ObjectExists):
            await make(storage, "a.json", data, tmp_path)
            winners.append(data)

    async with anyio.create_task_group() as tasks:
        for letter in b"abcdefgh":
            tasks.start_soon(create, bytes([letter]) * 100_000)
    assert len(winners) == 1
    assert await read(storage, await storage.stat("a.json")) == winners[0]


async def test_a_large_object_that_stands_there_costs_no_upload(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str, proxy: HttpFaultProxy, tmp_path: Path
) -> None:
    fake_gcs.put(bucket, "a.bin", b"theirs")
    with pytest.raises(ObjectExists):
        await make(storage, "a.bin", bytes(PART_BYTES + 1), tmp_path)
    assert proxy.count("^(POST|PUT)") == 0


async def test_only_the_version_that_was_named_is_deleted(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str
) -> None:
    before = await put_and_stat(storage, fake_gcs, bucket, b"ours")
    after = await put_and_stat(storage, fake_gcs, bucket, b"theirs")
    with pytest.raises(ObjectChanged):
        await storage.delete("a.mp4", before.version)
    await storage.delete("a.mp4", after.version)
    assert await listed(storage) == {}
    await storage.delete("a.mp4", after.version)


async def test_conditions_travel_with_every_read_write_and_delete(
    storage: GcsStorage, proxy: HttpFaultProxy, tmp_path: Path
) -> None:
    written = await storage.write("a.json", source(tmp_path, b"x"), content_type="text/plain")
    await storage.delete("a.json", written.version)
    assert proxy.count(r"^POST .*[?&]ifGenerationMatch=0\b") == 1
    assert proxy.count(rf"^GET .*alt=media&ifGenerationMatch={written.version}\b") == 1
    assert proxy.count(rf"^DELETE .*[?&]ifGenerationMatch={written.version}\b") == 1


async def test_the_payer_is_named_in_every_request(
    proxy: HttpFaultProxy, bucket: str, tmp_path: Path
) -> None:
    async with adapter(tmp_path, proxy.url, bucket, user_project="payer") as storage:
        await storage.check(read=True, write_below="out")
        await make(storage, "a.bin", bytes(PART_BYTES + 1), tmp_path)
        await listed(storage)
    assert proxy.count() == proxy.count("[?&]userProject=payer") + proxy.count("^PUT")


async def test_no_credentials_go_to_an_http_endpoint(
    proxy: HttpFaultProxy, bucket: str, tmp_path: Path
) -> None:
    async with adapter(tmp_path, proxy.url, bucket, credentials=service_account()) as storage:
        await storage.check(read=True, write_below="")
    assert proxy.seen
    assert not [head for head in proxy.seen if "authorization" in head.headers]


async def test_an_http_endpoint_asks_for_no_identity_of_the_machine(
    proxy: HttpFaultProxy, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
    async with adapter(tmp_path, proxy.url, bucket) as storage:
        assert await listed(storage) == {}


async def test_a_listing_begins_behind_the_key_that_is_named(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str
) -> None:
    for key in ("a", "b", "b/", "\uffee", "\U0001f3ac"):
        fake_gcs.put(bucket, key, b"x")
    assert storage.capabilities.start_after
    assert list(await listed(storage, after="b")) == ["b/", "\uffee", "\U0001f3ac"]
    assert list(await listed(storage, after="aa")) == ["b", "b/", "\uffee", "\U0001f3ac"]


async def test_a_listing_goes_on_from_page_to_page(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.gcs.storage.PAGE_KEYS", 2)
    keys = [f"d{number}/{name}" for number in range(4) for name in "ab"] + ["e"]
    for key in keys:
        fake_gcs.put(bucket, key, b"x")
    pages = [page async for page in storage.pages("d")]
    assert [obj.key for page in pages for obj in page.objects] == keys[:-1]
    assert len(pages) == 4
    level = [page async for page in storage.pages("", level=True)]
    assert sorted(folder for page in level for folder in page.folders) == ["d0/", "d1/", "d2/", "d3/"]
    assert [obj.key for page in level for obj in page.objects] == ["e"]


async def test_what_no_request_can_name_is_said_and_the_rest_is_listed(
    storage: GcsStorage, fake_gcs: FakeGcs, bucket: str
) -> None:
    for key in ("..", ".", "a\0b", "a/../b", "a//b", "/", "x/", "new\nline"):
        fake_gcs.put(bucket, key, b"x")
    (page,) = [page async for page in storage.pages("")]
    assert [obj.key for obj in page.objects] == ["/", "a/../b", "a//b", "new\nline", "x/"]
    assert [(each.key, each.reason) for each in page.irregular] == [
        (".", "unusable_key"),
        ("..", "unusable_key"),
        ("a\\x00b", "unusable_key"),
    ]
    for obj in page.objects:
        assert await storage.stat(obj.key) == obj


@pytest.mark.parametrize("key", ["", ".", "..", "a\0b", "a\ud800", "k" * 5_000])
async def test_a_key_that_cannot_be_never_reaches_the_service(
    storage: GcsStorage, proxy: HttpFaultProxy, key: str, tmp_path: Path
) -> None:
    with pytest.raises(ObjectNotFound):
        await storage.stat(key)
    with pytest.raises(ObjectNotFound):
        async with storage.opened(key, "1"):
            pass
    with pytest.raises(OutsideLocation):
        await make(storage, key, b"x", tmp_path)
    assert proxy.count() == 0


async def test_the_clock_of_the_service_is_heard(storage: GcsStorage, proxy: HttpFaultProxy) -> None:
    ahead = Answer(200, b'{"kind":"storage#objects"}', {"Date": "Sat, 01 Jan 2050 00:00:00 GMT"})
    proxy.fail(ahead)
    await listed(storage)
    assert storage.clock_ahead_seconds > 600_000_000


async def test_a_bucket_that_is_not_there_is_named(fake_gcs: FakeGcs, tmp_path: Path) -> None:
    async with adapter(tmp_path, fake_gcs.endpoint_url, "nowhere") as storage:
        with pytest.raises(StorageUnavailable, match="no bucket 'nowhere'"):
            await listed(storage)
        with pytest.raises(StorageUnavailable, match="no bucket 'nowhere'"):
            await make(storage, "a", b"x", tmp_path)


def test_equal_buckets_of_two_stores_never_meet(tmp_path: Path) -> None:
    from vvwatch.providers.gcs.storage import GcsLocation
    from vvwatch.providers.spool import Spool

    def uri(endpoint_url: str = "") -> str:
        return GcsStorage(GcsLocation("b", endpoint_url), None, Spool(tmp_path, 1)).uri("in/a b#é")

    assert uri() == "gs://b/in/a b#é"
    assert uri("http://127.0.0.1:1/") == "http://127.0.0.1:1/b/in/a%20b%23%C3%A9"
