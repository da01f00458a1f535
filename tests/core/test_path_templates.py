"""Fields of a key: what fits, what does not, and that no key takes long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.path_templates import PathTemplate, check_template
from vvwatch.errors import InvalidInput

MANY = "/".join(f"{{f{n}}}" for n in range(21))
SHOWS = "{show}/{episode}/{camera}_{*}.mxf"


@pytest.mark.parametrize(
    ("template", "key", "found"),
    [
        (SHOWS, "Harbour/12/A_0001.mxf", {"show": "Harbour", "episode": "12", "camera": "A"}),
        (SHOWS, "Harbour/12/A_B_0001.mxf", {"show": "Harbour", "episode": "12", "camera": "A"}),
        (SHOWS, "Harbour/12/A_.mxf", None),
        (SHOWS, "Harbour/12/_0001.mxf", None),
        (SHOWS, "Harbour/A_0001.mxf", None),
        (SHOWS, "x/Harbour/12/A_0001.mxf", None),
        (SHOWS, "Harbour/12/A_0001.mov", None),
        ("{day}.{camera}", "2026.12.A", {"day": "2026", "camera": "12.A"}),
        ("{day}-{a}-{b}", "1-2-3", {"day": "1", "a": "2", "b": "3"}),
        ("x{a}x", "xx", None),
        ("x{a}x", "xxx", {"a": "x"}),
        ("a/{show}.+", "a/b.+", {"show": "b"}),
        ("{show}", "Größe ☂", {"show": "Größe ☂"}),
    ],
)
def test_fields_are_read_where_the_template_fits(
    template: str, key: str, found: dict[str, str] | None
) -> None:
    assert PathTemplate(template).read(key) == found


@pytest.mark.parametrize(
    "template",
    [
        "",
        "plain.mxf",
        "{*}.mxf",
        "{a}{b}",
        "{a}/{a}",
        "{A}",
        "{1a}",
        "{a",
        "a}",
        "{}",
        "{a}//b",
        "{a.b}",
        "x" * 501,
        "/".join(f"{{f{n}}}" for n in range(21)),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(template: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_template(template)
    assert caught.value.message


@given(
    st.lists(st.sampled_from(["{n}", "_", "a", "-", "aa"]), min_size=1, max_size=7),
    st.text("a_-b", min_size=1, max_size=12),
)
def test_it_fits_exactly_what_the_shortest_regular_expression_fits(parts: list[str], key: str) -> None:
    names = iter(f"f{n}" for n in range(10))
    template = "".join(next(names).join("{}") if part == "{n}" else part for part in parts)
    try:
        chosen = PathTemplate(template)
    except InvalidInput:
        return
    pattern = re.sub(r"\\\{(f\d)\\\}", r"(?P<\1>.+?)", re.escape(template))
    found = re.fullmatch(pattern, key, re.DOTALL)
    assert chosen.read(key) == (None if found is None else found.groupdict())


def test_no_key_takes_long() -> None:
    template = PathTemplate("a".join(f"{{f{n}}}" for n in range(20)) + "b")
    started = time.process_time()
    assert template.read("a" * 100_000) is None
    assert time.process_time() - started < 1
