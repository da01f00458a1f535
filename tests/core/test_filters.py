from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.filters import WORTH_KNOWING, ObjectFilter, Reason, check_pattern, explain_reason
from vvwatch.core.objects import StorageObject
from vvwatch.errors import InvalidInput


def reason(
    key: str, *, prefix: str = "", pattern: str = "*", recursive: bool = True, size: int = 1
) -> Reason:
    verdict = ObjectFilter(prefix, pattern, recursive).verdict(StorageObject(key, "v", size, 0.0, 0.0))
    assert verdict.accepted is (verdict.reason is Reason.ACCEPTED)
    return verdict.reason


@pytest.mark.parametrize(
    ("prefix", "key", "expected"),
    [
        ("", "a.mp4", Reason.ACCEPTED),
        ("in/", "in/a.mp4", Reason.ACCEPTED),
        ("in/", "in/b/a.mp4", Reason.ACCEPTED),
        ("in", "in/a.mp4", Reason.ACCEPTED),
        ("in", "incoming.mp4", Reason.ACCEPTED),
        ("in/a.mp4", "in/a.mp4", Reason.ACCEPTED),
        ("in/", "out/a.mp4", Reason.OUTSIDE_PREFIX),
        ("in/", "In/a.mp4", Reason.OUTSIDE_PREFIX),
        ("in/", "in.mp4", Reason.OUTSIDE_PREFIX),
        ("", "/a.mp4", Reason.ACCEPTED),
        ("", "a//b.mp4", Reason.ACCEPTED),
    ],
)
def test_a_prefix_is_the_plain_beginning_of_a_key(prefix: str, key: str, expected: Reason) -> None:
    assert reason(key, prefix=prefix) is expected


@pytest.mark.parametrize(
    ("prefix", "key", "direct"),
    [
        ("", "a.mp4", True),
        ("", "in/a.mp4", False),
        ("in/", "in/a.mp4", True),
        ("in", "in/a.mp4", True),
        ("in", "in-old.mp4", True),
        ("in", "in-old/a.mp4", False),
        ("in/", "in/b/a.mp4", False),
        ("in/", "in//a.mp4", False),
        ("in/a.mp4", "in/a.mp4", True),
        ("", "/a.mp4", True),
    ],
)
def test_without_recursion_only_direct_children_count(prefix: str, key: str, direct: bool) -> None:
    expected = Reason.ACCEPTED if direct else Reason.NOT_DIRECT_CHILD
    assert reason(key, prefix=prefix, recursive=False) is expected


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.mp4",
        "clip.mp4~",
        "clip.mp4.part",
        "clip.mp4.PART",
        "clip.mp4.partial",
        "clip.mp4.crdownload",
        "clip.tmp",
        "clip.mp4.filepart",
        "clip.mp4.!qB",
        ".syncthing.clip.mp4.tmp",
        "~$clip.mp4",
        ".clip.mp4.AbC123",
        ".rsync-partial/clip.mp4",
        ".git/clip.mp4",
        "day/.cache/clip.mp4",
    ],
)
def test_temporary_and_hidden_names_are_left_alone(name: str) -> None:
    assert reason(f"in/{name}", prefix="in/") is Reason.TEMPORARY_NAME
    assert reason(name) is Reason.TEMPORARY_NAME


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        (".staging/", ".staging/a.mp4"),
        (".sta", ".staging/a.mp4"),
        ("in", "in.old/a.mp4"),
        ("a/.b.mp4", "a/.b.mp4"),
    ],
)
def test_what_the_prefix_spells_out_is_not_hidden(prefix: str, key: str) -> None:
    assert reason(key, prefix=prefix) is Reason.ACCEPTED


def test_rename_into_place() -> None:
    assert reason("in/.clip.mp4.x7Qb2K") is Reason.TEMPORARY_NAME
    assert reason("in/clip.mp4.part") is Reason.TEMPORARY_NAME
    assert reason("in/clip.mp4") is Reason.ACCEPTED
    assert "renamed" in explain_reason(Reason.TEMPORARY_NAME)


def test_zero_byte_marker() -> None:
    assert reason("in/", size=0) is Reason.FOLDER_MARKER
    assert reason("in/day/", size=0) is Reason.FOLDER_MARKER
    assert reason("", size=0) is Reason.FOLDER_MARKER
    assert reason("in/clip.mp4", size=0) is Reason.ZERO_BYTE
    assert Reason.ZERO_BYTE in WORTH_KNOWING
    assert Reason.FOLDER_MARKER not in WORTH_KNOWING


def test_nfd_nfc_pair() -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.mp4") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert reason(composed, pattern=composed) is Reason.ACCEPTED
    assert reason(decomposed, pattern=composed) is Reason.PATTERN_MISMATCH
    assert reason(f"{decomposed}", prefix=composed[0]) is Reason.OUTSIDE_PREFIX
    assert reason(decomposed) is Reason.ACCEPTED


@pytest.mark.parametrize(
    ("prefix", "pattern", "key", "matches"),
    [
        ("in/", "*.mp4", "in/b/a.mp4", True),
        ("in/", "b/*.mp4", "in/b/a.mp4", True),
        ("in", "b/*.mp4", "in/b/a.mp4", True),
        ("in/", "in/b/*.mp4", "in/b/a.mp4", False),
        ("in/a.mp4", "*.mp4", "in/a.mp4", True),
        ("in/a.mp4", "**/*.mp4", "in/a.mp4", True),
    ],
)
def test_a_pattern_is_relative_to_the_prefix(prefix: str, pattern: str, key: str, matches: bool) -> None:
    expected = Reason.ACCEPTED if matches else Reason.PATTERN_MISMATCH
    assert reason(key, prefix=prefix, pattern=pattern) is expected


@pytest.mark.parametrize(
    ("key", "size", "expected"),
    [
        ("out/.x/", 0, Reason.FOLDER_MARKER),
        ("out/b/.x.txt", 0, Reason.OUTSIDE_PREFIX),
        ("in/b/.x.txt", 0, Reason.NOT_DIRECT_CHILD),
        ("in/.x.txt", 0, Reason.TEMPORARY_NAME),
        ("in/b.txt", 0, Reason.PATTERN_MISMATCH),
        ("in/x.txt", 0, Reason.UNSUPPORTED_MEDIA_TYPE),
        ("in/x\udcff.mp4", 0, Reason.UNDECODABLE_NAME),
        ("in/x.mp4", 0, Reason.ZERO_BYTE),
        ("in/x.mp4", 1, Reason.ACCEPTED),
    ],
)
def test_the_first_rule_that_rejects_gives_the_reason(key: str, size: int, expected: Reason) -> None:
    assert reason(key, prefix="in/", pattern="x*", recursive=False, size=size) is expected


def test_a_verdict_on_a_name_needs_no_size() -> None:
    wanted = ObjectFilter("in/", "*.mp4", True)
    assert wanted.name_verdict("in/a.mp4").accepted
    assert wanted.name_verdict("in/a.mov").detail == "*.mp4"
    assert ObjectFilter("", "*", True).name_verdict("a.doc").detail == "doc"


@pytest.mark.parametrize("name", ["a.MP4", "a.m4v", "a.Flac", "a.jpeg", "a.HEIC", "two.dots.webm"])
def test_the_supported_formats_are_known_in_either_case(name: str) -> None:
    assert reason(name) is Reason.ACCEPTED


@pytest.mark.parametrize("name", ["notes.txt", "mp4", "a.mp4.txt", "no-extension", "a.", "a.json"])
def test_other_formats_are_left_alone(name: str) -> None:
    assert reason(name) is Reason.UNSUPPORTED_MEDIA_TYPE


def test_each_reason_has_a_sentence_of_its_own() -> None:
    sentences = [explain_reason(each) for each in Reason]
    assert all(sentences)
    assert len(set(sentences)) == len(Reason)


def test_only_what_a_person_would_want_to_hear_is_worth_knowing() -> None:
    assert {str(each) for each in WORTH_KNOWING} == {
        "zero_byte",
        "unsupported_media_type",
        "undecodable_name",
        "not_a_regular_file",
        "permission_denied",
        "archived",
        "unusable_key",
        "key_too_long",
        "incomplete_entry",
        "folder_with_content",
    }


def test_an_unusable_pattern_is_refused_when_the_filter_is_made() -> None:
    with pytest.raises(InvalidInput):
        ObjectFilter("", "[", True)
    with pytest.raises(InvalidInput):
        check_pattern("[")


KEYS = st.text(st.sampled_from("ab./~é"), max_size=12)


@given(KEYS, KEYS, st.booleans())
def test_no_key_is_picked_up_from_outside_its_prefix(prefix: str, key: str, recursive: bool) -> None:
    verdict = ObjectFilter(prefix, "*", recursive).name_verdict(f"{key}.mp4")
    assert not verdict.accepted or f"{key}.mp4".startswith(prefix)


@given(KEYS, KEYS)
def test_recursion_only_ever_adds(prefix: str, key: str) -> None:
    flat = ObjectFilter(prefix, "*", False).name_verdict(f"{key}.mp4")
    deep = ObjectFilter(prefix, "*", True).name_verdict(f"{key}.mp4")
    assert deep.accepted or not flat.accepted
