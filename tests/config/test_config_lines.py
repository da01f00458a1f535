from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vvwatch.options.findings import Loc, key_lines, nearest_line

TEXT = '''\
# a comment = 1
top = 1
"quoted key" = 2
'literal.key' = 3

[table]
# [not.a.table]
text = """
[not.a.table]
a = 1
"""
after = '\\'
list = [
    1,  # b = 2
    [2, 3],
]
inline = { x = 1, y = { z = 2 } }
dotted.key.name = 5

  [ table . "sub table" ]  # spaces
  x = 1

[[array]]
name = "one"
[array.inner]
x = 1
[[array]]
name = "two"
last = """quotes ""\\""""
end = 1
'''


def test_every_key_is_found_on_its_line() -> None:
    lines = key_lines(TEXT)

    assert lines == {
        ("top",): 2,
        ("quoted key",): 3,
        ("literal.key",): 4,
        ("table",): 6,
        ("table", "text"): 8,
        ("table", "after"): 12,
        ("table", "list"): 13,
        ("table", "inline"): 17,
        ("table", "dotted"): 18,
        ("table", "dotted", "key"): 18,
        ("table", "dotted", "key", "name"): 18,
        ("table", "sub table"): 20,
        ("table", "sub table", "x"): 21,
        ("array", 0): 23,
        ("array", 0, "name"): 24,
        ("array", 0, "inner"): 25,
        ("array", 0, "inner", "x"): 26,
        ("array", 1): 27,
        ("array", 1, "name"): 28,
        ("array", 1, "last"): 29,
        ("array", 1, "end"): 30,
    }


def test_a_value_inside_is_found_on_the_line_of_what_holds_it() -> None:
    lines = key_lines(TEXT)

    assert nearest_line(lines, ("table", "inline", "y", "z")) == 17
    assert nearest_line(lines, ("table", "list", 1, 0)) == 13
    assert nearest_line(lines, ("table", "missing")) == 6
    assert nearest_line(lines, ("elsewhere",)) is None


def test_lines_end_as_windows_ends_them() -> None:
    assert key_lines("a = 1\r\n[b]\r\nc = '''\r\n'''\r\nd = 2\r\n")[("b", "d")] == 5


def test_escapes_in_keys_are_read() -> None:
    assert ("é\t",) in key_lines('"\\u00e9\\t" = 1')


KEYS = st.text(st.sampled_from("ab-_1"), min_size=1, max_size=3)
VALUES = st.sampled_from(
    ["1", '"#[x]"', "'''\n[a]\n'''", "[\n1,\n]", "{ k = [1] }", '"""\\"\n"""', "1979-05-27 07:32:00"]
)


@given(
    st.lists(st.tuples(KEYS, st.dictionaries(KEYS, VALUES, max_size=3)), max_size=4, unique_by=lambda t: t[0])
)
def test_all_keys_of_any_text_are_found(tables: list[tuple[str, dict[str, str]]]) -> None:
    text = "".join(
        f"[{name}] # c\n" + "".join(f"{key} = {value} # [c]\n" for key, value in keys.items())
        for name, keys in tables
    )

    lines = key_lines(text)

    assert set(lines) == set(_locs(tomllib.loads(text)))
    for loc, line in lines.items():
        assert str(loc[-1]) in text.splitlines()[line - 1]


def _locs(document: dict[str, Any]) -> list[Loc]:
    return [(name,) for name in document] + [(name, key) for name, keys in document.items() for key in keys]
