from __future__ import annotations

from typing import Any

import pytest

from vvwatch.options.findings import Finding
from vvwatch.options.substitution import find_variables, substitute

ENVIRON = {"NAME": "value", "EMPTY": "", "TWO": "a\nb", "NESTED": "${NAME}"}


def filled(value: Any) -> tuple[Any, list[Finding]]:
    findings: list[Finding] = []
    return substitute(value, ENVIRON, findings.append), findings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a ${NAME} b ${NAME}", "a value b value"),
        ("${EMPTY}", ""),
        ("${GONE:-default}", "default"),
        ("${EMPTY:-default}", "default"),
        ("${NAME:-default}", "value"),
        ("${GONE:-}", ""),
        ("${NAME:?needed}", "value"),
        ("$$NAME $${NAME} $$$$", "$NAME ${NAME} $$"),
        ("#/$defs/x costs 5$", "#/$defs/x costs 5$"),
        ("$NAME", "$NAME"),
        ("${NESTED}", "${NAME}"),
    ],
)
def test_text_is_filled_in(text: str, expected: str) -> None:
    assert filled(text) == (expected, [])


def test_only_values_are_filled_in_never_keys() -> None:
    value, findings = filled({"${NAME}": ["${NAME}", 1, {"x": "${NAME}"}]})

    assert value == {"${NAME}": ["value", 1, {"x": "value"}]}
    assert findings == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("${GONE}", "the variable GONE is not set"),
        ("${GONE:?say who}", "the variable GONE is needed: say who"),
        ("${EMPTY:?}", "the variable EMPTY is needed: not set"),
        ("${TWO}", "the variable TWO holds more than one line"),
        ("${1X}", "'${1X}' is not a substitution"),
        ("${NAME", "'${NAME' is not a substitution"),
        ("${NAME-x}", "'${NAME-x}' is not a substitution"),
    ],
)
def test_what_cannot_be_filled_in_is_told_with_its_place(text: str, what: str) -> None:
    _, findings = filled({"a": [0, text]})

    assert [(finding.loc, finding.what) for finding in findings] == [(("a", 1), what)]


def test_each_missing_variable_is_told() -> None:
    assert len(filled("${A} ${B}")[1]) == 2


def test_the_variables_asked_for_are_known() -> None:
    assert find_variables({"a": ["${A} ${B:-x}", "$${C}", 1], "${D}": {"b": "${E:?m}"}}) == {"A", "B", "E"}
