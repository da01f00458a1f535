"""What is special to Azure Blob Storage; what it shares with the other stores is in tests/contract."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import anyio
import pytest
from azure.storage.blob import BlobBlock, ContentSettings, StandardBlobTier

from tests.emulators.azurite import Azurite, Container, make_container
from tests.fault_proxy import LOOPBACK, free_port
from tests.http_faults import FOREVER, Answer, Cut, HttpFaultProxy, Reset
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import Oddity
from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutsideLocation,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.providers.azure import client
from vvwatch.providers.azure.storage import AzureAccountKey, AzureLocation, AzureStorage
from vvwatch.providers.spool import Spool

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_WAIT_SECONDS", 0)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    folder = tmp_path / "spool"
    folder.mkdir()
    return Spool(folder, 1 << 30)


@pytest.fixture
def container(azurite: Azurite) -> Container:
    return make_container(azurite)


@pytest.fixture
async def storage(azurite: Azurite, container: Container, spool: Spool) -> AsyncIterator[AzureStorage]:
    location = AzureLocation(azurite.account, container.name, azurite.endpoint_url)
    async with aclosing(AzureStorage(location, AzureAccountKey(azurite.account_key), spool)) as storage:
        yield storage


@pytest.fixture
def line(azurite: Azurite) -> Iterator[HttpFaultProxy]:
    with HttpFaultProxy(azurite.address) as proxy:
        yield proxy


@pytest.fixture
async def far(
    azurite: Azurite, container: Container, spool: Spool, line: HttpFaultProxy
) -> AsyncIterator[AzureStorage]:
    """The same container, at the other end of the line."""
    location = AzureLocation(azurite.account, container.name, f"{line.url}/{azurite.account}")
    async with aclosing(AzureStorage(location, AzureAccountKey(azurite.account_key), spool)) as storage:
        yield storage


async def listed(storage: AzureStorage, prefix: str = "") -> dict[str, StorageObject]:
    return {obj.key: obj async for page in storage.pages(prefix) for obj in page.objects}


async def read(
    storage: AzureStorage, key: str, version: str, start: int = 0, length: int | None = None
) -> bytes:
    async with storage.opened(key, version, start, length) as incoming:
        return b"".join([chunk async for chunk in incoming.chunks])


def file(folder: Path, size_bytes: int) -> Path:
    path = folder / secrets.token_hex(4)
    path.write_bytes(os.urandom(size_bytes))
    return path


def refusal(status: int, code: str, **headers: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>the-signature-of-it</Message></Error>"
    return Answer(status, body.encode(), {"x-ms-error-code": code, **headers})


async def test_the_version_is_the_etag_without_quotes(storage: AzureStorage, container: Container) -> None:
    etag = container.put("in/a.mp4", b"four")
    obj = await storage.stat("in/a.mp4")
    assert (obj.version, obj.size_bytes) == (etag, 4)
    assert await listed(storage) == {"in/a.mp4": obj}
    assert await read(storage, obj.key, obj.version) == b"four"


async def test_addresses_are_those_of_the_account(
    spool: Spool, storage: AzureStorage, azurite: Azurite
) -> None:
    public = AzureLocation("acme", "media")
    async with aclosing(AzureStorage(public, AzureAccountKey("a2V5"), spool)) as there:
        assert there.uri("in/a b.mp4") == "https://acme.blob.core.windows.net/media/in/a%20b.mp4"
    assert storage.uri("é").startswith(f"{azurite.endpoint_url}/")
    assert storage.uri("é").endswith("/%C3%A9")


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, 1, b"0"), (3, 4, b"3456"), (7, None, b"789"), (7, 100, b"789"), (10, 5, b""), (99, None, b"")],
)
async def test_a_stretch_of_a_blob_comes_with_the_size_and_digest_of_the_whole(
    storage: AzureStorage, container: Container, start: int, length: int | None, expected: bytes
) -> None:
    version = container.put("a", b"0123456789")
    async with storage.opened("a", version, start, length) as incoming:
        assert b"".join([chunk async for chunk in incoming.chunks]) == expected
        assert incoming.size_bytes == 10
        assert not expected or incoming.md5 == hashlib.md5(b"0123456789").digest()


async def test_a_stretch_of_an_empty_blob_is_empty_of_that_version_only(
    storage: AzureStorage, container: Container
) -> None:
    version = container.put("empty", b"")
    assert await read(storage, "empty", version, 0, 100) == b""
    with pytest.raises(ObjectChanged):
        await read(storage, "empty", "0x1", 0, 100)


@pytest.mark.parametrize("said", [{}, {"Content-MD5": "!"}, {"Content-MD5": "bm8="}, {"Content-MD5": "é"}])
async def test_what_cannot_be_a_digest_vouches_for_nothing(
    far: AzureStorage, line: HttpFaultProxy, said: dict[str, str]
) -> None:
    line.fail(Answer(200, b"x", said))
    async with far.opened("a", "0x1") as incoming:
        assert incoming.md5 is None
        assert b"".join([chunk async for chunk in incoming.chunks]) == b"x"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-0/9"},
        {"Content-Range": "of some kind"},
        {},
        {"Content-Range": "bytes 5-8/*"},
    ],
)
async def test_another_stretch_than_was_asked_for_is_not_taken(
    far: AzureStorage, line: HttpFaultProxy, headers: dict[str, str]
) -> None:
    line.fail(Answer(206, b"x", headers))
    with pytest.raises(StorageUnavailable, match="something other"):
        await read(far, "a", "0x1", 5)


async def test_what_is_gone_is_not_found_and_what_is_other_has_changed(
    storage: AzureStorage, container: Container
) -> None:
    version = container.put("a", b"first")
    container.put("a", b"second")
    for asking in (read(storage, "a", version), storage.remove("a", version)):
        with pytest.raises(ObjectChanged):
            await asking
    container.delete("a")
    for asking in (read(storage, "a", version), storage.remove("a", version)):
        with pytest.raises(ObjectNotFound):
            await asking


async def test_a_large_file_goes_in_blocks_and_is_seen_only_whole(
    far: AzureStorage, line: HttpFaultProxy, container: Container, tmp_path: Path
) -> None:
    source = file(tmp_path, (16 << 20) + 1)
    line.fail(refusal(500, "InternalError"), "comp=blocklist", times=3)
    with pytest.raises(StorageUnavailable):
        await far.write("out/a.mp4", source, content_type="video/mp4")
    assert container.keys() == set()
    written = await far.write("out/a.mp4", source, content_type="video/mp4")
    assert line.count("comp=block&") == 6
    there = container.client.get_blob_client("out/a.mp4").get_blob_properties()
    assert there.metadata == {"sha256": written.sha256}
    assert there.content_settings.content_type == "video/mp4"
    assert there.size == (16 << 20) + 1


async def test_a_write_whose_answer_is_lost_is_not_taken_for_another_ones(
    far: AzureStorage, line: HttpFaultProxy, tmp_path: Path
) -> None:
    line.fail(Reset(passed_on=True), "^PUT")
    written = await far.write("a", file(tmp_path, 1000), content_type="x/y")
    assert (await far.stat("a")).version == written.version


@pytest.mark.parametrize("size_bytes", [1000, (8 << 20) + 1], ids=["whole", "in blocks"])
async def test_of_two_creates_one_wins_whole(
    storage: AzureStorage, container: Container, tmp_path: Path, size_bytes: int
) -> None:
    sources = [file(tmp_path, size_bytes) for _ in range(3)]
    won = []

    async def create(source: Path) -> None:
        try:
            await storage.create("a", source, size_bytes, "0" * 64, "x/y")
        except ObjectExists:
            return
        won.append(source)

    async with anyio.create_task_group() as tasks:
        for source in sources:
            tasks.start_soon(create, source)
    (winner,) = won
    assert container.client.download_blob("a").readall() == winner.read_bytes()


async def test_archive_then_hot_is_waited_for_then_read(storage: AzureStorage, container: Container) -> None:
    version = container.put("a.mp4", b"cold")
    container.put("b.mp4", b"warm")
    blob = container.client.get_blob_client("a.mp4")
    blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    found = await listed(storage)
    assert {key: obj.archived for key, obj in found.items()} == {"a.mp4": True, "b.mp4": False}
    assert await storage.stat("a.mp4") == found["a.mp4"]
    for length in (None, 1):
        with pytest.raises(ObjectArchived, match="archive tier"):
            await read(storage, "a.mp4", version, 0, length)
    await storage.check(read=True, write_below=None)
    blob.set_standard_blob_tier(StandardBlobTier.HOT)
    assert not (await listed(storage))["a.mp4"].archived
    assert await read(storage, "a.mp4", found["a.mp4"].version) == b"cold"


async def test_a_blob_on_its_way_out_of_the_archive_is_still_archived(
    far: AzureStorage, line: HttpFaultProxy, container: Container
) -> None:
    version = container.put("a.mp4")
    line.fail(refusal(409, "BlobBeingRehydrated"), "^GET")
    with pytest.raises(ObjectArchived):
        await read(far, "a.mp4", version)
    state = {"ETag": '"1"', "Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT", "x-ms-access-tier": "Archive"}
    line.fail(Answer(200, headers={**state, "x-ms-archive-status": "rehydrate-pending-to-hot"}), "^HEAD")
    assert (await far.stat("a.mp4")).archived


@pytest.mark.parametrize("key", [".", "..", "./a", "a/../b", "a/.", "back\\slash", "k" * 1025], ids=ascii)
async def test_a_key_that_azure_makes_another_name_of_is_not_asked_for(
    far: AzureStorage, line: HttpFaultProxy, container: Container, tmp_path: Path, key: str
) -> None:
    for name in ("a", "b", "back/slash"):
        container.put(name)
    for asking in (far.stat(key), read(far, key, "0x1"), far.remove(key, "0x1")):
        with pytest.raises(ObjectNotFound):
            await asking
    with pytest.raises(OutsideLocation):
        await far.write(key, file(tmp_path, 1), content_type="x/y")
    assert line.count() == 0


async def test_a_level_shows_each_folder_once(
    storage: AzureStorage, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a/1", "a/2", "b/1", "b/c/1", "d", "e"):
        container.put(key)
    monkeypatch.setattr("vvwatch.providers.azure.storage._PAGE_BLOBS", 1)
    pages = [page async for page in storage.pages("", level=True)]
    assert [folder for page in pages for folder in page.folders] == ["a/", "b/"]
    assert [obj.key for page in pages for obj in page.objects] == ["d", "e"]


@pytest.mark.parametrize(
    ("answer", "kind", "hint"),
    [
        (refusal(403, "AuthenticationFailed"), CredentialsRefused, "check them"),
        (
            refusal(403, "AuthenticationFailed", Date="Sun, 22 Nov 2015 10:00:00 GMT"),
            CredentialsRefused,
            "clock",
        ),
        (refusal(401, "InvalidAuthenticationInfo"), CredentialsRefused, "check them"),
        (refusal(403, "KeyBasedAuthenticationNotPermitted"), CredentialsRefused, "client secret"),
        (refusal(403, "AuthorizationPermissionMismatch"), AccessDenied, "Storage Blob Data Reader"),
        (refusal(404, "ContainerNotFound"), StorageUnavailable, "container"),
        (refusal(409, "ContainerBeingDeleted"), StorageUnavailable, "container"),
        (refusal(404, "BlobNotFound"), ObjectNotFound, ""),
        (refusal(400, "InvalidUri"), ObjectNotFound, ""),
        (refusal(400, "InvalidHeaderValue"), StorageError, "documentation"),
        (refusal(500, "InternalError"), StorageUnavailable, "tried again"),
        (refusal(503, "ServerBusy"), StorageThrottled, "tried again"),
        (refusal(409, "SomethingElse"), StorageUnavailable, "tried again"),
        (Answer(404, b"<html>"), StorageUnavailable, "endpoint_url"),
        (Answer(302, headers={"Location": "http://127.0.0.1:9/"}), StorageUnavailable, "endpoint_url"),
    ],
    ids=lambda value: getattr(value, "headers", {}).get("x-ms-error-code", ""),
)
async def test_a_refusal_says_what_to_do(
    far: AzureStorage, line: HttpFaultProxy, answer: Answer, kind: type[StorageError], hint: str
) -> None:
    line.fail(answer, times=FOREVER)
    with pytest.raises(StorageError) as caught:
        await read(far, "in/a.mp4", "0x1")
    assert type(caught.value) is kind
    assert hint in caught.value.hint
    assert "in/a.mp4" in caught.value.message
    assert "the-signature-of-it" not in str(caught.value)


async def test_who_may_not_write_learns_the_role(
    far: AzureStorage, line: HttpFaultProxy, tmp_path: Path
) -> None:
    line.fail(refusal(403, "AuthorizationPermissionMismatch"), "^(PUT|DELETE)", times=FOREVER)
    for asking in (far.write("a", file(tmp_path, 1), content_type="x/y"), far.remove("a", "0x1")):
        with pytest.raises(AccessDenied) as caught:
            await asking
        assert "Storage Blob Data Contributor" in caught.value.hint


async def test_a_busy_store_is_left_alone_for_as_long_as_it_says(
    far: AzureStorage, line: HttpFaultProxy
) -> None:
    for said, heard in {"30": 30.0, "999999999": 86_400.0, "soon": None, "-1": None}.items():
        line.heal()
        line.fail(refusal(429, "TooManyRequests", **{"Retry-After": said}), times=FOREVER)
        with pytest.raises(StorageThrottled) as caught:
            await listed(far)
        assert caught.value.retry_after_seconds == heard


async def test_a_lease_of_another_one_is_named(far: AzureStorage, line: HttpFaultProxy) -> None:
    line.fail(refusal(412, "LeaseIdMissing"), "^DELETE")
    line.fail(Answer(200), "^HEAD")
    with pytest.raises(StorageError, match="lease"):
        await far.remove("a", "0x1")


@pytest.mark.parametrize("code", ["UnauthorizedBlobOverwrite", "InvalidBlockList", "ConditionNotMet"])
async def test_a_create_that_comes_too_late_meets_what_stands_there(
    far: AzureStorage, line: HttpFaultProxy, tmp_path: Path, code: str
) -> None:
    line.fail(refusal(412 if code == "ConditionNotMet" else 403, code), "^PUT")
    with pytest.raises(ObjectExists):
        await far.create("a", file(tmp_path, 1), 1, "0" * 64, "x/y")


async def test_a_wrong_account_key_is_refused(azurite: Azurite, container: Container, spool: Spool) -> None:
    location = AzureLocation(azurite.account, container.name, azurite.endpoint_url)
    for key in ("d3Jvbmc=", "no base64"):
        async with aclosing(AzureStorage(location, AzureAccountKey(key), spool)) as storage:
            for asking in (listed(storage), storage.stat("a"), read(storage, "a", "0x1")):
                with pytest.raises(CredentialsRefused):
                    await asking


async def test_a_missing_container_is_waited_for(azurite: Azurite, spool: Spool) -> None:
    location = AzureLocation(azurite.account, name := f"late-{secrets.token_hex(4)}", azurite.endpoint_url)
    async with aclosing(AzureStorage(location, AzureAccountKey(azurite.account_key), spool)) as storage:
        with pytest.raises(StorageUnavailable, match="no such container"):
            await listed(storage)
        make_container(azurite, name)
        assert await listed(storage) == {}


async def test_an_endpoint_that_is_down_is_named(spool: Spool) -> None:
    port = free_port()
    location = AzureLocation("acme", "media", f"http://{LOOPBACK}:{port}/acme")
    async with aclosing(AzureStorage(location, AzureAccountKey("a2V5"), spool)) as storage:
        with pytest.raises(StorageUnavailable, match=f"{port} cannot be reached: Connection refused"):
            await storage.stat("a")


async def test_a_body_that_is_cut_is_no_object(
    far: AzureStorage, line: HttpFaultProxy, container: Container
) -> None:
    version = container.put("a", os.urandom(1_000_000))
    line.fail(Cut(500_000), "^GET", times=FOREVER)
    with pytest.raises(StorageUnavailable, match="broke off"):
        await read(far, "a", version)


async def test_a_listing_that_ends_half_way_fails_behind_what_it_has_shown(
    far: AzureStorage, line: HttpFaultProxy, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.azure.storage._PAGE_BLOBS", 2)
    for key in "abcde":
        container.put(key)
    line.fail(Cut(900), "marker=", times=FOREVER)
    pages = far.pages("")
    assert [obj.key for obj in (await anext(pages)).objects] == ["a", "b"]
    with pytest.raises(StorageUnavailable, match="broke off"):
        await anext(pages)


async def test_a_marker_that_repeats_is_no_progress(
    far: AzureStorage, line: HttpFaultProxy, container: Container
) -> None:
    page = b"<EnumerationResults><Blobs></Blobs><NextMarker>again</NextMarker></EnumerationResults>"
    line.fail(Answer(200, page), "comp=list", times=FOREVER)
    with pytest.raises(StorageUnavailable, match="same continuation token twice"):
        await listed(far)
    assert line.count("comp=list") == 2


async def test_a_listing_without_end_is_not_kept(
    far: AzureStorage, line: HttpFaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MOST_BYTES", 1_000)
    line.fail(Answer(200, b" " * 1_001), "comp=list", times=FOREVER)
    with pytest.raises(StorageUnavailable, match="larger than"):
        await listed(far)
    assert [line.count(f"maxresults={number}") for number in (5_000, 2_500, 1_250)] == [1, 1, 1]


async def test_a_folder_of_a_hierarchical_account_is_no_object(
    far: AzureStorage, line: HttpFaultProxy
) -> None:
    line.fail(Answer(200, headers={"x-ms-resource-type": "directory", "ETag": '"1"'}), "^HEAD")
    with pytest.raises(ObjectNotFound, match="folder"):
        await far.stat("in")


async def test_the_clock_of_the_store_is_heard(far: AzureStorage, line: HttpFaultProxy) -> None:
    page = b"<EnumerationResults><Blobs></Blobs><NextMarker /></EnumerationResults>"
    line.fail(Answer(200, page, {"Date": "Wed, 01 Jan 2200 00:00:00 GMT"}))
    await listed(far)
    assert far.clock_ahead_seconds > 1e9


async def test_a_connection_is_used_again_whatever_an_answer_has_to_tell(
    far: AzureStorage, line: HttpFaultProxy, tmp_path: Path
) -> None:
    line.fail(Answer(202, bytes(1_000_000)), "^DELETE")
    written = await far.write("a", file(tmp_path, 1), content_type="x/y")
    await far.delete("a", written.version)
    await listed(far)
    assert line.accepted == 1
    assert line.count() == 5


async def test_a_blob_that_is_listed_without_an_etag_is_known_by_time_and_size(
    container: Container, far: AzureStorage, storage: AzureStorage, line: HttpFaultProxy
) -> None:
    container.client.upload_blob("a.mp4", b"four")
    there = await storage.stat("a.mp4")

    def without_etag() -> Answer:
        date = format_datetime(datetime.fromtimestamp(there.modified_at, UTC), usegmt=True)
        fields = f"<Last-Modified>{date}</Last-Modified><Content-Length>{there.size_bytes}</Content-Length>"
        blob = f"<Blob><Name>a.mp4</Name><Properties>{fields}</Properties></Blob>"
        text = f"<EnumerationResults><Blobs>{blob}</Blobs><NextMarker/></EnumerationResults>"
        return Answer(200, text.encode(), {"Content-Type": "application/xml"})

    line.fail(without_etag(), r"\bcomp=list\b", times=FOREVER)
    obj = (await listed(far))["a.mp4"]
    assert obj.version == f"@{there.modified_at:.0f}:4"
    assert list(far.notes.odd) == [Oddity.NO_VERSIONS]
    assert not far.notes.versions_shown
    assert await far.stat("a.mp4") == obj
    async with far.descriptor(obj.key, obj.version) as file:
        assert os.pread(file, 100, 0) == b"four"
    with pytest.raises(ObjectChanged):
        async with far.descriptor(obj.key, f"@{there.modified_at - 5:.0f}:4"):
            pass
    container.client.upload_blob("a.mp4", b"longer", overwrite=True)
    with pytest.raises(ObjectChanged):
        async with far.descriptor(obj.key, obj.version):
            pass
    with pytest.raises(ObjectChanged):
        await far.delete(obj.key, obj.version)
    assert (await storage.stat("a.mp4")).size_bytes == 6


async def test_a_stale_content_md5_holds_up_no_blob(container: Container, storage: AzureStorage) -> None:
    data = b"what it is now"
    stale = ContentSettings(content_md5=bytearray(hashlib.md5(b"what it was").digest()))
    blob = container.client.get_blob_client("stale.mp4")
    blob.stage_block("YQ==", data)
    blob.commit_block_list([BlobBlock("YQ==")], content_settings=stale)
    container.client.upload_blob("plain.mp4", data)
    for key in ("plain.mp4", "stale.mp4"):
        obj = await storage.stat(key)
        if key == "stale.mp4":
            with pytest.raises(StorageUnavailable, match="other bytes"):
                async with storage.descriptor(key, obj.version):
                    pass
        async with storage.descriptor(key, obj.version) as file:
            assert os.pread(file, 100, 0) == data
        assert bool(storage.notes.remark_on(key, obj.version)) is (key == "stale.mp4")
