from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.durations import parse_duration
from vvwatch.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("10m", 600),
        ("1h", 3_600),
        ("1d", 86_400),
        ("1h30m", 5_400),
        ("1d2h3m4.5s", 93_784.5),
        ("0.5s", 0.5),
        ("1.5h", 5_400),
        (" 3s ", 3),
        ("0s", 0),
    ],
)
def test_a_written_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "m",
        "-5m",
        "5 m",
        "5M",
        "30m1h",
        "5m5m",
        "1w",
        "1e3s",
        ".5s",
        "5.s",
        "nan",
        "inf",
        "\u0665m",
        "9" * 400 + "d",
    ],
)
def test_what_is_no_duration_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_duration(text)
    assert "1h30m" in refused.value.hint


def test_more_than_ten_years_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ten years"):
        parse_duration("4000d")


@given(st.text(st.sampled_from("0123456789.dhms -eé"), max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidInput):
        assert parse_duration(text) >= 0
