from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.locations import check_key, normal_prefix, safe_relative
from vvwatch.errors import InvalidInput, OutsideLocation


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("", ""),
        ("a", "a"),
        ("a/b.mp4", "a/b.mp4"),
        ("a//b/", "a/b"),
        ("./a", "a"),
        ("a..b/...", "a..b/..."),
        ("a\\b", "a\\b"),
    ],
)
def test_a_path_below_the_location_is_kept(path: str, safe: str) -> None:
    assert safe_relative(path) == safe


@pytest.mark.parametrize(
    "path", ["/", "/etc/passwd", "..", "../a", "a/../b", "a/..", "..\\a", "a\\..\\b", "a\0b"]
)
def test_a_path_that_could_leave_the_location_is_refused(path: str) -> None:
    with pytest.raises(OutsideLocation) as refused:
        safe_relative(path)
    assert refused.value.hint


@given(st.text(st.sampled_from("a./\\\0"), max_size=12))
def test_no_safe_path_climbs(path: str) -> None:
    try:
        safe = safe_relative(path)
    except OutsideLocation:
        return
    joined = posixpath.normpath(posixpath.join("/root", safe))
    assert joined == "/root" or joined.startswith("/root/")


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
