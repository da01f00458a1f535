from __future__ import annotations

import itertools
import os
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.looking import names
from tests.providers.memory import MemoryStorage
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import Oddity
from vvwatch.errors import (
    ObjectChanged,
    ObjectTooLarge,
    SpoolFull,
    StorageError,
    StorageUnavailable,
)
from vvwatch.providers import remote, unanswered
from vvwatch.providers.listing import ListedPage
from vvwatch.providers.spool import Spool

pytestmark = pytest.mark.anyio

DATA = bytes(range(100))
OTHER = b"0123456789abcdef"
"""A digest that is none of any bytes here."""


async def read(memory: MemoryStorage, key: str, version: str) -> bytes:
    async with memory.descriptor(key, version) as file:
        return os.pread(file, 1 << 20, 0)


async def test_a_download_is_one_request_and_over_when_the_descriptor_is_there(
    memory: MemoryStorage,
) -> None:
    obj = memory.put("a", DATA)
    async with memory.descriptor(obj.key, obj.version) as file:
        assert os.read(file, 1000) == DATA
        assert memory.open_bodies == 0
    assert memory.requests == ["open a 0-"]


async def test_an_interrupted_download_goes_on_where_it_broke_off(memory: MemoryStorage) -> None:
    obj = memory.put("a", DATA)
    memory.breaks = [15, 1, 50, None]
    assert await read(memory, obj.key, obj.version) == DATA
    assert memory.requests == ["open a 0-", "open a 15-", "open a 16-", "open a 66-"]


@given(
    size=st.integers(1, 100),
    breaks=st.lists(st.integers(1, 100), max_size=5),
    chunk_bytes=st.integers(1, 40),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_wherever_it_breaks_off_the_bytes_are_the_same(
    memory: MemoryStorage, size: int, breaks: list[int], chunk_bytes: int
) -> None:
    obj = memory.put("a", DATA[:size])
    memory.breaks, memory.chunk_bytes = list(breaks), chunk_bytes
    assert anyio.run(read, memory, obj.key, obj.version) == DATA[:size]


async def streamed(memory: MemoryStorage, *wanted: Any) -> bytes:
    async with memory.stream(*wanted) as chunks:
        return b"".join([chunk async for chunk in chunks])


@given(
    start=st.integers(0, 99),
    length=st.none() | st.integers(1, 120),
    breaks=st.lists(st.integers(1, 100), max_size=4),
    chunk_bytes=st.integers(1, 40),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_wherever_a_stream_breaks_off_it_goes_on_there(
    memory: MemoryStorage, start: int, length: int | None, breaks: list[int], chunk_bytes: int
) -> None:
    obj = memory.put("a", DATA)
    memory.breaks, memory.chunk_bytes = list(breaks), chunk_bytes
    end = None if length is None else start + length
    assert anyio.run(streamed, memory, obj.key, obj.version, start, length) == DATA[start:end]
    assert memory.open_bodies == 0


async def test_a_stream_that_breaks_off_again_and_again_or_changes_fails(memory: MemoryStorage) -> None:
    obj = memory.put("a", DATA)
    memory.breaks = [1] * 100
    with pytest.raises(StorageUnavailable, match="after 5 of 100 bytes"):
        await streamed(memory, obj.key, obj.version)
    memory.breaks = [40]
    async with memory.stream(obj.key, obj.version) as chunks:
        assert await anext(chunks)
        memory.put("a", DATA)
        with pytest.raises(ObjectChanged):
            assert [chunk async for chunk in chunks]
    assert memory.open_bodies == 0


async def test_a_body_that_ends_early_without_a_word_is_interrupted_as_well(memory: MemoryStorage) -> None:
    obj = memory.put("a", DATA)
    memory.objects["a"] = (obj, DATA[:40])  # the service says 100, and 40 come
    with pytest.raises(StorageUnavailable, match="after 40 of 100 bytes"):
        await read(memory, obj.key, obj.version)
    assert memory.requests == ["open a 0-", *["open a 40-"] * 5]


async def test_a_download_that_breaks_off_again_and_again_fails_and_leaves_nothing(
    memory: MemoryStorage, spool: Spool, tmp_path: Path
) -> None:
    obj = memory.put("a", DATA)
    memory.breaks = [1] * 100
    with pytest.raises(StorageUnavailable, match="after 6 of 100 bytes") as failure:
        await read(memory, obj.key, obj.version)
    assert failure.value.transient
    assert len(memory.requests) == 6
    assert spool._taken_bytes == 0
    assert names(tmp_path / "spool") == []


async def test_interruptions_are_forgiven_where_much_comes_between_them(
    memory: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_PROGRESS_BYTES", 8)
    obj = memory.put("a", DATA)
    memory.breaks = [8] * 12
    assert await read(memory, obj.key, obj.version) == DATA
    memory.breaks = [8, *[1] * 4, 8, *[1] * 4, 8, *[1] * 100]
    with pytest.raises(StorageUnavailable, match="after 37 of 100"):
        await read(memory, obj.key, obj.version)


async def test_an_answer_that_brings_nothing_is_an_interruption_like_others(memory: MemoryStorage) -> None:
    obj = memory.put("a", DATA)
    memory.breaks = [0, 5, 0]
    assert await read(memory, obj.key, obj.version) == DATA
    assert memory.requests == ["open a 0-", "open a 0-", "open a 5-", "open a 5-"]


async def test_an_object_replaced_between_two_parts_of_its_download_has_changed(
    memory: MemoryStorage,
) -> None:
    obj = memory.put("a", DATA)
    memory.breaks = [50]
    memory.on_request = lambda request: request == "open a 50-" and memory.put("a", DATA[::-1])
    with pytest.raises(ObjectChanged):
        await read(memory, obj.key, obj.version)


@pytest.mark.parametrize("breaks", [[], [30]])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "excerpt"])
async def test_bytes_that_come_otherwise_each_time_are_refused(
    memory: MemoryStorage, breaks: list[int | None], whole: bool, spool: Spool
) -> None:
    obj = memory.put("a", DATA[:32])
    memory.body = garbled(memory.body, once=False)
    for told in ("than the store states", "and than before", "and than before"):
        memory.breaks = list(breaks) if whole else []
        with pytest.raises(StorageUnavailable, match=told) as failure:
            async with memory.descriptor(*obj[:2]) if whole else memory.excerpt(*obj[:2]):
                pass
        assert failure.value.transient
    assert spool._taken_bytes == 0
    assert not memory.notes.odd


async def test_bytes_that_were_garbled_on_their_way_are_read_again(memory: MemoryStorage) -> None:
    obj = memory.put("a", DATA)
    memory.body = garbled(memory.body, once=True)
    with pytest.raises(StorageUnavailable, match="other bytes"):
        await read(memory, obj.key, obj.version)
    assert await read(memory, obj.key, obj.version) == DATA
    assert not memory.notes.odd
    assert memory.notes.remark_on(obj.key, obj.version) == ""


async def test_bytes_that_come_equal_twice_are_taken_whatever_the_store_states(memory: MemoryStorage) -> None:
    memory.states["wrong"] = OTHER
    right, wrong = memory.put("right", DATA), memory.put("wrong", DATA)
    assert await read(memory, *right[:2]) == DATA
    with pytest.raises(StorageUnavailable, match="other bytes"):
        await read(memory, *wrong[:2])
    assert not memory.notes.odd
    for _ in range(3):  # and are not doubted again
        assert await read(memory, *wrong[:2]) == DATA
    assert "came equal twice" in memory.notes.remark_on(*wrong[:2])
    assert memory.notes.remark_on(*right[:2]) == ""
    assert list(memory.notes.odd) == [Oddity.FALSE_DIGESTS]


async def test_a_store_whose_digests_are_never_right_is_doubted_once(memory: MemoryStorage) -> None:
    memory.states = {f"{number}": OTHER for number in range(4)}
    found = [memory.put(f"{number}", DATA) for number in range(4)]
    with pytest.raises(StorageUnavailable, match="other bytes"):
        await read(memory, *found[0][:2])
    for obj in found:
        assert await read(memory, *obj[:2]) == DATA
        assert "another digest" in memory.notes.remark_on(*obj[:2])
    right = memory.put("right", DATA)
    await read(memory, *right[:2])  # from now on a wrong digest says something
    with pytest.raises(StorageUnavailable, match="other bytes"):
        await read(memory, *found[3][:2])


async def test_an_object_replaced_before_its_second_read_has_changed(memory: MemoryStorage) -> None:
    memory.states["a"] = OTHER
    obj = memory.put("a", DATA)
    with pytest.raises(StorageUnavailable, match="other bytes"):
        await read(memory, obj.key, obj.version)
    newer = memory.put("a", DATA)
    with pytest.raises(ObjectChanged):
        await read(memory, obj.key, obj.version)
    with pytest.raises(StorageUnavailable, match="other bytes"):  # of this one nothing is known yet
        await read(memory, newer.key, newer.version)


def garbled(
    chunks: Callable[[bytes], AsyncIterator[bytes]], *, once: bool
) -> Callable[[bytes], AsyncIterator[bytes]]:
    """Bodies with another first byte: the first one, or each one another way."""
    times = itertools.count(1)

    async def other(data: bytes) -> AsyncIterator[bytes]:
        number = next(times)
        wrong = data if once and number > 1 else bytes([(data[0] + number) % 256]) + data[1:]
        async for chunk in chunks(wrong):
            yield chunk

    return other


async def test_where_the_store_vouches_for_nothing_the_length_has_to_do(memory: MemoryStorage) -> None:
    memory.vouches = False
    obj = memory.put("a", DATA)
    assert await read(memory, obj.key, obj.version) == DATA


async def test_more_than_there_is_fills_no_spool_and_is_not_tried_again(
    memory: MemoryStorage, spool: Spool
) -> None:
    obj = memory.put("a", DATA)
    memory.objects["a"] = (obj._replace(size_bytes=20), DATA)
    for open_object in (memory.descriptor, memory.excerpt):
        with pytest.raises(StorageError, match="more than the") as failure:
            async with open_object(obj.key, obj.version):
                pass
        assert not failure.value.transient
    assert spool._taken_bytes == 0


async def test_what_is_too_large_is_refused_before_a_byte_comes(
    memory: MemoryStorage, tmp_path: Path
) -> None:
    memory._spool = Spool(tmp_path, 99)
    obj = memory.put("a", DATA)

    async def untouched(data: bytes) -> AsyncIterator[bytes]:
        pytest.fail("something was read")
        yield b""

    memory.body = untouched
    for open_object in (memory.descriptor, memory.excerpt):
        with pytest.raises(ObjectTooLarge):
            async with open_object(obj.key, obj.version):
                pass
    assert memory.open_bodies == 0


async def test_a_spool_that_is_full_is_no_interruption(
    memory: MemoryStorage, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise SpoolFull("no room")

    monkeypatch.setattr(spool, "write", full)
    obj = memory.put("a", DATA)
    with pytest.raises(SpoolFull):
        await read(memory, obj.key, obj.version)
    assert memory.requests == ["open a 0-"]


async def test_a_large_object_takes_little_memory(spool: Spool) -> None:
    memory, size = MemoryStorage(spool), 64 << 20

    async def chunks(data: bytes) -> AsyncIterator[bytes]:
        for _ in range(size >> 16):
            yield bytes(1 << 16)

    memory.vouches, memory.body = False, chunks
    obj = memory.put("a", b"")
    memory.objects["a"] = (obj._replace(size_bytes=size), b"")
    tracemalloc.start()
    try:
        async with memory.descriptor(obj.key, obj.version) as file:
            assert os.fstat(file).st_size == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@given(size=st.integers(0, 80), chunk_bytes=st.integers(1, 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_an_excerpt_is_the_start_and_the_end_or_the_whole(
    memory: MemoryStorage, spool: Spool, size: int, chunk_bytes: int
) -> None:
    data = os.urandom(size)
    obj = memory.put("a", data)
    memory.chunk_bytes = chunk_bytes
    memory.requests.clear()

    async def look() -> tuple[bytes, bool, int]:
        async with memory.excerpt(obj.key, obj.version) as excerpt:
            return os.pread(excerpt.descriptor, 1000, 0), excerpt.whole, spool._taken_bytes

    content, whole, taken = anyio.run(look)
    assert whole == (size <= 32)
    assert content == (data if whole else data[:16] + bytes(size - 32) + data[-16:])
    assert taken == min(size, 32)
    assert len(memory.requests) == 1 + (size > 16)
    assert spool._taken_bytes == 0


async def test_an_object_replaced_between_start_and_end_has_changed(memory: MemoryStorage) -> None:
    obj = memory.put("a", DATA)
    memory.on_request = lambda request: request == "open a 84-" and memory.put("a", DATA[::-1])
    with pytest.raises(ObjectChanged):
        async with memory.excerpt(obj.key, obj.version):
            pass


@pytest.mark.parametrize("breaks", [[10], [None, 10], [0], [None, 0]])
async def test_an_excerpt_that_breaks_off_fails_and_leaves_nothing(
    memory: MemoryStorage, spool: Spool, breaks: list[int | None]
) -> None:
    obj = memory.put("a", DATA)
    memory.breaks = breaks
    with pytest.raises(StorageUnavailable):
        async with memory.excerpt(obj.key, obj.version):
            pass
    assert spool._taken_bytes == 0


@pytest.mark.parametrize("size", [16, 32])
async def test_a_whole_excerpt_is_held_against_what_the_store_states(
    memory: MemoryStorage, size: int
) -> None:
    memory.states["a"] = OTHER
    obj = memory.put("a", DATA[:size])
    with pytest.raises(StorageUnavailable, match="other bytes"):
        async with memory.excerpt(obj.key, obj.version):
            pass
    async with memory.excerpt(obj.key, obj.version) as excerpt:
        assert excerpt.whole
        assert os.pread(excerpt.descriptor, 100, 0) == DATA[:size]
    assert "another digest" in memory.notes.remark_on("a", obj.version)


class LongListing(MemoryStorage):
    """Three folders over many pages; the survey of its levels shows in its requests."""

    async def pages(self, prefix: str, *, level: bool = False, after: str = "") -> AsyncGenerator[ListedPage]:
        self.requests.append(f"{prefix!r} {level}")
        if level:
            yield ListedPage((), ["a/", "b/", "c/"])
            return
        for number in range(200):
            key = f"{'abc'[number // 67]}/{number}"
            await anyio.lowlevel.checkpoint()
            yield ListedPage([StorageObject(key, "1", 1, 0.0, 0.0)] if key.startswith(prefix) else [])


@pytest.mark.parametrize("any_prefix", [True, False])
async def test_a_listing_is_split_only_where_it_may_begin_anywhere(tmp_path: Path, any_prefix: bool) -> None:
    storage = LongListing(Spool(tmp_path, 1 << 20))
    storage.any_prefix = any_prefix
    keys = {obj.key async for page in storage.list("", recursive=True) for obj in page.objects}
    assert len(keys) == 200
    assert (storage.requests == ["'' False"]) is not any_prefix


async def test_a_store_that_takes_a_request_and_never_answers_it_is_not_waited_for_long(
    memory: MemoryStorage, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unanswered, "ANSWER_SECONDS", 0.05)
    obj = memory.put("a", DATA)
    memory.delays = [anyio.sleep_forever] * 9
    for read_it in (memory.descriptor, memory.excerpt, memory.stream):
        with pytest.raises(StorageUnavailable, match="no answer in time"):
            async with read_it(obj.key, obj.version):
                pass
    assert len(memory.requests) == 3
    assert (memory.open_bodies, spool._taken_bytes) == (0, 0)


@pytest.mark.parametrize(("come", "requests"), [(0, 1), (40, 2)])
@pytest.mark.parametrize("streams", [False, True])
async def test_a_body_that_hangs_is_asked_for_again_as_long_as_something_comes(
    memory: MemoryStorage, monkeypatch: pytest.MonkeyPatch, come: int, requests: int, *, streams: bool
) -> None:
    monkeypatch.setattr(unanswered, "ANSWER_SECONDS", 0.3)
    obj = memory.put("a", DATA)

    async def body(data: bytes) -> AsyncIterator[bytes]:
        if come and len(data) == len(DATA):
            yield data[:come]
        await anyio.sleep_forever()

    memory.body = body
    with pytest.raises(StorageUnavailable, match="no answer in time"):
        await (streamed if streams else read)(memory, obj.key, obj.version)
    assert len(memory.requests) == requests
    assert memory.open_bodies == 0


async def test_a_body_that_hangs_once_goes_on_where_it_hung(
    memory: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unanswered, "ANSWER_SECONDS", 0.3)
    obj = memory.put("a", DATA)

    async def body(data: bytes) -> AsyncIterator[bytes]:
        yield data[:60]
        if len(data) == len(DATA):
            await anyio.sleep_forever()

    memory.body = body
    assert await read(memory, obj.key, obj.version) == DATA
    assert memory.requests == ["open a 0-", "open a 60-"]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_body_that_comes_too_slowly_is_given_up(
    memory: MemoryStorage, monkeypatch: pytest.MonkeyPatch, *, streams: bool
) -> None:
    monkeypatch.setattr(unanswered, "MEASURED_SECONDS", 0.2)
    obj = memory.put("a", DATA)

    async def body(data: bytes) -> AsyncIterator[bytes]:
        for byte in data:
            yield bytes((byte,))
            await anyio.sleep(0.02)

    memory.body = body
    with pytest.raises(StorageUnavailable, match=r"the store is too slow: [0-9]+ bytes came in"):
        await (streamed if streams else read)(memory, obj.key, obj.version)
    assert memory.requests == ["open a 0-"]
    assert memory.open_bodies == 0


async def test_a_body_that_is_taken_slowly_is_no_slow_one(
    memory: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unanswered, "MEASURED_SECONDS", 0.05)
    obj = memory.put("a", DATA)
    async with memory.stream(obj.key, obj.version) as chunks:
        taken = b""
        async for chunk in chunks:
            taken += chunk
            await anyio.sleep(0.01)
    assert taken == DATA
