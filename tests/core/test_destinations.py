from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.exports import check_subpath, destination_key
from vvwatch.errors import InvalidInput


@pytest.mark.parametrize(
    ("base", "sub", "key"),
    [
        (None, None, "exp_1.json"),
        ("", "", "exp_1.json"),
        ("exports/", "team", "exports/team/exp_1.json"),
        ("exports", "team/", "exports/team/exp_1.json"),
        ("a//b/", "./c", "a/b/c/exp_1.json"),
        ("é ü", "名", "é ü/名/exp_1.json"),
        ("a..b", "...", "a..b/.../exp_1.json"),
    ],
)
def test_an_export_goes_below_base_path_and_subpath(base: str | None, sub: str | None, key: str) -> None:
    assert destination_key(base, sub, "exp_1") == key


@pytest.mark.parametrize(
    "part",
    [
        "/abs",
        "..",
        "../up",
        "a/../b",
        "a/..",
        "a\\b",
        "..\\up",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\x1b[31m",
        "\udcff",
    ],
)
def test_a_part_that_could_leave_the_location_is_refused(part: str) -> None:
    for base, sub in ((part, None), (None, part), ("ok", part)):
        with pytest.raises(InvalidInput) as refused:
            destination_key(base, sub, "exp_1")
        assert refused.value.hint
    with pytest.raises(InvalidInput, match="export_base_path"):
        check_subpath(part, "export_base_path")


PARTS = st.none() | st.text(st.sampled_from("ab./\\\0 é"), max_size=10)


@given(PARTS, PARTS)
def test_no_destination_climbs(base: str | None, sub: str | None) -> None:
    try:
        segments = destination_key(base, sub, "exp_1").split("/")
    except InvalidInput:
        return
    assert not {"", ".", ".."} & set(segments)
    assert segments[-1] == "exp_1.json"
