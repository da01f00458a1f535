"""What the object stores promise when the line or the service fails, put there by a proxy that knows HTTP."""

from __future__ import annotations

import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.dialects import PART_BYTES, RETRY_AFTER_SECONDS, Dialect
from tests.contract.looking import look, read, source
from tests.contract.places import PROVIDERS, Cloud
from tests.http_faults import FOREVER, Answer, Cut, Fault, Hang, Head, HttpFaultProxy, Reset
from vvwatch.core.objects import StorageObject
from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    ObjectChanged,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.ports import Storage

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("cloud", PROVIDERS, indirect=True)]

MIB = 1 << 20


@dataclass
class Line:
    """A bucket with one object, `obj`, and a storage that reaches it through a proxy."""

    cloud: Cloud
    proxy: HttpFaultProxy
    storage: Storage
    obj: StorageObject
    source: Path

    @property
    def dialect(self) -> Dialect:
        return self.cloud.dialect

    async def list(self) -> None:
        async for _ in self.storage.list("", recursive=True):
            pass

    async def stat(self) -> None:
        await self.storage.stat(self.obj.key)

    async def read(self) -> None:
        async with self.storage.descriptor(self.obj.key, self.obj.version) as file:
            assert os.read(file, 100) == b"some bytes"

    async def glance(self) -> None:
        async with self.storage.excerpt(self.obj.key, self.obj.version) as excerpt:
            assert os.read(excerpt.descriptor, 100) == b"some bytes"

    async def write(self) -> None:
        written = await self.storage.write("out/new.json", self.source, content_type="x/y")
        assert written.version == (await self.cloud.storage.stat("out/new.json")).version

    async def check(self) -> None:
        await self.storage.check(read=True, write_below="out")

    async def delete(self) -> None:
        await self.storage.delete(self.obj.key, self.obj.version)

    @property
    def operations(self) -> dict[str, Callable[[], Awaitable[None]]]:
        steps = (self.list, self.stat, self.read, self.glance, self.write, self.check, self.delete)
        return {step.__name__: step for step in steps}

    async def outcomes(self) -> dict[str, str | StorageError]:
        """What each operation comes to: an error, or `done`. No error tells the secret."""
        outcomes: dict[str, str | StorageError] = {}
        for name, step in self.operations.items():
            try:
                await step()
            except StorageError as error:
                outcomes[name] = error
            else:
                outcomes[name] = "done"
        for outcome in outcomes.values():
            if isinstance(outcome, StorageError):
                self.examine(outcome)
        return outcomes

    def examine(self, error: StorageError) -> None:
        """It says what to try, and no secret."""
        assert error.hint, error
        told = "".join(traceback.format_exception(error)) + repr(error)
        assert not self.cloud.secret or self.cloud.secret not in told


@pytest.fixture
async def line(cloud: Cloud, tmp_path: Path) -> AsyncIterator[Line]:
    await cloud.put("in/a.mp4", b"some bytes")
    obj = await cloud.storage.stat("in/a.mp4")
    with HttpFaultProxy(cloud.address) as proxy:
        async with aclosing(cloud.over(proxy.address)) as storage:
            yield Line(cloud, proxy, storage, obj, source(tmp_path, b"new bytes"))


@pytest.fixture
def small_parts(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.shrink_parts(monkeypatch)


@pytest.fixture
def hurry(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt, and a second of patience."""
    cloud.hurry(monkeypatch)


def kinds(outcomes: dict[str, str | StorageError]) -> set[object]:
    return {outcome if isinstance(outcome, str) else type(outcome) for outcome in outcomes.values()}


# The service says no


@pytest.mark.usefixtures("hurry")
async def test_a_store_that_asks_for_fewer_requests_is_heard(line: Line) -> None:
    line.proxy.fail(line.dialect.throttled, times=FOREVER)
    outcomes = await line.outcomes()
    assert kinds(outcomes) == {StorageThrottled}, outcomes
    asked = {getattr(error, "retry_after_seconds", None) for error in outcomes.values()}
    assert asked == {RETRY_AFTER_SECONDS}


async def test_a_store_that_is_busy_for_a_moment_is_asked_again(line: Line) -> None:
    for name, step in line.operations.items():
        line.proxy.fail(line.dialect.busy)
        before = len(line.proxy.seen)
        await step()
        assert len(line.proxy.seen) >= before + 2, name


@pytest.mark.usefixtures("hurry")
async def test_expired_or_unknown_credentials_are_waited_for(line: Line) -> None:
    for answer in line.dialect.expired:
        line.proxy.heal()
        line.proxy.fail(answer, times=FOREVER)
        outcomes = await line.outcomes()
        assert kinds(outcomes) == {CredentialsRefused}, (answer, outcomes)
    line.proxy.heal()
    assert kinds(await line.outcomes()) == {"done"}


@pytest.mark.usefixtures("hurry")
async def test_who_is_denied_learns_what_to_grant(line: Line) -> None:
    line.proxy.fail(line.dialect.denied, times=FOREVER)
    outcomes = await line.outcomes()
    assert kinds(outcomes) == {AccessDenied}, outcomes
    for name in ("stat", "read", "glance"):
        assert line.dialect.permission in outcomes[name].hint  # type: ignore[union-attr]


@pytest.mark.usefixtures("hurry")
async def test_a_store_that_fails_is_waited_for(line: Line) -> None:
    line.proxy.fail(line.dialect.broken, times=FOREVER)
    outcomes = await line.outcomes()
    assert all(isinstance(error, StorageUnavailable) for error in outcomes.values()), outcomes
    assert await look(line.cloud) == {line.obj.key: line.obj}


# The line


@pytest.mark.usefixtures("hurry")
async def test_a_connection_that_is_always_reset_is_waited_for(line: Line) -> None:
    line.proxy.fail(Reset(), times=FOREVER)
    outcomes = await line.outcomes()
    assert kinds(outcomes) == {StorageUnavailable}, outcomes


async def test_a_connection_that_is_reset_once_is_not_noticed(line: Line) -> None:
    for step in line.operations.values():
        line.proxy.fail(Reset())
        await step()


@pytest.mark.usefixtures("hurry")
async def test_an_endpoint_that_is_down_is_waited_for_and_found_again(line: Line) -> None:
    await line.stat()
    line.proxy.cut()
    outcomes = await line.outcomes()
    assert kinds(outcomes) == {StorageUnavailable}, outcomes
    line.proxy.mend()
    assert kinds(await line.outcomes()) == {"done"}


@pytest.mark.usefixtures("hurry")
async def test_silence_ends_in_time(line: Line) -> None:
    line.proxy.fail(Hang(), times=FOREVER)
    for step in (line.list, line.write):
        with pytest.raises(StorageUnavailable):
            await step()


@pytest.mark.usefixtures("hurry")
async def test_a_body_that_stops_ends_in_time(line: Line) -> None:
    data = os.urandom(MIB)
    await line.cloud.put("large", data)
    obj = await line.cloud.storage.stat("large")
    line.proxy.fail(Hang(), line.dialect.reading, skip=1, times=FOREVER)
    line.proxy.fail(Cut(500_000), line.dialect.reading)
    with pytest.raises(StorageUnavailable):
        async with line.storage.descriptor(obj.key, obj.version):
            pass
    assert line.cloud.spool._taken_bytes == 0


@pytest.mark.usefixtures("hurry")
async def test_a_missing_bucket_is_no_missing_object(line: Line) -> None:
    line.proxy.fail(line.dialect.no_bucket, times=FOREVER)
    outcomes = await line.outcomes()
    assert kinds(outcomes) == {StorageUnavailable}, outcomes


# Reading


async def test_an_interrupted_download_goes_on_where_it_broke_off(line: Line) -> None:
    await line.cloud.put("large", data := os.urandom(5 * MIB))
    obj = await line.cloud.storage.stat("large")
    for cut in (MIB, 3 * MIB + 5):
        line.proxy.fail(Cut(cut), line.dialect.reading)
        line.proxy.seen.clear()
        async with line.storage.descriptor(obj.key, obj.version) as file:
            assert os.pread(file, obj.size_bytes + 1, 0) == data
        whole, rest = [begin(head) for head in line.proxy.seen]
        assert whole == 0
        assert 0 <= rest <= cut  # the client drops what it has not handed over yet


def begin(head: Head) -> int:
    """Where the range begins that a request asks for."""
    asked = head.headers.get("range") or head.headers.get("x-ms-range") or "bytes=0-"
    return int(asked.removeprefix("bytes=").removesuffix("-"))


@pytest.mark.usefixtures("hurry")
async def test_a_download_that_breaks_off_again_and_again_fails_and_leaves_nothing(line: Line) -> None:
    await line.cloud.put("large", os.urandom(5 * MIB))
    obj = await line.cloud.storage.stat("large")
    line.proxy.fail(Cut(700_000), line.dialect.reading, times=FOREVER)
    for open_object in (line.storage.descriptor, line.storage.excerpt):
        with pytest.raises(StorageUnavailable):
            async with open_object(obj.key, obj.version):
                pass
    assert line.proxy.count(line.dialect.reading) == 6 + 1
    assert line.cloud.spool._taken_bytes == 0
    assert list(line.cloud.spool_folder.iterdir()) == []


async def test_an_object_replaced_while_its_download_is_interrupted_has_changed(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    await line.cloud.put("large", os.urandom(5 * MIB))
    obj = await line.cloud.storage.stat("large")
    line.proxy.fail(Cut(2 * MIB), line.dialect.reading)
    spool, write = line.cloud.spool, line.cloud.spool.write

    async def replace_and_write(*arguments: object) -> None:
        monkeypatch.undo()
        await line.cloud.put("large", os.urandom(5 * MIB))
        await write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(spool, "write", replace_and_write)
    with pytest.raises(ObjectChanged):
        async with line.storage.descriptor(obj.key, obj.version):
            pass


# Writing


async def test_a_create_whose_answer_is_lost_has_created_once(line: Line) -> None:
    line.proxy.fail(Reset(passed_on=True), line.dialect.creating)
    await line.write()
    assert set(await look(line.cloud)) == {"in/a.mp4", "out/new.json"}


@pytest.mark.usefixtures("small_parts")
async def test_a_large_create_whose_last_answer_is_lost_has_created_once(line: Line, tmp_path: Path) -> None:
    data = os.urandom(PART_BYTES * 5 // 2)
    skip = line.dialect.parts_before_commit(len(data))
    line.proxy.fail(Reset(passed_on=True), line.dialect.commit, skip=skip)
    line.cloud.excuse(line.proxy, reached=len(data), size=len(data), skip=skip)
    written = await line.storage.write("out/new.bin", source(tmp_path, data), content_type="x/y")
    obj = await line.cloud.storage.stat("out/new.bin")
    assert written.version == obj.version
    assert await read(line.cloud, obj) == data
    assert line.cloud.unfinished() == 0


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("passed_on", [False, True], ids=["before", "after"])
async def test_a_part_that_is_lost_once_is_sent_again(line: Line, tmp_path: Path, passed_on: bool) -> None:
    data = os.urandom(PART_BYTES * 5 // 2)
    line.proxy.fail(Reset(passed_on=passed_on), line.dialect.part)
    line.cloud.excuse(line.proxy, reached=PART_BYTES * passed_on, size=len(data))
    await line.storage.write("out/new.bin", source(tmp_path, data), content_type="x/y")
    assert await read(line.cloud, await line.cloud.storage.stat("out/new.bin")) == data
    assert line.cloud.unfinished() == 0


@pytest.mark.usefixtures("hurry", "small_parts")
async def test_an_upload_that_fails_for_good_leaves_nothing(line: Line, tmp_path: Path) -> None:
    line.proxy.fail(line.dialect.broken, line.dialect.part, times=FOREVER)
    with pytest.raises(StorageUnavailable):
        await line.storage.write(
            "out/new.bin", source(tmp_path, bytes(PART_BYTES * 5 // 2)), content_type="x/y"
        )
    assert set(await look(line.cloud)) == {"in/a.mp4"}
    assert line.cloud.unfinished() == 0


# Listing


@pytest.mark.usefixtures("hurry")
async def test_a_listing_that_breaks_half_way_raises_and_is_never_short(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.cloud.shrink_pages(monkeypatch)
    await line.cloud.put_all({f"in/{number}": b"" for number in range(3 * line.cloud.page_objects)})
    faults: tuple[Fault, ...] = (
        line.dialect.broken,
        line.dialect.throttled,
        Reset(),
        Cut(100),
        Hang(),
        *line.dialect.no_listings,
    )
    for fault in faults:
        line.proxy.heal()
        line.proxy.fail(fault, line.dialect.next_page, times=FOREVER)
        listing = line.storage.list("", recursive=True)
        assert len((await anext(listing)).objects) == line.cloud.page_objects
        with pytest.raises(StorageUnavailable):
            await anext(listing)
    line.proxy.heal()
    pages = [page async for page in line.storage.list("", recursive=True)]
    assert sum(len(page.objects) for page in pages) == 3 * line.cloud.page_objects + 1


@pytest.mark.usefixtures("hurry")
async def test_a_strange_answer_is_no_empty_listing(line: Line) -> None:
    for answer in line.dialect.no_listings:
        line.proxy.heal()
        line.proxy.fail(answer, line.dialect.listing, times=FOREVER)
        with pytest.raises(StorageUnavailable):
            await line.list()


async def test_a_listing_that_is_cut_once_is_asked_for_again(line: Line) -> None:
    for fault in (Cut(0), Cut(100), Answer(500), Reset()):
        line.proxy.fail(fault, line.dialect.listing)
        pages = [page async for page in line.storage.list("", recursive=True)]
        assert [obj for page in pages for obj in page.objects] == [line.obj]
