"""What every storage promises, held against each of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.contract.looking import everywhere, in_providers, look, read, source
from tests.contract.places import PROVIDERS, Cloud, Place
from vvwatch.errors import ObjectChanged, ObjectNotFound, OutsideLocation

pytestmark = pytest.mark.anyio

PATHS = ("local", "fake")
"""The places whose keys are paths below a folder."""

ODD_KEYS = [
    "a+b.mp4", "a b.mp4", "%2F.mp4", "a%20b.mp4", "#1.mp4", "what?.mp4", "caf\u00e9.mp4", "cafe\u0301.mp4",
    "\U0001f3ac.mp4", "back\\slash.mp4", "quote'\".mp4", "new\nline.mp4", "&amp;.mp4", "UPPER.MP4", "a..b.mp4",
    " a", "a ", "a.", "+", "%", "%zz", "a%00b", "?x=1#y", "a=b&c=d", "a;b", "a:b", "<a>", "]]>", "{}", "`^[]|*~",
    "tab\t", "return\r", "\x01", "\x1f", "\x7f", "\x85", "\u2028", "\ufeff", "\uffff", "\U0010ffff",
]  # fmt: skip
CLOUD_KEYS = [
    "a//b", "a//", "/lead", "//lead", "/", "//", ".", "..", "./a", "a/.", "a/./b", "a/../b", "../a", "a/..", "...",
    "k" * 1024, "\u00e9" * 512, "\U0001f3ac" * 256, "d/" * 511 + "k", "nul\0",
]  # fmt: skip
"""Keys that no local file has."""

HOSTILE_KEYS = ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/.", "a/..", "/"]


# Listing


async def test_an_empty_location_lists_nothing(place: Place) -> None:
    assert await look(place) == {}
    assert await look(place, "nowhere/", recursive=False) == {}


@everywhere
async def test_a_listing_says_what_stat_says(place: Place) -> None:
    await place.put("in/a.mp4", b"four")
    obj = (await look(place))["in/a.mp4"]
    assert obj == await place.storage.stat("in/a.mp4")
    assert obj == (await look(place, "in/a.mp4"))["in/a.mp4"]
    assert obj == (await look(place, "in/", recursive=False))["in/a.mp4"]
    assert obj.size_bytes == 4
    assert obj.changed_at >= obj.modified_at > 0
    assert not obj.archived


@everywhere
async def test_what_has_the_name_of_a_file_is_found_by_the_start_of_its_name(place: Place) -> None:
    beside = {"in/clip.mp4", "in/clip.en.vtt", "in/clip.mp4.SRT"}
    others = {"in/clip2.srt", "in/clip/x.srt", "clip.srt", "in/Clip.srt"}
    await place.put_all(dict.fromkeys(beside | others, b"x"))
    assert set(await look(place, "in/clip.", recursive=False)) == beside


@everywhere
async def test_a_prefix_is_the_start_of_a_key(place: Place) -> None:
    await place.put_all(dict.fromkeys(("a.mp4", "in/b.mp4", "in/deep/c.mp4", "inbox/d.mp4"), b"x"))
    expected = {
        ("", True): {"a.mp4", "in/b.mp4", "in/deep/c.mp4", "inbox/d.mp4"},
        ("", False): {"a.mp4"},
        ("in/", True): {"in/b.mp4", "in/deep/c.mp4"},
        ("in/", False): {"in/b.mp4"},
        ("in", True): {"in/b.mp4", "in/deep/c.mp4", "inbox/d.mp4"},
        ("in", False): set(),
        ("in/de", True): {"in/deep/c.mp4"},
        ("in/b", False): {"in/b.mp4"},
        ("in/b.mp4", True): {"in/b.mp4"},
        ("in/b.mp4", False): {"in/b.mp4"},
        ("nowhere/", True): set(),
        ("in/b.mp4/", True): set(),
    }
    found = {
        (prefix, recursive): set(await look(place, prefix, recursive=recursive))
        for prefix, recursive in expected
    }
    assert found == expected


async def test_keys_up_to_a_key_are_left_out_where_the_store_can(cloud: Cloud) -> None:
    await cloud.put_all(dict.fromkeys(("a", "b", "b/c", "c"), b"x"))
    found = [
        obj.key async for page in cloud.storage.list("", recursive=True, after="b") for obj in page.objects
    ]
    before = [] if cloud.storage.capabilities.start_after else ["a", "b"]
    assert found == [*before, "b/c", "c"] or (found == ["c"] and not cloud.start_after_is_exact)


async def test_every_object_is_listed_in_pages_of_at_most_1000_entries(place: Place) -> None:
    expected = {f"d{number % 7}/{number}.mp4" for number in range(1_010)}
    await place.put_all(dict.fromkeys(expected, b""))
    pages = [page async for page in place.storage.list("", recursive=True)]
    assert max(len(page.objects) + len(page.irregular) for page in pages) <= 1_000
    keys = [obj.key for page in pages for obj in page.objects]
    assert sorted(keys) == sorted(expected)
    for _ in range(3):  # pages that come again are known
        assert set(await look(place)) == expected
    await place.put("d1/1.mp4", b"changed")
    await place.remove("d2/2.mp4")
    after = await look(place)
    assert after["d1/1.mp4"].size_bytes == len(b"changed")
    assert set(after) == expected - {"d2/2.mp4"}


async def test_list_mutating_what_stands_the_whole_time_is_listed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.shrink_pages(monkeypatch)
    many = range(place.page_objects * 2)
    standing = {f"{number:05}-standing" for number in many}
    await place.put_all(dict.fromkeys(standing | {f"{number:05}-vanishing" for number in many[::10]}, b"x"))
    listing = place.storage.list("", recursive=True)
    pages = [await anext(listing)]
    for number in many[::10]:
        await place.remove(f"{number:05}-vanishing")
        await place.put(f"{number:05}-appearing", b"x")
    pages += [page async for page in listing]
    found = [obj.key for page in pages for obj in page.objects if obj.key.endswith("standing")]
    assert sorted(found) == sorted(standing)
    assert len(pages) > 2


@in_providers
async def test_zero_byte_marker_is_listed_as_it_is(cloud: Cloud) -> None:
    await cloud.put_all({"in/": b"", "in/a.mp4": b"x", "in/deep/": b""})
    assert {key: obj.size_bytes for key, obj in (await look(cloud)).items()} == {
        "in/": 0,
        "in/a.mp4": 1,
        "in/deep/": 0,
    }
    assert set(await look(cloud, "in/", recursive=False)) == {"in/", "in/a.mp4"}
    assert set(await look(cloud, "", recursive=False)) == set()
    assert (await cloud.storage.stat("in/")).size_bytes == 0


@in_providers
async def test_the_clock_of_the_service_is_heard(cloud: Cloud) -> None:
    cloud.storage.clock_ahead_seconds = 3600
    await look(cloud)
    assert abs(cloud.storage.clock_ahead_seconds) < 10


# Keys


def keys_for(place: Place) -> list[str]:
    keys = ODD_KEYS + CLOUD_KEYS * isinstance(place, Cloud)
    return [key for key in keys if not place.cannot_hold(key)]


@everywhere
async def test_nfd_nfc_pair_and_other_odd_keys_go_round_unchanged(place: Place) -> None:
    content = {key: ascii(key).encode() for key in keys_for(place)}
    await place.put_all(content)
    pages = [page async for page in place.storage.list("", recursive=True)]
    found = {obj.key: obj for page in pages for obj in page.objects}
    irregular = {each.key for page in pages for each in page.irregular}
    assert set(found) <= set(content)
    assert {printable(key) for key in content.keys() - found.keys()} == irregular
    assert {key: await place.storage.stat(key) for key in found} == found
    assert await place.storage.stat_each(list(found)) == list(found.values())
    assert {key: await read(place, obj) for key, obj in found.items()} == {key: content[key] for key in found}
    assert len({place.storage.uri(key) for key in found}) == len(found)


def printable(key: str) -> str:
    return key.replace("\0", "\\x00")


async def test_an_odd_key_is_a_prefix_like_any_other(place: Place) -> None:
    odd = [key for key in keys_for(place) if not place.cannot_hold(f"{key}/x") and len(key) < 200]
    odd = [key for key in odd if set(key.split("/")).isdisjoint(("", ".", "..")) and "\0" not in key]
    await place.put_all({f"in {key}/{key}": b"x" for key in odd})
    for key in odd:
        for prefix in (f"in {key}/", f"in {key}/{key}"):
            assert set(await look(place, prefix, recursive=False)) == {f"in {key}/{key}"}


async def test_odd_keys_are_written_and_deleted(place: Place, tmp_path: Path) -> None:
    for key in keys_for(place)[::4]:
        try:
            written = await place.storage.write(key, source(tmp_path, b"x"), content_type="x/y")
        except OutsideLocation:
            assert isinstance(place, Cloud)
            continue
        assert (await look(place, key)).keys() == {key}
        await place.storage.delete(key, written.version)
    assert await look(place) == {}


@pytest.mark.parametrize("place", PATHS, indirect=True)
@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_no_key_leads_outside(place: Place, key: str, tmp_path: Path) -> None:
    with pytest.raises(OutsideLocation):
        await place.storage.stat(key)
    await place.put("there.mp4", b"1")
    odd, there, missing = await place.storage.stat_each([key, "there.mp4", "missing.mp4"])
    assert isinstance(odd, OutsideLocation)
    assert there == await place.storage.stat("there.mp4")
    assert isinstance(missing, ObjectNotFound)
    with pytest.raises(OutsideLocation):
        async with place.storage.descriptor(key, "1"):
            pass
    with pytest.raises(OutsideLocation):
        await place.storage.write(key, source(tmp_path, b"x"), content_type="text/plain")


@pytest.mark.parametrize("place", PATHS, indirect=True)
@pytest.mark.parametrize("prefix", ["..", "../", "a/../../", "/", "/etc/"])
async def test_no_prefix_leads_outside(place: Place, prefix: str) -> None:
    with pytest.raises(OutsideLocation):
        await look(place, prefix)


@in_providers
async def test_a_key_that_no_object_has_is_not_found_and_not_written(cloud: Cloud, tmp_path: Path) -> None:
    for key in ("", "nul\0", "\udcff", "k" * 5000):
        with pytest.raises(ObjectNotFound):
            await cloud.storage.stat(key)
        for open_object in (cloud.storage.descriptor, cloud.storage.excerpt):
            with pytest.raises(ObjectNotFound):
                async with open_object(key, "1"):
                    pass
        with pytest.raises(OutsideLocation):
            await cloud.storage.write(key, source(tmp_path, b"x"), content_type="text/plain")
    assert await look(cloud) == {}


@everywhere
async def test_an_absent_object_is_not_found(place: Place) -> None:
    await place.put("a.mp4", b"x")
    version = (await place.storage.stat("a.mp4")).version
    for key in ("b.mp4", "a.mp4/b.mp4", "no/a.mp4", "n" * 300):
        with pytest.raises(ObjectNotFound):
            await place.storage.stat(key)
        for open_object in (place.storage.descriptor, place.storage.excerpt):
            with pytest.raises(ObjectNotFound):
                async with open_object(key, version):
                    pass


# Versions


@everywhere
async def test_overwrite_while_processing_is_another_version(place: Place) -> None:
    await place.put("a.mp4", b"first")
    before = await place.storage.stat("a.mp4")
    async with place.storage.descriptor(before.key, before.version) as fd:
        await place.put("a.mp4", b"other")
        assert os.pread(fd, 100, 0) == b"first"
    after = await place.storage.stat("a.mp4")
    assert after.version != before.version
    for open_object in (place.storage.descriptor, place.storage.excerpt):
        with pytest.raises(ObjectChanged):
            async with open_object(before.key, before.version):
                pass
    assert await read(place, after) == b"other"


@everywhere
async def test_reupload_same_bytes_is_the_same_version_where_bytes_make_the_version(place: Place) -> None:
    await place.put("a.mp4", b"same")
    before = await place.storage.stat("a.mp4")
    await place.put("a.mp4", b"same")
    after = (await look(place))["a.mp4"]
    assert (after.version == before.version) == place.same_bytes_same_version
    assert await read(place, after) == b"same"


@everywhere
async def test_delete_recreate_same_bytes_is_found_again(place: Place) -> None:
    await place.put("a.mp4", b"same")
    await place.remove("a.mp4")
    assert await look(place) == {}
    await place.put("a.mp4", b"same")
    assert await read(place, (await look(place))["a.mp4"]) == b"same"


# The location itself


@everywhere
async def test_a_good_location_passes_its_check_and_the_check_leaves_nothing(place: Place) -> None:
    await place.storage.check(read=True, write_below="")
    await place.storage.check(read=True, write_below=None)
    assert await look(place) == {}
    await place.put("in/a.mp4", b"x")
    await place.storage.check(read=True, write_below="in/out")
    assert set(await look(place)) == {"in/a.mp4"}


async def test_nobody_uses_or_restores_what_is_closed_or_gone(place: Place) -> None:
    await place.put("a.mp4", b"x")
    assert set(await place.storage.in_use(["a.mp4", "gone.mp4"])) == set()
    assert set(await place.storage.restored(["gone.mp4"])) == set()


@in_providers
async def test_a_storage_that_was_never_used_closes(cloud: Cloud) -> None:
    await cloud.over(cloud.address).aclose()


# What people stored with an object


@pytest.mark.parametrize("place", [*PATHS, *PROVIDERS], indirect=True)
async def test_what_people_stored_with_an_object_is_read(place: Place) -> None:
    """Tags where the service has them; names of metadata may come in lower case."""
    await place.put("clip.mp4", b"described")
    await place.describe(
        "clip.mp4", {"show": "Harbour & <b>", "episode": "12"}, {"camera": "A", "shot by": "x + y"}
    )
    there = await place.storage.stat("clip.mp4")
    known = await place.storage.facts("clip.mp4", there.version)
    assert dict(known.metadata) == {"show": "Harbour & <b>", "episode": "12"}
    assert known.warnings == ()
    assert dict(known.tags) in ({}, {"camera": "A", "shot by": "x + y"})
    has_tags = type(place).__name__ in ("S3Place", "AzurePlace", "FakePlace")
    assert bool(known.tags) is has_tags


@pytest.mark.parametrize("place", [*PATHS, *PROVIDERS], indirect=True)
async def test_an_object_may_have_nothing_stored_with_it(place: Place) -> None:
    await place.put("plain.mp4", b"plain")
    there = await place.storage.stat("plain.mp4")
    known = await place.storage.facts("plain.mp4", there.version)
    assert (dict(known.metadata), dict(known.tags)) == ({}, {})
    with pytest.raises(ObjectNotFound):
        await place.storage.facts("absent.mp4", there.version)
