from __future__ import annotations

import pytest

from vvwatch.core.locations import check_key, normal_prefix
from vvwatch.errors import InvalidInput


@pytest.mark.parametrize("prefix", ["", "in", "in/", "/in/", "a//b/", "é/", "e\u0301/", "a b", "clip.mp4"])
def test_a_prefix_is_kept_as_it_came(prefix: str) -> None:
    assert normal_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["a\0", "..", "../", "a/../b", "\udcff", "é" * 2_049])
def test_an_unusable_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidInput):
        normal_prefix(prefix)


@pytest.mark.parametrize("key", ["", "a\0", "\udcff.mp4", "a" * 4_097])
def test_an_impossible_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput):
        check_key(key)


@pytest.mark.parametrize(
    "key", ["a", "a+b", "a b", "%2F", "é", "e\u0301", "🎬", "a//b", "/a", "a/../b", "a" * 4_096]
)
def test_any_other_key_can_exist(key: str) -> None:
    check_key(key)
