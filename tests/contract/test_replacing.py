"""What every storage promises of an object that is replaced: readers see the old one or the new one, never none."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from tests.contract.looking import everywhere, look, read, source
from tests.contract.places import Place
from vvwatch.errors import ObjectChanged, ObjectNotFound

pytestmark = pytest.mark.anyio

KEY = "out/latest.json"


async def put(place: Place, folder: Path, data: bytes) -> str:
    return (await place.storage.write(KEY, source(folder, data), content_type="x/y")).version


async def replace(place: Place, folder: Path, data: bytes, version: str) -> str:
    written = await place.storage.replace(KEY, source(folder, data), version, content_type="x/y")
    assert (written.uri, written.size_bytes) == (place.storage.uri(KEY), len(data))
    return written.version


@everywhere
async def test_exactly_that_version_is_replaced(place: Place, tmp_path: Path) -> None:
    first = await put(place, tmp_path, b"first")
    second = await replace(place, tmp_path, b"the second", first)
    obj = await place.storage.stat(KEY)
    assert (obj.version, obj.size_bytes) == (second, 10)
    assert await read(place, obj) == b"the second"
    with pytest.raises(ObjectChanged):
        await replace(place, tmp_path, b"a third one", first)
    assert await replace(place, tmp_path, b"the second", first) == second, "it is done"
    assert await read(place, await place.storage.stat(KEY)) == b"the second"
    assert set(await look(place)) == {KEY}


@everywhere
async def test_what_others_put_there_stays(place: Place, tmp_path: Path) -> None:
    version = await put(place, tmp_path, b"ours")
    await place.put(KEY, b"somebody else's")
    with pytest.raises(ObjectChanged):
        await replace(place, tmp_path, b"ours again", version)
    assert await read(place, await place.storage.stat(KEY)) == b"somebody else's"


@everywhere
async def test_nothing_is_created_where_nothing_is(place: Place, tmp_path: Path) -> None:
    version = await put(place, tmp_path, b"ours")
    await place.storage.delete(KEY, version)
    with pytest.raises(ObjectNotFound):
        await replace(place, tmp_path, b"ours again", version)
    assert await look(place) == {}


async def test_large_objects_are_replaced(place: Place, tmp_path: Path) -> None:
    version = await put(place, tmp_path, b"small")
    data = os.urandom(9 << 20)
    await replace(place, tmp_path, data, version)
    assert await read(place, await place.storage.stat(KEY)) == data


async def test_readers_never_miss_it(place: Place, tmp_path: Path) -> None:
    seen: set[bytes] = set()
    version = await put(place, tmp_path, b"0")

    async def look_on() -> None:
        while True:
            try:
                await anyio.lowlevel.checkpoint()
                seen.add(await read(place, await place.storage.stat(KEY)))
            except ObjectChanged:  # between both requests
                continue

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look_on)
        for number in range(1, 30):
            version = await replace(place, tmp_path, str(number).encode(), version)
        tasks.cancel_scope.cancel()
    assert seen <= {str(number).encode() for number in range(30)}


async def test_of_two_writers_one_replaces_it(place: Place, tmp_path: Path) -> None:
    version = await put(place, tmp_path, b"first")
    won: list[bytes] = []

    async def race(data: bytes) -> None:
        try:
            await replace(place, tmp_path, data, version)
        except ObjectChanged:
            return
        won.append(data)

    async with anyio.create_task_group() as tasks:
        for data in (b"one", b"two", b"three"):
            tasks.start_soon(race, data)
    assert len(won) == 1
    assert await read(place, await place.storage.stat(KEY)) == won[0]


async def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """A local folder: the hidden file of a killed process goes with the next attempt."""
    from vvwatch.providers.local.storage import LocalStorage

    (root := tmp_path / "root").mkdir()
    storage = LocalStorage(root, allowed_roots=[root])
    written = await storage.write("latest.json", source(tmp_path, b"one"), content_type="x/y")
    hidden: list[str] = []
    rename = os.rename

    def die(*names: str, **folders: int) -> None:
        hidden.extend(path.name for path in root.iterdir())
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            await storage.replace("latest.json", source(tmp_path, b"two"), written.version, content_type="")
    assert os.rename is rename
    [left] = [name for name in hidden if name.startswith(".")]
    (root / left).write_bytes(b"half")
    await storage.replace("latest.json", source(tmp_path, b"two"), written.version, content_type="x/y")
    assert [path.name for path in root.iterdir()] == ["latest.json"]
    assert (root / "latest.json").read_bytes() == b"two"
