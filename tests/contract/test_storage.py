"""What every storage promises, held against each of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import anyio
import pytest

from tests.fakes import FakeStorage
from vvwatch.core.objects import StorageObject
from vvwatch.errors import ObjectChanged, ObjectExists, ObjectNotFound, OutsideLocation
from vvwatch.ports import Storage
from vvwatch.storage.local import LocalStorage

pytestmark = pytest.mark.anyio

ODD_KEYS = [
    "a+b.mp4", "a b.mp4", "%2F.mp4", "a%20b.mp4", "#1.mp4", "what?.mp4", "caf\u00e9.mp4", "cafe\u0301.mp4",
    "\U0001f3ac.mp4", "back\\slash.mp4", "quote'\".mp4", "new\nline.mp4", "&amp;.mp4", "UPPER.MP4", "a..b.mp4",
]  # fmt: skip
HOSTILE_KEYS = ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/.", "a/..", "/"]


class Place(Protocol):
    """A storage under test, and how someone else changes what it holds."""

    storage: Storage

    async def put(self, key: str, data: bytes) -> None: ...

    async def remove(self, key: str) -> None: ...


class FakePlace:
    def __init__(self, folder: Path) -> None:
        self.storage: Storage = (fake := FakeStorage())
        self._fake = fake

    async def put(self, key: str, data: bytes) -> None:
        self._fake.put(key, data)

    async def remove(self, key: str) -> None:
        self._fake.remove(key)


class LocalPlace:
    """Every put makes a new file, as a rename into place does."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "root"
        self._root.mkdir()
        self.storage: Storage = LocalStorage(self._root, allowed_roots=[folder])

    async def put(self, key: str, data: bytes) -> None:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(".scratch")
        scratch.write_bytes(data)
        scratch.rename(path)

    async def remove(self, key: str) -> None:
        (self._root / key).unlink()


PLACES: dict[str, Callable[[Path], Place]] = {"local": LocalPlace, "fake": FakePlace}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


async def listed(place: Place, prefix: str = "", *, recursive: bool = True) -> dict[str, StorageObject]:
    return {
        obj.key: obj async for page in place.storage.list(prefix, recursive=recursive) for obj in page.objects
    }


async def read(place: Place, obj: StorageObject, spool: Path) -> bytes:
    async with place.storage.descriptor(obj.key, obj.version) as fd:
        return os.pread(fd, 1 << 20, 0)


def source(folder: Path, data: bytes) -> Path:
    path = folder / f"source-{hashlib.sha256(data).hexdigest()[:8]}"
    path.write_bytes(data)
    return path


async def test_an_empty_location_lists_nothing(place: Place) -> None:
    assert await listed(place) == {}


async def test_a_listing_says_what_stat_says(place: Place) -> None:
    await place.put("in/a.mp4", b"four")
    obj = (await listed(place))["in/a.mp4"]
    assert obj == await place.storage.stat("in/a.mp4")
    assert obj.size_bytes == 4
    assert obj.changed_at >= obj.modified_at > 0


async def test_every_object_is_listed_in_pages_of_at_most_1000_entries(place: Place) -> None:
    for number in range(1_300):
        await place.put(f"d{number % 7}/{number}.mp4", b"")
    pages = [page async for page in place.storage.list("", recursive=True)]
    assert max(len(page.objects) + len(page.irregular) for page in pages) <= 1000
    keys = [obj.key for page in pages for obj in page.objects]
    assert sorted(keys) == sorted(f"d{number % 7}/{number}.mp4" for number in range(1_300))


@pytest.mark.parametrize(
    ("prefix", "recursive", "expected"),
    [
        ("", True, {"a.mp4", "in/b.mp4", "in/deep/c.mp4", "inbox/d.mp4"}),
        ("", False, {"a.mp4"}),
        ("in/", True, {"in/b.mp4", "in/deep/c.mp4"}),
        ("in/", False, {"in/b.mp4"}),
        ("in", True, {"in/b.mp4", "in/deep/c.mp4", "inbox/d.mp4"}),
        ("in", False, set()),
        ("in/de", True, {"in/deep/c.mp4"}),
        ("in/b", False, {"in/b.mp4"}),
        ("in/b.mp4", True, {"in/b.mp4"}),
        ("nowhere/", True, set()),
        ("in/b.mp4/", True, set()),
    ],
)
async def test_a_prefix_is_the_start_of_a_key(
    place: Place, prefix: str, recursive: bool, expected: set[str]
) -> None:
    for key in ("a.mp4", "in/b.mp4", "in/deep/c.mp4", "inbox/d.mp4"):
        await place.put(key, b"x")
    assert set(await listed(place, prefix, recursive=recursive)) == expected


@pytest.mark.parametrize("key", ODD_KEYS, ids=ascii)
async def test_nfd_nfc_pair_and_other_odd_keys_go_round_unchanged(
    place: Place, key: str, tmp_path: Path
) -> None:
    full = f"odd {key}/{key}"
    for other in ODD_KEYS:
        await place.put(f"odd {key}/{other}", other.encode())
    found = await listed(place, f"odd {key}/")
    assert set(found) == {f"odd {key}/{other}" for other in ODD_KEYS}
    assert await place.storage.stat(full) == found[full]
    assert await read(place, found[full], tmp_path) == key.encode()
    assert len({place.storage.uri(each) for each in found}) == len(ODD_KEYS)


@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_no_key_leads_outside(place: Place, key: str, tmp_path: Path) -> None:
    with pytest.raises(OutsideLocation):
        await place.storage.stat(key)
    with pytest.raises(OutsideLocation):
        async with place.storage.descriptor(key, "1"):
            pass
    with pytest.raises(OutsideLocation):
        await place.storage.write(key, source(tmp_path, b"x"), content_type="text/plain")


@pytest.mark.parametrize("prefix", ["..", "../", "a/../../", "/", "/etc/"])
async def test_no_prefix_leads_outside(place: Place, prefix: str) -> None:
    with pytest.raises(OutsideLocation):
        await listed(place, prefix)


async def test_an_absent_object_is_not_found(place: Place, tmp_path: Path) -> None:
    await place.put("a.mp4", b"x")
    for key in ("b.mp4", "a.mp4/b.mp4", "no/a.mp4", "n" * 300):
        with pytest.raises(ObjectNotFound):
            await place.storage.stat(key)
        with pytest.raises(ObjectNotFound):
            async with place.storage.descriptor(key, "1"):
                pass


async def test_overwrite_while_processing_is_another_version(place: Place, tmp_path: Path) -> None:
    await place.put("a.mp4", b"first")
    before = await place.storage.stat("a.mp4")
    async with place.storage.descriptor(before.key, before.version) as fd:
        await place.put("a.mp4", b"other")
        assert os.pread(fd, 100, 0) == b"first"
    after = await place.storage.stat("a.mp4")
    assert after.version != before.version
    with pytest.raises(ObjectChanged):
        await read(place, before, tmp_path)
    assert await read(place, after, tmp_path) == b"other"


async def test_delete_recreate_same_bytes_is_found_again(place: Place, tmp_path: Path) -> None:
    await place.put("a.mp4", b"same")
    await place.remove("a.mp4")
    assert await listed(place) == {}
    await place.put("a.mp4", b"same")
    assert await read(place, (await listed(place))["a.mp4"], tmp_path) == b"same"


async def test_a_descriptor_is_at_the_start_and_read_only(place: Place, tmp_path: Path) -> None:
    await place.put("a.mp4", b"bytes")
    obj = await place.storage.stat("a.mp4")
    async with place.storage.descriptor(obj.key, obj.version) as fd:
        assert os.read(fd, 100) == b"bytes"
        with pytest.raises(OSError):
            os.write(fd, b"x")
    with pytest.raises(OSError):
        os.fstat(fd)


async def test_zero_byte_objects_are_listed(place: Place) -> None:
    await place.put("empty.mp4", b"")
    assert (await listed(place))["empty.mp4"].size_bytes == 0


async def test_a_write_reports_what_stands_there(place: Place, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    written = await place.storage.write("out/new/a.json", source(tmp_path, data), content_type="x/y")
    assert written.uri == place.storage.uri("out/new/a.json")
    assert written.size_bytes == len(data)
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    obj = await place.storage.stat("out/new/a.json")
    assert obj.size_bytes == len(data)


async def test_writing_equal_bytes_again_is_success_and_changes_nothing(place: Place, tmp_path: Path) -> None:
    first = await place.storage.write("a.json", source(tmp_path, b"same"), content_type="x/y")
    before = await place.storage.stat("a.json")
    assert await place.storage.write("a.json", source(tmp_path, b"same"), content_type="x/y") == first
    assert await place.storage.stat("a.json") == before


async def test_other_content_is_never_overwritten(place: Place, tmp_path: Path) -> None:
    await place.put("a.json", b"theirs")
    before = await place.storage.stat("a.json")
    with pytest.raises(ObjectExists):
        await place.storage.write("a.json", source(tmp_path, b"ours"), content_type="x/y")
    assert await place.storage.stat("a.json") == before


async def test_of_two_writers_of_different_content_one_wins_whole(place: Place, tmp_path: Path) -> None:
    outcomes: list[bytes] = []

    async def write(data: bytes) -> None:
        try:
            await place.storage.write("a.json", source(tmp_path, data), content_type="x/y")
        except ObjectExists:
            return
        outcomes.append(data)

    async with anyio.create_task_group() as tasks:
        for letter in b"abcdefgh":
            tasks.start_soon(write, bytes([letter]) * 100_000)
    (winner,) = outcomes
    assert await read(place, await place.storage.stat("a.json"), tmp_path) == winner
    assert set(await listed(place)) == {"a.json"}


async def test_a_good_location_passes_its_check_and_the_check_leaves_nothing(place: Place) -> None:
    await place.storage.check(read=True, write_below="")
    await place.storage.check(read=True, write_below=None)
    assert await listed(place) == {}


async def test_nobody_uses_what_is_closed_or_gone(place: Place) -> None:
    await place.put("a.mp4", b"x")
    assert set(await place.storage.in_use(["a.mp4", "gone.mp4"])) == set()
