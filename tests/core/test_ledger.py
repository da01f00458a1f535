from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.ledger import diff_listing
from vvwatch.core.objects import StorageObject


def obj(key: str, version: str = "v1", *, modified_at: float = 0.0) -> StorageObject:
    return StorageObject(key, version, 1, modified_at, modified_at)


def keys(objects: list[StorageObject]) -> list[str]:
    return [each.key for each in objects]


def test_new_changed_and_known_objects_are_told_apart() -> None:
    found = diff_listing([obj("a"), obj("b", "v2"), obj("c")], {("b", "v1"), ("c", "v1")})
    assert keys(found.created) == ["a"]
    assert keys(found.modified) == ["b"]
    assert found.known == 1


def test_late_smaller_key_is_found() -> None:
    recorded = {("m/5.mp4", "v1"), ("m/9.mp4", "v1")}
    found = diff_listing([obj("m/1.mp4"), obj("m/5.mp4"), obj("m/9.mp4")], recorded)
    assert keys(found.created) == ["m/1.mp4"]


def test_1000_objects_one_second() -> None:
    listed = [obj(f"{n}.mp4", f"v{n}", modified_at=1_700_000_000.0) for n in range(1_000)]
    recorded = {(each.key, each.version) for each in listed[::2]}
    found = diff_listing(listed, recorded)
    assert found.created == listed[1::2]
    assert found.known == 500


def test_old_lastmodified_new_object() -> None:
    found = diff_listing(
        [obj("new.mp4", modified_at=1_700_000_000.0), obj("late.mp4", modified_at=1.0)], {("new.mp4", "v1")}
    )
    assert keys(found.created) == ["late.mp4"]


def test_nfd_nfc_pair() -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.mp4") for form in ("NFC", "NFD"))
    assert keys(diff_listing([obj(decomposed)], {(composed, "v1")}).created) == [decomposed]


def test_a_key_listed_twice_counts_once_with_its_last_version() -> None:
    found = diff_listing([obj("a", "v1"), obj("b"), obj("a", "v2"), obj("b")], {("b", "v1")})
    assert found.created == [obj("a", "v2")]
    assert found.known == 1
    assert diff_listing([obj("b"), obj("b")], {("b", "v1")}).known == 1
    assert diff_listing([obj("b", "v9"), obj("b")], {("b", "v1")}).created == []


def test_an_empty_listing_says_nothing_of_what_is_recorded() -> None:
    found = diff_listing([], {("a", "v1")})
    assert (found.created, found.modified, found.known) == ([], [], 0)


PAIRS = st.tuples(st.sampled_from("abcd"), st.sampled_from("123"))


@given(st.lists(PAIRS, max_size=12), st.lists(PAIRS, max_size=12))
def test_the_diff_is_what_a_slow_look_finds(
    listed: list[tuple[str, str]], recorded: list[tuple[str, str]]
) -> None:
    latest = dict(listed)
    found = diff_listing([obj(*pair) for pair in listed], recorded)
    new = {pair for pair in latest.items() if pair not in recorded}
    known_keys = {key for key, _ in recorded}
    assert {each[:2] for each in found.created} == {pair for pair in new if pair[0] not in known_keys}
    assert {each[:2] for each in found.modified} == {pair for pair in new if pair[0] in known_keys}
    assert found.known == len(latest) - len(new)
    assert len(found.created) + len(found.modified) == len(new)
