from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.identities import new_id, segment_id

RANDOM = st.binary(min_size=10, max_size=10)
MOMENTS = st.integers(0, 4_000_000_000_000)


def test_an_identity_is_a_lower_case_ulid_behind_its_prefix() -> None:
    assert new_id("job", 1_469_918_176.385, bytes(10)) == "job_01aryz6s410000000000000000"
    assert new_id("job", 0, b"\xff" * 10) == "job_0000000000zzzzzzzzzzzzzzzz"


@given(MOMENTS, MOMENTS, RANDOM, RANDOM)
def test_identities_sort_by_the_millisecond_they_were_made_in(a: int, b: int, x: bytes, y: bytes) -> None:
    earlier, later = sorted((a, b))
    if earlier < later:
        assert new_id("x", earlier / 1000, x) <= new_id("x", (later + 1) / 1000, y)


@given(st.floats(-1e12, 1e12), RANDOM)
def test_an_identity_has_one_form_whatever_the_clock_says(now: float, randomness: bytes) -> None:
    prefix, _, digits = new_id("exp", now, randomness).partition("_")
    assert prefix == "exp"
    assert len(digits) == 26
    assert set(digits) <= set("0123456789abcdefghjkmnpqrstvwxyz")


@given(RANDOM, RANDOM)
def test_identities_of_one_millisecond_differ_as_their_randomness_does(x: bytes, y: bytes) -> None:
    assert (new_id("x", 1.0, x) == new_id("x", 1.0, y)) == (x == y)


def test_too_little_randomness_is_refused() -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        new_id("x", 1.0, b"123")


def test_a_derived_identity_is_the_same_each_time() -> None:
    assert segment_id(7, 3) == "seg_7_3"
