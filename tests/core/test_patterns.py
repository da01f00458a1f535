"""Patterns that look like regular expressions are told, those that are globs are not."""

from __future__ import annotations

import pytest

from vvwatch.core.globs import regular_expression_in


@pytest.mark.parametrize(
    "pattern",
    [
        r".*\.jpg",
        ".*",
        ".*jpg",
        "^IMG",
        "jpg$",
        r"IMG_\d+",
        "IMG_.*",
        "a/.*",
        "(mp4|mov)",
        ".+",
        "clip.*jpg",
        r"\.jpg",
    ],
)
def test_what_looks_like_a_regular_expression_is_told(pattern: str) -> None:
    assert "looks like a regular expression" in regular_expression_in(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["*", "*.jpg", "*.{mp4,mov}", "clip.*", "*.*", "**/*.mxf", "IMG_[0-9]*.jpg", "[!a]*", "a$b.mp4"],
)
def test_a_glob_is_not(pattern: str) -> None:
    assert regular_expression_in(pattern) == ""
