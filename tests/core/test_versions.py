from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.ledger import diff_listing
from vvwatch.core.objects import StorageObject
from vvwatch.core.versions import file_version, is_same_version, loose_version

SECOND = 1_000_000_000
NUMBERS = st.integers(0, 1 << 63)


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_a_version_without_an_inode_is_that_of_any_inode(one: int, other: int, size: int, time: int) -> None:
    assert is_same_version(file_version(one, size, time), loose_version(size, time))
    assert is_same_version(loose_version(size, time), file_version(other, size, time))
    assert is_same_version(file_version(one, size, time), file_version(other, size, time)) is (one == other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            loose_version(5, 7 * SECOND),
            file_version(1, 5, 7 * SECOND + 999_999_999),
            True,
        ),  # SFTP tells seconds
        (file_version(1, 5, 7 * SECOND), loose_version(5, 7 * SECOND + 1), True),
        (loose_version(5, 7 * SECOND), loose_version(5, 8 * SECOND), False),
        (loose_version(5, 7 * SECOND + 1), loose_version(5, 7 * SECOND + 2), False),
        (loose_version(5, 7 * SECOND), loose_version(6, 7 * SECOND), False),
        (file_version(1, 5, 7 * SECOND), file_version(1, 5, 7 * SECOND + 1), False),
        ('"abc":5', '"abc":6', False),
        ("~", '"~5-7":5', False),
        ("~5-7", "", False),
        ("~5-7", "~5-7", True),
    ],
)
def test_versions_that_stand_for_the_same_bytes(one: str, other: str, same: bool) -> None:
    assert is_same_version(one, other) is same
    assert is_same_version(other, one) is same


def test_an_index_filled_with_inodes_knows_its_files_without() -> None:
    """As after an upgrade, or a mount by another driver."""
    files = {f"{n}.mp4": (n, 10 * n, n * SECOND) for n in range(1, 6)}
    listed = [StorageObject(key, loose_version(*file[1:]), file[1], 0.0, 0.0) for key, file in files.items()]
    recorded = [(key, file_version(*file)) for key, file in files.items()]
    assert diff_listing(listed, recorded) == diff_listing([], []).__class__([], [], 5)
    changed = listed[0]._replace(version=loose_version(11, SECOND))
    assert diff_listing([changed, *listed[1:]], recorded).modified == [changed]
    several = [*recorded, ("1.mp4", file_version(9, 11, SECOND))]
    assert diff_listing([changed, *listed[1:]], several).known == 5
