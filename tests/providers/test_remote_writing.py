from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.providers.looking import exhaust
from tests.providers.memory import MemoryStorage
from vvwatch.errors import (
    AccessDenied,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    OutsideLocation,
    StorageUnavailable,
)
from vvwatch.ports import Irregularity, WriteResult
from vvwatch.providers.listing import ListedPage
from vvwatch.providers.parts import read_parts
from vvwatch.providers.spool import Spool

pytestmark = pytest.mark.anyio

DATA = bytes(range(100))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def refuse(pattern: str, error: Exception) -> Callable[[str], None]:
    """Raise `error` at each request that starts so."""

    def asked(request: str) -> None:
        if request.startswith(pattern):
            raise error

    return asked


# Writing


async def test_a_write_says_what_was_found_there(memory: MemoryStorage, source: Path) -> None:
    written = await memory.write("out/a", source, content_type="x/y")
    sha256 = hashlib.sha256(DATA).hexdigest()
    assert written == WriteResult("memory://out/a", 100, sha256, memory.objects["out/a"][0].version)
    assert memory.requests[0] == f"create out/a 100 {sha256} x/y"
    assert memory.requests[1:] == ["stat out/a", "open out/a 0-"]


async def test_equal_bytes_that_stand_there_count_whoever_wrote_them(
    memory: MemoryStorage, source: Path
) -> None:
    there = memory.put("a", DATA)
    assert (await memory.write("a", source, content_type="x/y")).version == there.version
    assert memory.objects["a"][0] == there


async def test_another_size_there_is_seen_without_reading(memory: MemoryStorage, source: Path) -> None:
    memory.put("a", DATA[:99])
    with pytest.raises(ObjectExists):
        await memory.write("a", source, content_type="x/y")
    assert not any(request.startswith("open") for request in memory.requests)


async def test_other_bytes_of_the_same_size_are_other_content(memory: MemoryStorage, source: Path) -> None:
    memory.put("a", DATA[::-1])
    with pytest.raises(ObjectExists):
        await memory.write("a", source, content_type="x/y")


async def test_what_cannot_be_read_back_whole_is_not_taken_for_other_content(
    memory: MemoryStorage, source: Path
) -> None:
    memory.breaks = [50]
    with pytest.raises(StorageUnavailable):
        await memory.write("a", source, content_type="x/y")
    memory.objects["a"] = (memory.objects["a"][0], DATA[:50])  # 50 of 100 come, and the end is no error
    with pytest.raises(StorageUnavailable):
        await memory.write("a", source, content_type="x/y")


@pytest.mark.parametrize("request_before", ["stat", "open"])
async def test_what_is_changed_while_it_is_looked_at_is_looked_at_again(
    memory: MemoryStorage, source: Path, request_before: str
) -> None:
    def replace(request: str) -> None:
        if request.startswith(request_before):
            memory.on_request = str
            memory.objects.clear()
            memory.put("b" if request_before == "stat" else "a", DATA[::-1])

    memory.on_request = replace
    with pytest.raises(StorageUnavailable, match="looked at"):
        await memory.write("a", source, content_type="x/y")
    if request_before == "open":
        with pytest.raises(ObjectExists):
            await memory.write("a", source, content_type="x/y")


@pytest.mark.parametrize("key", ["", "nul\0", "\udcff", "k" * 4097])
async def test_an_impossible_key_is_not_written(memory: MemoryStorage, source: Path, key: str) -> None:
    with pytest.raises(OutsideLocation):
        await memory.write(key, source, content_type="x/y")
    assert memory.requests == []


async def test_a_delete_takes_that_version_and_what_is_gone_is_gone(memory: MemoryStorage) -> None:
    old, new = memory.put("a", b"1"), memory.put("a", b"2")
    with pytest.raises(ObjectChanged):
        await memory.delete("a", old.version)
    assert memory.objects["a"][0] == new
    await memory.delete("a", new.version)
    await memory.delete("a", new.version)
    assert memory.objects == {}


async def test_a_file_is_read_in_parts(source: Path, tmp_path: Path) -> None:
    assert [len(part) async for part in read_parts(source, 40)] == [40, 40, 20]
    assert b"".join([part async for part in read_parts(source, 50)]) == DATA
    (tmp_path / "empty").touch()
    assert [part async for part in read_parts(tmp_path / "empty", 40)] == []


# The test of a connector


async def test_the_check_for_reading_reads_a_byte_of_one_object(memory: MemoryStorage) -> None:
    await memory.check(read=True, write_below=None)
    assert memory.requests == ["list '' level=False after=''"]
    for key in ("a", "b"):
        memory.put(key, DATA)
    await memory.check(read=True, write_below=None)
    assert memory.requests[2:] == ["open a 0-1"]


async def test_the_check_for_reading_passes_over_what_says_nothing(memory: MemoryStorage) -> None:
    memory.put("empty", b"")
    memory.put("cold", DATA, archived=True)
    for key in ("gone", "changed", "colder", "denied"):
        memory.put(key, DATA)
    errors = {"gone": ObjectNotFound, "changed": ObjectChanged, "colder": ObjectArchived}

    def asked(request: str) -> None:
        if request.startswith("open"):
            raise errors.get(request.split()[1], AccessDenied)("no")

    memory.on_request = asked
    with pytest.raises(AccessDenied):
        await memory.check(read=True, write_below=None)
    assert [request.split()[1] for request in memory.requests[1:]] == ["gone", "changed", "colder", "denied"]


@pytest.mark.parametrize("denied", ["list", "open"])
async def test_who_may_not_list_or_read_fails_the_check(memory: MemoryStorage, denied: str) -> None:
    memory.put("a", DATA)
    memory.on_request = refuse(denied, AccessDenied("no"))
    with pytest.raises(AccessDenied):
        await memory.check(read=True, write_below=None)
    await memory.check(read=False, write_below=None)


@pytest.mark.parametrize(
    ("below", "start"), [("", ".vv"), ("out", "out/.vv"), ("out/", "out/.vv"), ("/a/b/", "a/b/.vv")]
)
async def test_the_check_for_writing_writes_below_the_folder_and_leaves_nothing(
    memory: MemoryStorage, spool: Spool, below: str, start: str
) -> None:
    await memory.check(read=False, write_below=below)
    assert memory.requests[0].startswith(f"create {start}")
    assert memory.requests[-1].startswith(f"remove {start}")
    assert not any(request.startswith("list") for request in memory.requests)
    assert memory.objects == {}
    assert spool._taken_bytes == 0


@pytest.mark.parametrize("denied", ["create", "stat", "open", "remove"])
async def test_who_may_not_write_or_remove_fails_the_check(memory: MemoryStorage, denied: str) -> None:
    memory.on_request = refuse(denied, AccessDenied("no"))
    with pytest.raises(AccessDenied):
        await memory.check(read=False, write_below="")


# Listing and the clock


async def test_a_level_and_what_lies_behind_a_key_are_asked_of_the_service(memory: MemoryStorage) -> None:
    memory.put("in/a", b"1")
    for recursive, after in ((False, ""), (True, "in/"), (True, "")):
        await exhaust(memory.list("in/", recursive=recursive, after=after))
    assert memory.requests[:2] == ["list 'in/' level=True after=''", "list 'in/' level=False after='in/'"]


async def test_a_large_page_of_the_service_becomes_pages_of_1000(memory: MemoryStorage) -> None:
    objects = [memory.put(f"{number}", b"") for number in range(2_500)]
    odd = [Irregularity(f"odd {number}", "unusable_key", "") for number in range(1_001)]

    async def pages(*_: object, **__: object) -> AsyncGenerator[ListedPage]:
        yield ListedPage(objects, irregular=odd)
        yield ListedPage([])

    memory.pages = pages  # type: ignore[method-assign]
    found = [page async for page in memory.list("", recursive=False)]
    assert [obj for page in found for obj in page.objects] == objects
    assert [each for page in found for each in page.irregular] == odd
    assert max(len(page.objects) + len(page.irregular) for page in found) <= 1_000


@pytest.mark.parametrize("recursive", [True, False])
async def test_a_listing_that_is_left_ends_at_once(memory: MemoryStorage, recursive: bool) -> None:
    ended = False

    async def pages(*_: object, **__: object) -> AsyncGenerator[ListedPage]:
        nonlocal ended
        try:
            yield ListedPage([memory.put("a", b"")])
            pytest.fail("nobody asked for more")
        finally:
            ended = True

    memory.pages = pages  # type: ignore[method-assign]
    async with aclosing(memory.list("", recursive=recursive)) as listing:  # type: ignore[type-var]
        await anext(listing)
    assert ended


async def test_the_clock_of_the_service_is_noted(memory: MemoryStorage) -> None:
    memory.note_server_date(formatdate(time.time() + 3600, usegmt=True))
    assert 3598 < memory.clock_ahead_seconds < 3601
    memory.note_server_date(None)
    assert memory.clock_ahead_seconds > 3598
    memory.note_server_date(format_datetime(datetime.now(UTC).replace(tzinfo=None)))  # "-0000"
    assert -2 < memory.clock_ahead_seconds < 1


DATE_WORDS = [
    "Sun",
    ",",
    " ",
    "22",
    "Nov",
    "2026",
    "11:52:23",
    "GMT",
    "-0500",
    "+99999999",
    "99999999999",
    "\ud800",
]


@given(st.lists(st.sampled_from(DATE_WORDS)).map("".join) | st.text())
@example("Sun, 22 Nov 2026 11:52:23 +99999999")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_date_is_so_odd_that_a_listing_fails(memory: MemoryStorage, date: str) -> None:
    memory.note_server_date(date)
