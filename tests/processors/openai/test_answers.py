"""What a model answered becomes JSON that fits, or a reason why it does not."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.processors.openai.answers import read_object
from vvwatch.processors.openai.coercion import coerce_answer

READ: dict[str, Any] = {
    '{"a": 1}': {"a": 1},
    '  {"a": {"b": [1]}}\n': {"a": {"b": [1]}},
    '```json\n{"a": 1}\n```': {"a": 1},
    '```\n{"a": 1}\n```': {"a": 1},
    'Sure! Here it is: {"a": "}"} Anything else?': {"a": "}"},
    'I use {curly} braces. {"a": 1}': {"a": 1},
    '<think>maybe {"a": 9}?</think>{"a": 1}': {"a": 1},
    '{"a": "\\u0000\\ud800"}': {"a": "\ufffd\ufffd"},
    '{"a": "quote \\" and { brace"}': {"a": 'quote " and { brace'},
}
UNREADABLE = {
    "": "no JSON object",
    "I see a boat.": "no JSON object",
    "[1, 2]": "no object",
    '{"a": 1': "not JSON",
    '{"a": NaN}': "no number of JSON",
    '{"a": 1e999}': "too large a number",
    '{"a": ' * 100 + "1" + "}" * 100: "nested deeper",
    '{"a": ' * 70 + "1" + "}" * 70: "nested deeper",
    "Here: " + '{"a": ' * 70 + "1" + "}" * 70: "no JSON object",
    '{"a": ' + "9" * 5000 + "}": r"Exceeds the limit \(4300 digits\) for integer string conversion$",
    '{"a": [' + "1," * 20_000 + "1]}": "more than 20,000 values",
    '{"a": [' + "[]," * 60_000 + "1]}": "more than 100,000 brackets",
    '{"a\\u0000": 1, "a\\ud800": 2}': "names in it differ only",
}


@pytest.mark.parametrize("text", READ)
def test_an_object_is_found(text: str) -> None:
    assert read_object(text) == READ[text]


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_is_none_says_why(text: str) -> None:
    with pytest.raises(ValueError, match=UNREADABLE[text]):
        read_object(text)


@pytest.mark.parametrize("begins", ["", "{" * 20, '{"a":['])
@pytest.mark.parametrize(
    "piece", ["{", "[", '{"', "```", "{}", '{"a":[', "\\", '"{', "</think>", "}{", "[]", '""', '"",', "1,"]
)
def test_reading_a_megabyte_of_anything_holds_nothing_up(begins: str, piece: str) -> None:
    text = begins + piece * (1_000_000 // len(piece))
    started = time.process_time()
    with suppress(ValueError):
        read_object(text)
    assert time.process_time() - started < 1.5


@given(st.text())
def test_any_text_is_an_object_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(read_object(text), dict)


def schema(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


INTEGER, TEXT = {"type": "integer"}, {"type": "string"}
COERCED: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "a number as text": (schema(a=INTEGER), {"a": "2"}, {"a": 2}),
    "a fraction as text": (schema(a={"type": "number"}), {"a": " 2.5 "}, {"a": 2.5}),
    "a whole fraction": (schema(a=INTEGER), {"a": 2.0}, {"a": 2}),
    "half is no integer": (schema(a=INTEGER), {"a": "2.5"}, {"a": "2.5"}),
    "a leading zero would be lost": (schema(a=INTEGER), {"a": "007"}, {"a": "007"}),
    "true as text": (schema(a={"type": "boolean"}), {"a": "true"}, {"a": True}),
    "null as text": (schema(a={"type": ["integer", "null"]}), {"a": "null"}, {"a": None}),
    "a text stays a text": (schema(a=TEXT), {"a": "2"}, {"a": "2"}),
    "a text that may be a number": (schema(a={"type": ["string", "integer"]}), {"a": "2"}, {"a": "2"}),
    "a number as a text": (schema(a=TEXT), {"a": 2}, {"a": "2"}),
    "null for what may be left out": (schema(a=TEXT), {"a": None}, {}),
    "null that is allowed": (schema(a={"type": ["string", "null"]}), {"a": None}, {"a": None}),
    "null that is required": (schema(("a",), a=TEXT), {"a": None}, {"a": None}),
    "what is missing and may be null": (schema(("a",), a={"type": ["string", "null"]}), {}, {"a": None}),
    "what is missing and may not": (schema(("a",), a=TEXT), {}, {}),
    "within lists": (schema(a={"items": INTEGER}), {"a": ["1", 2]}, {"a": [1, 2]}),
    "by reference": ({**schema(a={"$ref": "#/$defs/n"}), "$defs": {"n": INTEGER}}, {"a": "1"}, {"a": 1}),
    "by allOf": ({"allOf": [schema(a=INTEGER)]}, {"a": "1"}, {"a": 1}),
    "by the branch that it is of": (
        {
            "anyOf": [
                schema(("k",), k={"const": "x"}, a=TEXT),
                schema(("k",), k={"const": "y"}, a=INTEGER),
            ]
        },
        {"k": "y", "a": "1"},
        {"k": "y", "a": 1},
    ),
    "the one branch that is not null": (
        schema(a={"anyOf": [INTEGER, {"type": "null"}]}),
        {"a": "1"},
        {"a": 1},
    ),
    "what the schema does not know": (schema(), {"z": "1"}, {"z": "1"}),
    "a map": ({"type": "object", "additionalProperties": INTEGER}, {"z": "1"}, {"z": 1}),
    "an enumeration of numbers": (schema(a={"enum": [1, 2]}), {"a": "2"}, {"a": 2}),
}


@pytest.mark.parametrize("name", COERCED)
def test_coercions_lose_nothing(name: str) -> None:
    rules, value, expected = COERCED[name]
    assert coerce_answer(value, rules) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_schema_that_refers_to_itself_ends(value: Any) -> None:
    assert coerce_answer(value, {"$ref": "#"}) == value
    assert coerce_answer(value, {"allOf": [{"$ref": "#"}]}) == value


NAMES = [f"v{number}" for number in range(20_000)]
KINDS = [{"type": "object", "properties": {"k": {"const": number}}} for number in range(2_000)]
CHAIN = {f"d{number}": {"allOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 2} for number in range(20)}
COSTLY: dict[str, tuple[dict[str, Any], Any]] = {
    "many of many names": (
        schema(a={"items": {"anyOf": [{"enum": NAMES}, INTEGER]}}),
        {"a": NAMES[-1:] * 10_000},
    ),
    "many of many kinds": (schema(a={"items": {"anyOf": KINDS}}), {"a": [{"k": 1_999}] * 1_000}),
    "doubled and doubled": (
        {"$defs": {**CHAIN, "d20": {"minimum": 0}}, "properties": {"a": {"$ref": "#/$defs/d0"}}},
        {"a": "5"},
    ),
    "a value in a value": (schema(a={"anyOf": [INTEGER, {"type": "array"}]}), {"a": [[]] * 20_000}),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_takes_too_many_steps_stays_as_it_is(name: str) -> None:
    costly, value = COSTLY[name]
    started = time.process_time()
    assert coerce_answer(value, costly) == value
    assert time.process_time() - started < 3


def test_an_answer_of_usual_size_is_mended_to_its_end() -> None:
    costly = schema(a={"items": {"anyOf": [schema(n=INTEGER, s={"enum": NAMES[:500]}), {"type": "null"}]}})
    answer = {"a": [{"n": "7", "s": "v1"}] * 500}
    assert coerce_answer(answer, costly) == {"a": [{"n": 7, "s": "v1"}] * 500}
