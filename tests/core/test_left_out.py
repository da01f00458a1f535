"""What a filter leaves alone on purpose: folders that systems keep for themselves, excluded names, and sizes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.filters import ObjectFilter, Reason, check_exclude, check_rules
from vvwatch.core.objects import StorageObject
from vvwatch.errors import InvalidInput


def obj(key: str, size: int = 10) -> StorageObject:
    return StorageObject(key, "v", size, 0.0, 0.0)


@pytest.mark.parametrize(
    "key",
    [
        "@eaDir/clip.jpg/SYNOPHOTO_THUMB_XL.jpg",
        "shoot/@eaDir/clip.mp4/SYNO.mp4",
        "#recycle/clip.mp4",
        "#Recycle/clip.mp4",
        "#snapshot/GMT-2026/clip.mp4",
        "@Recycle/clip.mp4",
        "@Recently-Snapshot/1/clip.mp4",
        "$RECYCLE.BIN/S-1-5-21/clip.mp4",
        "$Recycle.bin/clip.mp4",
        "RECYCLER/clip.mp4",
        ".Trash-1000/files/clip.mp4",
        ".Trashes/501/clip.mp4",
        "lost+found/#123.mp4",
        "System Volume Information/clip.mp4",
        "~snapshot/hourly/clip.mp4",
        ".snapshot/hourly/clip.mp4",
        ".zfs/snapshot/x/clip.mp4",
        "@tmp/clip.mp4",
        "@sharebin/clip.mp4",
        "in/.@__thumb/clip.jpg",
        ".AppleDouble/clip.mp4",
        ".stversions/clip.mp4",
        "in/Thumbs.db",
        "desktop.ini",
    ],
)
def test_what_a_nas_or_a_desktop_keeps_for_itself_is_no_media(key: str) -> None:
    assert ObjectFilter("", "*", True).verdict(obj(key)).reason is Reason.HOUSEKEEPING


@pytest.mark.parametrize(
    "key",
    [
        "recycled/clip.mp4",  # an ordinary word
        "Recycler/clip.mp4",
        "trash/clip.mp4",
        "snapshot/clip.mp4",
        "LOST+FOUND film/clip.mp4",
        "@eaDirector/clip.mp4",
        "eaDir/clip.mp4",
        "in/#recycle.mp4",
        "in/@eaDir",
        "in/lost+found.mp4",
    ],
)
def test_names_that_only_look_so_are_not(key: str) -> None:
    assert ObjectFilter("", "*", True).verdict(obj(key)).reason is not Reason.HOUSEKEEPING


@pytest.mark.parametrize(
    ("prefix", "key", "accepted"),
    [
        ("#recycle/", "#recycle/clip.mp4", True),
        ("#recycle", "#recycle/clip.mp4", True),
        ("#rec", "#recycle/clip.mp4", True),
        ("in/#recycle/", "in/#recycle/clip.mp4", True),
        ("in/#recycle/x", "in/#recycle/x/clip.mp4", True),
        ("", "#recycle/clip.mp4", False),
        ("in/", "in/#recycle/clip.mp4", False),
        ("in", "in/#recycle/clip.mp4", False),
        ("#recycle/", "#recycle/@eaDir/clip.mp4", False),
    ],
)
def test_what_the_prefix_spells_out_was_asked_for(prefix: str, key: str, accepted: bool) -> None:
    assert ObjectFilter(prefix, "*", True).verdict(obj(key)).accepted is accepted


@pytest.mark.parametrize(
    ("exclude", "key", "excluded"),
    [
        (["*_proxy.mp4"], "deep/a_proxy.mp4", True),
        (["*_proxy.mp4"], "deep/a_proxy.mov", False),
        (["proxies/**"], "proxies/a.mp4", True),
        (["proxies/**"], "proxies/deep/a.mp4", True),
        (["proxies/**"], "shoot/proxies/a.mp4", False),
        (["**/proxies/**"], "shoot/proxies/a.mp4", True),
        (["**/proxies/**"], "proxies/a.mp4", True),
        (["proxies"], "proxies/a.mp4", False),
        (["*.{jpg,png}"], "a.PNG", True),
        (["a.mp4", "b.mp4"], "b.mp4", True),
        ([], "a.mp4", False),
    ],
)
def test_what_is_excluded_is_left_alone(exclude: list[str], key: str, excluded: bool) -> None:
    verdict = ObjectFilter("in/", "*", True, exclude).verdict(obj(f"in/{key}"))
    assert verdict.reason is (Reason.EXCLUDED if excluded else Reason.ACCEPTED)
    assert not excluded or verdict.detail in exclude


@pytest.mark.parametrize(
    ("least", "most", "size", "expected"),
    [
        (None, None, 1, Reason.ACCEPTED),
        (10, None, 9, Reason.TOO_SMALL),
        (10, None, 10, Reason.ACCEPTED),
        (None, 10, 10, Reason.ACCEPTED),
        (None, 10, 11, Reason.TOO_LARGE),
        (10, 10, 10, Reason.ACCEPTED),
        (10, None, 0, Reason.ZERO_BYTE),
    ],
)
def test_bounds_of_the_size_are_wanted_themselves(
    least: int | None, most: int | None, size: int, expected: Reason
) -> None:
    rules = ObjectFilter("", "*", True, (), least, most)
    assert rules.verdict(obj("a.mp4", size)).reason is expected
    assert rules.wants(obj("a.mp4", size)) is (expected in (Reason.ACCEPTED, Reason.ZERO_BYTE) and size > 0)


def test_the_rules_of_a_row_are_those_of_its_columns() -> None:
    row = SimpleNamespace(
        source_prefix="in/",
        file_pattern="*.mp4",
        recursive=True,
        exclude_patterns=["x*"],
        min_size_bytes=2,
        max_size_bytes=None,
    )
    rules = ObjectFilter.of(row)
    assert [rules.verdict(obj(f"in/{name}", size)).reason for name, size in (("a.mp4", 2), ("a.mp4", 1))] == [
        Reason.ACCEPTED,
        Reason.TOO_SMALL,
    ]
    assert rules.verdict(obj("in/x.mp4")).reason is Reason.EXCLUDED


@pytest.mark.parametrize(
    ("prefix", "exclude", "folder", "skipped"),
    [
        ("", ["proxies/**"], "proxies", True),
        ("", ["proxies/**"], "proxies/deep", True),
        ("", ["proxies/**"], "shoot", False),
        ("", ["proxies/*"], "proxies", False),
        ("", ["proxies/**/*.mp4"], "proxies", False),
        ("", ["**/cache/**"], "a/b/cache", True),
        ("", ["{a,b}/**"], "b", True),
        ("", ["**"], "a", False),
        ("in/", ["proxies/**"], "in/proxies", True),
        ("in/", ["proxies/**"], "proxies", False),
        ("in/", ["**/**"], "in", False),
        ("", [], "proxies", False),
    ],
)
def test_an_excluded_folder_need_not_be_listed(
    prefix: str, exclude: list[str], folder: str, skipped: bool
) -> None:
    assert ObjectFilter(prefix, "*", True, exclude).skips(folder) is skipped


PATHS = st.lists(st.sampled_from(["a", "b", "c.mp4"]), min_size=1, max_size=4).map("/".join)
GLOBS = st.lists(st.sampled_from(["a", "b", "*", "**", "[ab]"]), min_size=1, max_size=4).map("/".join)


@given(st.lists(GLOBS, max_size=3), PATHS, PATHS)
def test_nothing_is_lost_in_a_folder_that_is_skipped(exclude: list[str], folder: str, below: str) -> None:
    rules = ObjectFilter("", "*", True, exclude)
    if rules.skips(folder):
        assert not rules.name_verdict(f"{folder}/{below}.mp4").accepted


@pytest.mark.parametrize(
    ("key", "relevant"),
    [
        ("private", True),
        ("lost+found", False),
        ("deep/@eaDir", False),
        ("proxies", False),
        ("proxies/deep", False),
        ("", True),
        ("a.mp4", True),
    ],
)
def test_a_closed_folder_is_relevant_unless_it_is_left_out_anyway(key: str, relevant: bool) -> None:
    rules = ObjectFilter("", "*", True, ["proxies/**"])
    assert rules.is_relevant(key, Reason.PERMISSION_DENIED) is relevant


def test_a_folder_with_a_slash_at_its_end_is_told_how_it_is_written() -> None:
    with pytest.raises(InvalidInput, match="ends with a slash") as caught:
        check_exclude("proxies/")
    assert "'proxies/**'" in caught.value.hint
    assert "'**/proxies/**'" in caught.value.hint


def test_bounds_that_leave_nothing_are_refused() -> None:
    row = {"file_pattern": "*", "exclude_patterns": None, "min_size_bytes": 5, "max_size_bytes": 4}
    with pytest.raises(InvalidInput, match="no object can match"):
        check_rules(row)
    check_rules({**row, "max_size_bytes": 5})
    with pytest.raises(InvalidInput):
        check_rules({**row, "max_size_bytes": None, "exclude_patterns": ["["]})
