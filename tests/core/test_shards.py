from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.shards import Course, group_folders, split_prefixes

HUNDRED = [f"in/{number:02}/" for number in range(100)]
NAMES = st.lists(st.text("ab/é🎬", max_size=6), max_size=30)


@pytest.mark.parametrize(
    ("folders", "most", "expected"),
    [
        ([], 4, []),
        (["a/"], 4, ["a/"]),
        (["a/", "b/"], 2, ["a/", "b/"]),
        (["a/", "b/"], 1, [""]),
        (["in/a/", "in/b/"], 1, ["in/"]),
        (["in/a/", "in/b/", "in/b/"], 9, ["in/a/", "in/b/"]),
        (["x10/", "x11/", "x20/", "y/"], 2, ["x", "y/"]),
        (["x10/", "x11/", "x20/", "y/"], 3, ["x1", "x20/", "y/"]),
        (["x10/", "x11/", "x20/", "y/"], 9, ["x10/", "x11/", "x20/", "y/"]),
        (["a/", "a//", "b/"], 9, ["a/", "b/"]),
        (["/", "/a/"], 9, ["/"]),
        (["", "a/"], 9, [""]),
        (["é/", "e\u0301/", "🎬/", "🎭/"], 9, ["e\u0301/", "é/", "🎬/", "🎭/"]),
    ],
)
def test_groups_are_common_beginnings(folders: list[str], most: int, expected: list[str]) -> None:
    assert sorted(group_folders(folders, most)) == sorted(expected)


def test_the_fullest_group_is_parted_first_and_comes_first() -> None:
    folders = [*HUNDRED, "a/", "b/"]
    assert group_folders(folders, 3) == ["in/", "a/", "b/"]
    assert group_folders(folders, 12) == [*(f"in/{tens}" for tens in range(10)), "a/", "b/"]
    assert group_folders(folders, 21)[:9] == [f"in/{tens}" for tens in range(1, 10)]


@given(NAMES, st.integers(1, 40))
def test_each_folder_is_covered_exactly_once(folders: list[str], most: int) -> None:
    found = group_folders(folders, most)
    assert len(found) <= most
    assert all(sum(folder.startswith(group) for group in found) == 1 for folder in folders)


@given(NAMES, st.integers(1, 40))
def test_no_group_begins_another_nor_stands_for_nothing(folders: list[str], most: int) -> None:
    found = group_folders(folders, most)
    assert all(sum(other.startswith(group) for other in found) == 1 for group in found)
    assert all(any(folder.startswith(group) for folder in folders) for group in found)


@given(st.sets(st.text("ab", min_size=1, max_size=5), max_size=30))
def test_with_room_for_all_each_folder_is_a_group(names: set[str]) -> None:
    folders = {f"{name}/" for name in names}
    assert sorted(group_folders(folders, len(folders) or 1)) == sorted(folders)


def course(*last_keys: str, folders: list[str]) -> Course:
    so_far = Course()
    for key in last_keys:
        so_far = so_far.after(key, folders)
    return so_far


@pytest.mark.parametrize(
    ("last_keys", "pages_to_come"),
    [
        ([], 0),
        (["in/00/x"] * 8, 792),  # one of a hundred folders is begun
        ([f"in/{number:02}/x" for number in range(8)], 92),
        ([f"in/{number:02}/x" for number in range(100)], 1),
        ([*(f"in/{number:02}/x" for number in range(100)), *["in/99/y"] * 50], 51),  # the last one is large
        (["aside"] * 8, 792),  # objects before the first folder
    ],
)
def test_what_is_to_come_is_guessed_from_what_came(last_keys: list[str], pages_to_come: float) -> None:
    assert course(*last_keys, folders=HUNDRED).pages_to_come(HUNDRED) == pytest.approx(pages_to_come)


def test_folders_that_become_known_late_change_no_guess_of_what_came_before() -> None:
    late = Course().after("in/00/x", []).after("in/00/y", HUNDRED)
    assert late == Course(pages=2, begun=1, entered=1)


def test_a_listing_that_is_nearly_through_is_not_split() -> None:
    keys = [f"in/{number:02}/x" for number in range(69)]
    assert split_prefixes(HUNDRED, course(*keys, folders=HUNDRED), 16) == []
    assert split_prefixes(HUNDRED, course(*keys[:40], folders=HUNDRED), 16) != []


def test_one_folder_is_no_reason_to_split() -> None:
    alone = ["in/"]
    assert split_prefixes(alone, course(*["in/x"] * 500, folders=alone), 16) == []


@pytest.mark.parametrize(
    ("pages", "begun", "expected"),
    [
        (10, 22, 28),  # 45 pages in all: two groups for each that is listed at once
        (20, 20, 46),  # 100 pages in all: two pages a group
        (20, 1, 100),
    ],
)
def test_more_pages_make_more_groups(pages: int, begun: int, expected: int) -> None:
    assert len(split_prefixes(HUNDRED, Course(pages, begun, pages), 16)) == expected


def test_there_are_never_so_many_groups_that_making_them_takes_long() -> None:
    folders = [f"{number:05}/" for number in range(16_000)]
    assert 500 < len(split_prefixes(folders, Course(1_000, 1, 1_000), 16)) <= 512
