from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.objects import StorageObject
from vvwatch.core.settling import Sighting, is_settled, note_sighting, remaining_seconds


def seen(version: str, changed_at: float = 7.0) -> StorageObject:
    return StorageObject("a.mp4", version, 1, 0.0, changed_at)


def test_a_file_settles_when_it_stays_the_same() -> None:
    first = note_sighting(None, seen("v1"), 100.0)
    second = note_sighting(first, seen("v1"), 104.0)
    assert second == first
    assert not is_settled(second, 5.0, 104.0)
    assert remaining_seconds(second, 5.0, 104.0) == 1.0
    assert is_settled(second, 5.0, 105.0)


@pytest.mark.parametrize("changed", [seen("v2"), seen("v1", changed_at=8.0), seen("v1", changed_at=6.0)])
def test_any_change_starts_the_wait_anew(changed: StorageObject) -> None:
    assert note_sighting(Sighting("v1", 7.0, 100.0), changed, 104.0).since == 104.0


def test_fallocate_then_fill() -> None:
    preallocated = note_sighting(None, seen("same-size", changed_at=1.0), 0.0)
    filling = note_sighting(preallocated, seen("same-size", changed_at=2.0), 10.0)
    assert not is_settled(filling, 5.0, 10.0)


@pytest.mark.parametrize("changed_at", [0.0, 1e12, -5.0])
def test_a_file_with_a_foreign_time_settles_like_any_other(changed_at: float) -> None:
    first = note_sighting(None, seen("v1", changed_at), 100.0)
    assert is_settled(note_sighting(first, seen("v1", changed_at), 102.0), 2.0, 102.0)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.1, 5)), min_size=1, max_size=20), st.floats(0, 8)
)
def test_a_settled_file_was_still_for_the_whole_time(looks: list[tuple[str, float]], settle: float) -> None:
    sighting, now, history = None, 0.0, []
    for version, gap in looks:
        now += gap
        history.append((now, version))
        sighting = note_sighting(sighting, seen(version), now)
        if is_settled(sighting, settle, now):
            recent = {each for at, each in history if at > now - settle}
            assert recent <= {version}
