from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.cadence import jitter_seconds, scan_seconds


@pytest.mark.parametrize(
    ("quiet", "scan"),
    [(300, 60), (600, 120), (3_600, 300), (86_400, 900), (3, 1), (10, 2), (0.5, 1), (7_200, 900)],
)
def test_a_location_is_listed_more_often_than_its_window_closes(quiet: float, scan: float) -> None:
    assert scan_seconds(quiet) == scan


@given(st.floats(0.1, 1e6), st.floats(0, 0.5), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_its_fraction(seconds: float, fraction: float, sample: float) -> None:
    moved = jitter_seconds(seconds, fraction, sample)
    assert seconds * (1 - fraction) * 0.999_999 <= moved <= seconds * (1 + fraction) * 1.000_001


def test_jitter_in_the_middle_changes_nothing() -> None:
    assert jitter_seconds(60.0, 0.1, 0.5) == 60.0
