"""Stores that say less than S3 does, or something else: nothing is lost, nothing comes twice, and it is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.contract.looking import each_store, look, read, source
from tests.contract.places import OddStorePlace
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import Oddity
from vvwatch.errors import ObjectChanged, StorageUnavailable

pytestmark = [pytest.mark.anyio, each_store]

DATA: Final = bytes(range(256)) * 40
OBJECTS: Final = {"a.mp4": DATA, "b/c d.mp4": b"four", "\u00e4+%41.mp4": b"x", "zero.mp4": b""}
_NONE: Final[frozenset[Oddity]] = frozenset()
_SAID: Final = {
    "hadro": {Oddity.FALSE_DIGESTS},
    "juicefs": {Oddity.NO_VERSIONS},
    "rclone_crypt": {Oddity.NO_VERSIONS},
    "no_etag_element": {Oddity.NO_VERSIONS},
    "empty_quotes": {Oddity.NO_VERSIONS},
    "times_as_in_http": {Oddity.NO_VERSIONS},
    "etags_only_when_read": {Oddity.NO_VERSIONS, Oddity.OTHER_VERSIONS},
    "rounded_times": {Oddity.NO_VERSIONS, Oddity.OTHER_VERSIONS},
    "etags_only_when_listed": {Oddity.OTHER_VERSIONS},
    "other_etags_when_listed": {Oddity.OTHER_VERSIONS, Oddity.NO_CONDITIONS},
    "weak_etags": {Oddity.NO_CONDITIONS},
    "no_ranges": {Oddity.NO_RANGES},
    "false_sizes": {Oddity.FALSE_SIZES},
    "no_lengths": {Oddity.OTHER_VERSIONS},
}


async def at_last(place: OddStorePlace, obj: StorageObject) -> bytes:
    """All its bytes, by a second attempt where the first one only raised a doubt."""
    try:
        return await read(place, obj)
    except StorageUnavailable:
        return await read(place, obj)


async def test_what_is_listed_is_what_stands_there_and_can_be_read(place: OddStorePlace) -> None:
    await place.put_all(OBJECTS)
    found = await look(place)
    assert found.keys() == OBJECTS.keys()
    for key, obj in found.items():
        assert (await place.storage.stat(key)).version == obj.version
        assert await at_last(place, obj) == OBJECTS[key]
        async with place.storage.excerpt(key, obj.version) as excerpt:
            assert os.pread(excerpt.descriptor, 1 << 20, 0) == OBJECTS[key]
    for start, length in ((0, 10), (5_000, 40), (10_000, 1 << 20), (7_000, None)):
        end = None if length is None else start + length
        async with place.storage.stream("a.mp4", found["a.mp4"].version, start, length) as chunks:
            assert b"".join([chunk async for chunk in chunks]) == DATA[start:end]
    assert {key: obj.version for key, obj in (await look(place)).items()} == {
        key: obj.version for key, obj in found.items()
    }


async def test_what_the_store_does_otherwise_is_said_and_nothing_else(place: OddStorePlace) -> None:
    await place.put_all({"a.mp4": DATA, "b.mp4": DATA})
    for obj in (await look(place)).values():
        await place.storage.stat(obj.key)
        await at_last(place, obj)
        async with place.storage.stream(obj.key, obj.version, 100, 10) as chunks:
            assert b"".join([chunk async for chunk in chunks]) == DATA[100:110]
    odd = place.storage.notes.odd
    assert set(odd) == _SAID.get(place.name, _NONE)
    assert all(sentence.startswith("the store ") for sentence in odd.values())


async def test_a_replaced_object_is_another_version_and_the_old_one_is_not_read(place: OddStorePlace) -> None:
    await place.put("a.mp4", DATA)
    before = (await look(place))["a.mp4"]
    assert await at_last(place, before) == DATA
    for content in (DATA[::-1], DATA + b"more"):
        await anyio.sleep(0.01 if place.quirks.times == "millis" else 1.1)  # by what the store tells of time
        await place.put("a.mp4", content)
        after = (await look(place))["a.mp4"]
        assert after.version != before.version
        with pytest.raises(ObjectChanged):
            await read(place, before)
        assert await at_last(place, after) == content
        before = after


async def test_what_is_written_is_there_once_and_can_be_deleted(place: OddStorePlace, tmp_path: Path) -> None:
    file = source(tmp_path, b"ours")
    for _ in range(2):
        written = await place.storage.write("out/a.json", file, content_type="x/y")
        assert written.version == (await look(place))["out/a.json"].version
    await place.put("out/a.json", b"theirs, and longer")
    with pytest.raises(ObjectChanged):
        await place.storage.delete("out/a.json", written.version)
    await place.storage.delete("out/a.json", (await look(place))["out/a.json"].version)
    assert await look(place) == {}
