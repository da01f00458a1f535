"""What every storage promises of the bytes that are read from it and written to it."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import anyio
import pytest

from tests.contract.dialects import PART_BYTES
from tests.contract.looking import everywhere, in_providers, look, read, source
from tests.contract.places import PLACES, Cloud, Place
from vvwatch.errors import ObjectChanged, ObjectExists

pytestmark = pytest.mark.anyio

MIB = 1 << 20


# Reading


async def test_a_descriptor_is_at_the_start_and_read_only(place: Place) -> None:
    await place.put("a.mp4", b"bytes")
    obj = await place.storage.stat("a.mp4")
    async with place.storage.descriptor(obj.key, obj.version) as fd:
        assert os.read(fd, 100) == b"bytes"
        with pytest.raises(OSError):
            os.write(fd, b"x")
    with pytest.raises(OSError):
        os.fstat(fd)


@everywhere
async def test_zero_byte_objects_are_listed_and_read(place: Place) -> None:
    await place.put("empty.mp4", b"")
    obj = (await look(place))["empty.mp4"]
    assert obj.size_bytes == 0
    async with place.storage.descriptor(obj.key, obj.version) as fd:
        assert os.read(fd, 1) == b""
    async with place.storage.excerpt(obj.key, obj.version) as excerpt:
        assert excerpt.whole
        assert os.read(excerpt.descriptor, 1) == b""


@pytest.mark.parametrize("size", [1, 4 * MIB, 4 * MIB + 1, 8 * MIB])
async def test_an_excerpt_of_little_is_the_whole(place: Place, size: int) -> None:
    await place.put("a.mp4", data := os.urandom(size))
    obj = await place.storage.stat("a.mp4")
    async with place.storage.excerpt(obj.key, obj.version) as excerpt:
        assert excerpt.whole
        assert os.pread(excerpt.descriptor, size + 1, 0) == data


@everywhere
@pytest.mark.parametrize(
    ("start", "length"), [(0, None), (0, 1), (MIB, 2 * MIB), (3 * MIB, None), (3 * MIB, 9 * MIB)]
)
async def test_a_stream_is_the_part_that_was_asked_for(place: Place, start: int, length: int | None) -> None:
    await place.put("a.mp4", data := os.urandom(3 * MIB + 7))
    obj = await place.storage.stat("a.mp4")
    async with place.storage.stream(obj.key, obj.version, start, length) as chunks:
        streamed = b"".join([chunk async for chunk in chunks])
    assert streamed == data[start : None if length is None else start + length]


@everywhere
async def test_another_version_is_not_streamed(place: Place) -> None:
    await place.put("a.mp4", b"first")
    obj = await place.storage.stat("a.mp4")
    await place.put("a.mp4", b"second!")
    with pytest.raises(ObjectChanged):
        async with place.storage.stream(obj.key, obj.version):
            pass


@everywhere
async def test_an_excerpt_of_much_is_its_start_and_its_end(place: Place) -> None:
    size = 9 * MIB + 5
    await place.put("a.mp4", data := os.urandom(size))
    obj = await place.storage.stat("a.mp4")
    async with place.storage.excerpt(obj.key, obj.version) as excerpt:
        content = os.pread(excerpt.descriptor, size + 1, 0)
        status = os.fstat(excerpt.descriptor)
    assert excerpt.whole == (not isinstance(place, Cloud))
    assert (content[: 4 * MIB], content[-4 * MIB :]) == (data[: 4 * MIB], data[-4 * MIB :])
    assert status.st_size == size
    if isinstance(place, Cloud):
        assert status.st_blocks * 512 <= 8 * MIB + 8192
        assert content[4 * MIB : -4 * MIB] == bytes(MIB + 5)


async def test_many_objects_are_read_at_once(place: Place) -> None:
    content = {f"{number}": os.urandom(50_000) for number in range(20)}
    await place.put_all(content)
    objects = await look(place)
    found: dict[str, bytes] = {}

    async def note(key: str) -> None:
        found[key] = await read(place, objects[key])

    async with anyio.create_task_group() as tasks:
        for key in content:
            tasks.start_soon(note, key)
    assert found == content


@in_providers
async def test_who_stops_in_the_middle_leaves_nothing_behind(cloud: Cloud) -> None:
    await cloud.put("a.mp4", bytes(5 * MIB))
    obj = await cloud.storage.stat("a.mp4")
    with anyio.CancelScope() as scope:
        async with cloud.storage.opened(obj.key, obj.version) as incoming:  # type: ignore[attr-defined]
            async for _ in incoming.chunks:
                scope.cancel()
                await anyio.sleep_forever()
    assert scope.cancelled_caught
    with anyio.CancelScope() as scope:
        async with cloud.storage.descriptor(obj.key, obj.version):
            scope.cancel()
            await anyio.sleep_forever()
    assert cloud.spool._taken_bytes == 0
    assert await read(cloud, obj) == bytes(5 * MIB)


# Writing


@everywhere
async def test_a_write_reports_what_stands_there(place: Place, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    written = await place.storage.write("out/new/a.json", source(tmp_path, data), content_type="x/y")
    assert written.uri == place.storage.uri("out/new/a.json")
    assert written.size_bytes == len(data)
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    obj = await place.storage.stat("out/new/a.json")
    assert (obj.size_bytes, obj.version) == (len(data), written.version)
    assert await read(place, obj) == data


async def test_nothing_can_be_written(place: Place, tmp_path: Path) -> None:
    written = await place.storage.write("a.json", source(tmp_path, b""), content_type="x/y")
    assert (written.size_bytes, written.sha256) == (0, hashlib.sha256(b"").hexdigest())
    assert (await look(place))["a.json"].size_bytes == 0


@pytest.mark.parametrize("size", [100, 9 * MIB])
async def test_content_type_and_digest_are_kept_with_the_object(
    cloud: Cloud, tmp_path: Path, size: int
) -> None:
    data = os.urandom(size)
    await cloud.storage.write("a.json", source(tmp_path, data), content_type="application/json")
    assert cloud.facts("a.json") == ("application/json", hashlib.sha256(data).hexdigest())


@everywhere
async def test_writing_equal_bytes_again_is_success_and_changes_nothing(place: Place, tmp_path: Path) -> None:
    first = await place.storage.write("a.json", source(tmp_path, b"same"), content_type="x/y")
    before = await place.storage.stat("a.json")
    assert await place.storage.write("a.json", source(tmp_path, b"same"), content_type="x/y") == first
    assert await place.storage.stat("a.json") == before


@everywhere
@pytest.mark.parametrize("size", [6, 9 * MIB])
async def test_other_content_is_never_overwritten(place: Place, tmp_path: Path, size: int) -> None:
    await place.put("a.json", b"theirs")
    before = await place.storage.stat("a.json")
    with pytest.raises(ObjectExists):
        await place.storage.write("a.json", source(tmp_path, b"o" * size), content_type="x/y")
    assert await place.storage.stat("a.json") == before
    if isinstance(place, Cloud):
        assert place.unfinished() == 0


async def outcomes_of_writers(place: Place, folder: Path, letters: bytes, size: int) -> list[bytes]:
    """The content of those who succeed, of some who write different content at the same time."""
    outcomes: list[bytes] = []

    async def write(data: bytes) -> None:
        try:
            await place.storage.write("a.json", source(folder, data), content_type="x/y")
        except ObjectExists:
            return
        outcomes.append(data)

    async with anyio.create_task_group() as tasks:
        for letter in letters:
            tasks.start_soon(write, bytes([letter]) * size)
    return outcomes


@pytest.mark.parametrize("place", [name for name in PLACES if name != "moto"], indirect=True)
async def test_of_two_writers_of_different_content_one_wins_whole(place: Place, tmp_path: Path) -> None:
    """Not in moto, whose threads look first and then create."""
    (winner,) = await outcomes_of_writers(place, tmp_path, b"abcdefgh", 100_000)
    assert await read(place, await place.storage.stat("a.json")) == winner
    assert set(await look(place)) == {"a.json"}


@pytest.mark.parametrize("place", ["local", "ministack", "seaweed", "azurite"], indirect=True)
async def test_of_two_writers_of_large_content_one_wins_whole(place: Place, tmp_path: Path) -> None:
    """Nor in fake_gcs, which forgets the condition of a large create."""
    (winner,) = await outcomes_of_writers(place, tmp_path, b"ab", 9 * MIB)
    assert await read(place, await place.storage.stat("a.json")) == winner


@in_providers
async def test_a_large_object_goes_round(cloud: Cloud, tmp_path: Path) -> None:
    data = os.urandom(20 * MIB + 1)
    written = await cloud.storage.write("a.bin", source(tmp_path, data), content_type="x/y")
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    assert await read(cloud, await cloud.storage.stat("a.bin")) == data


@in_providers
async def test_a_large_object_takes_little_memory(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.shrink_parts(monkeypatch)
    path = source(tmp_path, os.urandom(24 * PART_BYTES))
    await look(cloud)  # what a client needs of itself
    tracemalloc.start()
    try:
        written = await cloud.storage.write("a.bin", path, content_type="x/y")
        async with cloud.storage.descriptor("a.bin", written.version):
            peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * PART_BYTES


@everywhere
async def test_a_delete_removes_what_was_written_and_nothing_else(place: Place, tmp_path: Path) -> None:
    written = await place.storage.write("out/a.json", source(tmp_path, b"ours"), content_type="x/y")
    await place.put("out/a.json", b"theirs")
    with pytest.raises(ObjectChanged):
        await place.storage.delete("out/a.json", written.version)
    theirs = await place.storage.stat("out/a.json")
    assert await read(place, theirs) == b"theirs"
    await place.storage.delete("out/a.json", theirs.version)
    await place.storage.delete("out/a.json", theirs.version)
    assert await look(place) == {}
