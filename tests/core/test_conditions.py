"""Conditions over metadata: each operator by a table, and against a naive reading of the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.conditions import OPERATORS, all_hold, check_condition
from vvwatch.errors import InvalidInput

DOCUMENT = {
    "subject": "A red Car",
    "blank": "  ",
    "none": None,
    "count": 3,
    "whole": 4.0,
    "score": 0.5,
    "flag": True,
    "tags": ["Night", "rain", 3, True],
    "nobody": [],
    "scene": {"place": "Harbour", "a.b": "dotted"},
    "people": [{"name": "Ann", "age": 31}, {"name": "Bo"}, 7],
}

HOLDS = [
    ("subject", "equals", "string", "a RED car"),
    ("subject", "contains", "string", "RED"),
    ("subject", "starts_with", "string", "a r"),
    ("subject", "ends_with", "string", "CAR"),
    ("subject", "is_not_empty", "string", None),
    ("blank", "is_empty", "string", None),
    ("none", "is_empty", "string", None),
    ("missing", "is_empty", "array", None),
    ("count", "equals", "integer", 3),
    ("whole", "equals", "integer", 4),
    ("count", "greater_than", "integer", 2),
    ("count", "greater_equal", "number", 3.0),
    ("score", "less_than", "number", 1),
    ("score", "less_equal", "number", 0.5),
    ("flag", "equals", "boolean", True),
    ("tags", "item_equals", "array", "night"),
    ("tags", "item_equals", "array", 3),
    ("tags", "item_equals", "array", True),
    ("tags", "item_contains", "array", "AI"),
    ("tags", "length_equals", "array", 4),
    ("tags", "length_greater", "array", 3),
    ("tags", "length_less", "array", 5),
    ("tags", "is_not_empty", "array", None),
    ("nobody", "is_empty", "array", None),
    ("nobody", "length_equals", "array", 0),
    ("scene.place", "equals", "string", "harbour"),
    ("scene.a.b", "equals", "string", "dotted"),
    ("people.name", "equals", "string", "bo"),
    ("people.age", "greater_than", "integer", 30),
]
FAILS = [
    ("subject", "equals", "string", "red"),
    ("subject", "is_empty", "string", None),
    ("subject", "is_empty", "array", None),
    ("count", "contains", "string", "3"),
    ("count", "is_not_empty", "string", None),
    ("count", "greater_than", "integer", 3),
    ("score", "equals", "integer", 0),
    ("flag", "equals", "integer", 1),
    ("count", "equals", "boolean", True),
    ("missing", "equals", "string", "x"),
    ("missing", "less_than", "number", 1),
    ("missing", "length_equals", "array", 0),
    ("subject", "item_contains", "array", "red"),
    ("tags", "item_equals", "array", 1),
    ("tags", "item_equals", "array", "nigh"),
    ("blank", "is_not_empty", "string", None),
    ("scene", "is_not_empty", "string", None),
    ("people.height", "greater_than", "number", 0),
]


@pytest.mark.parametrize("asked", HOLDS, ids=lambda asked: f"{asked[0]}-{asked[1]}")
def test_what_a_document_meets(asked: tuple[str, str, str, Any]) -> None:
    assert check_condition(*asked).holds(DOCUMENT)


@pytest.mark.parametrize("asked", FAILS, ids=lambda asked: f"{asked[0]}-{asked[1]}")
def test_what_a_document_does_not_meet(asked: tuple[str, str, str, Any]) -> None:
    assert not check_condition(*asked).holds(DOCUMENT)


def test_every_condition_has_to_hold() -> None:
    red, dark = (
        check_condition("subject", "contains", "string", "red"),
        check_condition("tags", "item_equals", "array", "day"),
    )
    assert all_hold([red], DOCUMENT)
    assert not all_hold([red, dark], DOCUMENT)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("f", "contains", "integer", 1), "equals, greater_than"),
        (("f", "greater_than", "string", "a"), "starts_with"),
        (("f", "item_equals", "string", "a"), "is_empty"),
        (("f", "is_empty", "number", None), "less_equal"),
        (("f", "equals", "object", "a"), "string, integer, number, boolean, array"),
        ((" ", "equals", "string", "a"), "metadata"),
        (("f", "is_empty", "string", "a"), "leave the value out"),
        (("f", "equals", "string", " "), "not blank"),
        (("f", "equals", "string", None), "text"),
        (("f", "equals", "integer", 1.5), "whole"),
        (("f", "equals", "integer", True), "whole"),
        (("f", "equals", "number", float("nan")), "finite"),
        (("f", "equals", "boolean", 1), "true"),
        (("f", "length_less", "array", -1), "from 0"),
        (("f", "item_contains", "array", 3), "text"),
        (("f", "item_equals", "array", ["a"]), "a number"),
    ],
)
def test_what_cannot_be_asked_says_what_can(asked: tuple[str, str, str, Any], told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_condition(*asked)
    assert told in refused.value.hint


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 2.0, -1.0])
    | st.sampled_from(["", " ", "a", "A", "ab", "ba"])
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3)
WANTED = {
    "string": st.sampled_from(["a", "B", "ab"]),
    "integer": st.integers(-3, 3),
    "number": st.sampled_from([0.5, 2.0, -1, 3]),
    "boolean": st.booleans(),
    "array": st.sampled_from(["a", "B"]),
}
OURS = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
}


def wanted_for(type_: str, operator: str) -> st.SearchStrategy[Any]:
    if operator.startswith("is_"):
        return st.none()
    return st.integers(0, 3) if operator.startswith("length_") else WANTED[type_]


ASKED = st.sampled_from([(type_, name) for type_, names in OPERATORS.items() for name in names]).flatmap(
    lambda pair: st.tuples(st.just(pair[0]), st.just(pair[1]), wanted_for(*pair))
)


def oracle(found: Any, type_: str, operator: str, wanted: Any) -> bool:
    """The rules, one after the other, over one value."""
    lower = wanted.lower() if isinstance(wanted, str) else wanted
    if operator == "is_empty":
        return found is None or (type(found) in OURS[type_] and str(found).strip() in {"", "[]"})
    if type(found) not in OURS[type_] or (type_ == "integer" and found % 1):
        return False
    here = found.lower() if isinstance(found, str) else found
    items = [item.lower() if isinstance(item, str) else item for item in found] if type_ == "array" else []
    texts = [item for item in items if isinstance(item, str)]
    rules: dict[str, Callable[[], bool]] = {
        "equals": lambda: here == lower,
        "contains": lambda: here.find(lower) >= 0,
        "starts_with": lambda: here[: len(lower)] == lower,
        "ends_with": lambda: here[-len(lower) :] == lower,
        "greater_than": lambda: here > lower,
        "greater_equal": lambda: not here < lower,
        "less_than": lambda: here < lower,
        "less_equal": lambda: not here > lower,
        "is_not_empty": lambda: str(found).strip() not in {"", "[]"},
        "length_equals": lambda: len(found) == wanted,
        "length_greater": lambda: len(found) > wanted,
        "length_less": lambda: len(found) < wanted,
        "item_equals": lambda: lower in texts,
        "item_contains": lambda: any(lower in item for item in texts),
    }
    return rules[operator]()


@given(VALUES, ASKED)
def test_it_agrees_with_a_naive_reading(found: Any, asked: tuple[str, str, Any]) -> None:
    type_, operator, wanted = asked
    assert check_condition("f", operator, type_, wanted).holds({"f": found}) == oracle(
        found, type_, operator, wanted
    )


@given(
    st.recursive(
        SCALARS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner, max_size=3)
        ),
    ),
    ASKED,
)
def test_no_document_breaks_it(document: Any, asked: tuple[str, str, Any]) -> None:
    type_, operator, wanted = asked
    check_condition("a.b.a", operator, type_, wanted).holds({"a": document})


@pytest.mark.parametrize("asked", HOLDS, ids=lambda asked: f"{asked[0]}-{asked[1]}")
def test_what_holds_with_a_type_holds_without(asked: tuple[str, str, str, Any]) -> None:
    field, operator, _, value = asked
    assert check_condition(field, operator, None, value).holds(DOCUMENT)


@pytest.mark.parametrize(
    ("document", "operator", "value", "holds"),
    [
        ({"f": ["Boat", "car"]}, "equals", "boat", True),
        ({"f": ["Boat", "car"]}, "contains", "oa", True),
        ({"f": ["Boat", "car"]}, "starts_with", "ca", True),
        ({"f": ["Boat", "car"]}, "ends_with", "x", False),
        ({"f": [1, 5]}, "greater_than", 4, True),
        ({"f": []}, "equals", "boat", False),
        ({"f": [["boat"]]}, "equals", "boat", False),
        ({"f": 5}, "equals", "5", True),
        ({"f": 5}, "equals", "5.5", False),
        ({"f": 5}, "less_equal", " 5 ", True),
        ({"f": 5}, "contains", "5", False),
        ({"f": True}, "equals", "TRUE", True),
        ({"f": True}, "equals", 1, False),
        ({"f": False}, "equals", False, True),
        ({"f": "5"}, "equals", 5, False),
        ({"f": None}, "equals", "none", False),
        ({"f": {"a": 1}}, "equals", "a", False),
        ({"f": ""}, "is_empty", None, True),
        ({"f": []}, "is_empty", None, True),
        ({"f": 0}, "is_empty", None, False),
        ({"f": 0}, "is_not_empty", None, False),
        ({"f": ["a"]}, "length_equals", 1, True),
        ({"f": 5}, "greater_than", "nan", False),
    ],
    ids=str,
)
def test_without_a_type_each_value_has_its_own(
    document: dict[str, Any], operator: str, value: Any, holds: bool
) -> None:
    assert check_condition("f", operator, None, value).holds(document) is holds


@pytest.mark.parametrize(
    ("operator", "value", "told"),
    [
        ("like", "a", "starts_with"),
        ("equals", None, "a text, a number"),
        ("equals", ["a"], "a text, a number"),
        ("length_equals", "1", "from 0"),
        ("is_empty", "a", "leave the value out"),
    ],
)
def test_what_cannot_be_asked_without_a_type_says_what_can(operator: str, value: Any, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_condition("f", operator, None, value)
    assert told in f"{refused.value.message} {refused.value.hint}"
