from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.known_pages import (
    LEAST_OBJECTS,
    KnownPage,
    PageFacts,
    PageMemory,
    digest_pairs,
    find_last_key,
)
from vvwatch.core.objects import StorageObject


def make_objects(count: int = LEAST_OBJECTS, version: str = "v") -> list[StorageObject]:
    return [StorageObject(f"in/{number:06}.mp4", version, 1, 0.0, 0.0) for number in range(count)]


def see(memory: PageMemory, rows: bytes, objects: Sequence[StorageObject]) -> PageFacts | None:
    """Look at a page and parse it unless it is known, as a listing does."""
    glance = memory.look(rows)
    if glance.facts is None:
        memory.note(glance, objects)
    return glance.facts


def test_a_page_is_known_from_its_third_sight_on() -> None:
    memory, objects = PageMemory(), make_objects()
    assert [see(memory, b"rows", objects) for _ in range(2)] == [None, None]
    facts = see(memory, b"rows", objects)
    assert facts is not None
    assert facts[:3] == (LEAST_OBJECTS, objects[0].key, objects[-1].key)
    assert facts.digest == digest_pairs([(obj.key, obj.version) for obj in objects])


@given(st.binary(min_size=1, max_size=2_000), st.data())
def test_a_page_of_which_one_byte_changed_is_not_known(rows: bytes, data: st.DataObject) -> None:
    memory = PageMemory()
    for _ in range(3):
        see(memory, rows, make_objects())
    place = data.draw(st.integers(0, len(rows) - 1))
    changed = rows[:place] + bytes([rows[place] ^ data.draw(st.integers(1, 255))]) + rows[place + 1 :]
    assert see(memory, changed, make_objects(version="w")) is None
    after = [see(memory, changed, make_objects(version="w")) for _ in range(2)][-1]
    assert after is not None
    assert after.digest == digest_pairs(obj[:2] for obj in make_objects(version="w"))


@pytest.mark.parametrize(
    "objects",
    [
        make_objects(LEAST_OBJECTS - 1),
        [*make_objects(), StorageObject("in/folder/", "v", 7, 0.0, 0.0)],
    ],
    ids=["small", "folder"],
)
def test_small_pages_and_those_with_folder_markers_are_parsed_each_time(objects: list[StorageObject]) -> None:
    memory = PageMemory()
    assert [see(memory, b"rows", objects) for _ in range(4)] == [None] * 4


def test_the_pages_that_were_not_seen_for_longest_are_forgotten() -> None:
    memory, objects = PageMemory(most=2), make_objects()
    for rows in (b"one", b"two", b"one", b"two", b"one", b"three"):
        see(memory, rows, objects)
    assert see(memory, b"one", objects)
    assert see(memory, b"two", objects) is None


def test_a_known_page_is_parsed_once_and_only_when_somebody_looks() -> None:
    objects = make_objects()
    calls: list[int] = []

    def parse() -> list[StorageObject]:
        calls.append(1)
        return objects

    page = KnownPage(PageFacts(len(objects), objects[0].key, objects[-1].key, b""), parse)
    assert (len(page), bool(page), find_last_key(page), find_last_key(objects)) == (
        LEAST_OBJECTS,
        True,
        objects[-1].key,
        objects[-1].key,
    )
    assert calls == []
    assert list(page) == objects
    assert (page[0], page[-1], page[1:3]) == (objects[0], objects[-1], objects[1:3])
    assert calls == [1]


TEXTS = st.text(st.characters(exclude_characters="\0"), max_size=3)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), max_size=4)


@given(PAIRS, PAIRS)
def test_only_equal_pairs_have_equal_digests(
    some: list[tuple[str, str]], others: list[tuple[str, str]]
) -> None:
    if some and others:  # an empty page is never known
        assert (digest_pairs(some) == digest_pairs(others)) == (some == others)
