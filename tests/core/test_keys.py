from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.keys import Scope, allows_scope, digest_key, format_key, has_valid_format


@given(st.binary(min_size=24, max_size=24))
def test_a_key_has_the_form_that_clients_check(randomness: bytes) -> None:
    key = format_key(randomness)
    assert re.fullmatch("sk_live_[0-9a-f]{48}", key)
    assert has_valid_format(key)
    assert re.fullmatch("[0-9a-f]{64}", digest_key(key))
    assert key not in digest_key(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk_live_",
        "sk_test_" + "a" * 48,
        "sk_live_" + "A" * 48,
        "sk_live_" + "a" * 47,
        "sk_live_" + "a" * 48 + "\n",
    ],
)
def test_other_texts_are_no_keys(text: str) -> None:
    assert not has_valid_format(text)


def test_a_key_of_too_little_randomness_is_refused() -> None:
    with pytest.raises(ValueError, match="24 random bytes"):
        format_key(b"short")


def test_each_scope_includes_those_before_it() -> None:
    order = ["search", "read", "write", "admin"]
    for rank, granted in enumerate(order):
        for needed_rank, needed in enumerate(order):
            assert allows_scope([granted], Scope(needed)) is (rank >= needed_rank)


def test_the_highest_scope_decides_and_unknown_ones_grant_nothing() -> None:
    assert allows_scope(["search", "write"], Scope.READ)
    assert not allows_scope([], Scope.SEARCH)
    assert not allows_scope(["root", "ADMIN"], Scope.SEARCH)
