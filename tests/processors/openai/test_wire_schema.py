"""What is sent for a schema: within what endpoints take, and without losing a property."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processors.openai.schemas import instances, schemas
from vvwatch.processors.openai.coercion import coerce_answer
from vvwatch.processors.openai.wire_schema import build_wire_schemas
from vvwatch.processors.validation import check_schema, validate


def strict(**properties: Any) -> Any:
    required = properties.pop("required", [])
    wire = build_wire_schemas({"type": "object", "properties": properties, "required": required}).strict
    return None if wire is None else wire["properties"]


CASES: dict[str, tuple[Any, Any]] = {
    "required stays": ({"a": {"type": "string"}, "required": ["a"]}, {"a": {"type": "string"}}),
    "optional may be null": ({"a": {"type": "string"}}, {"a": {"type": ["string", "null"]}}),
    "optional of a list": (
        {"a": {"enum": ["x", "y"]}},
        {"a": {"type": ["string", "null"], "enum": ["x", "y", None]}},
    ),
    "constants are lists of one": (
        {"a": {"const": 3}, "required": ["a"]},
        {"a": {"type": "integer", "enum": [3]}},
    ),
    "bounds are told": (
        {"a": {"type": "number", "minimum": 0, "maximum": 9}, "required": ["a"]},
        {"a": {"type": "number", "description": "(minimum: 0; maximum: 9)"}},
    ),
    "a pattern is told": (
        {"a": {"type": "string", "pattern": "^\\d+$", "description": "A year."}, "required": ["a"]},
        {"a": {"type": "string", "description": 'A year. (pattern: "^\\\\d+$")'}},
    ),
    "true allows all": ({"a": True, "required": ["a"]}, {"a": {}}),
    "false is null": ({"a": False}, {"a": {"type": "null", "description": "leave this null"}}),
    "allOf is one": (
        {"a": {"allOf": [{"type": "string"}, {"description": "A name."}]}, "required": ["a"]},
        {"a": {"type": "string", "description": "A name."}},
    ),
    "oneOf is a choice": (
        {"a": {"oneOf": [{"type": "string"}, {"type": "integer"}]}, "required": ["a"]},
        {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
    ),
    "an optional choice may be null": (
        {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}},
    ),
    "tuples are lists of their kinds": (
        {"a": {"prefixItems": [{"type": "string"}, {"type": "number"}], "items": False}, "required": ["a"]},
        {"a": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "number"}]}}},
    ),
    "objects are closed": (
        {
            "a": {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]},
            "required": ["a"],
        },
        {
            "a": {
                "type": "object",
                "properties": {"b": {"type": "string"}},
                "required": ["b"],
                "additionalProperties": False,
            }
        },
    ),
    "conditions add properties": (
        {
            "a": {
                "type": "object",
                "properties": {"k": {"type": "string"}},
                "then": {"properties": {"t": {"type": "integer"}}},
            },
            "required": ["a"],
        },
        {
            "a": {
                "type": "object",
                "properties": {"t": {"type": ["integer", "null"]}, "k": {"type": ["string", "null"]}},
                "required": ["t", "k"],
                "additionalProperties": False,
            }
        },
    ),
    "a map cannot be closed": ({"a": {"type": "object", "additionalProperties": {"type": "string"}}}, None),
    "an object of anything cannot be closed": ({"a": {"type": "object"}}, None),
    "names by pattern cannot be listed": (
        {"a": {"type": "object", "properties": {"b": {}}, "patternProperties": {"^x": {}}}},
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_strict_form(name: str) -> None:
    given_properties, expected = CASES[name]
    assert strict(**dict(given_properties)) == expected


def test_references_stay_local_and_recursion_ends() -> None:
    tree = {
        "type": "object",
        "properties": {"root": {"$ref": "#/$defs/node"}, "all": {"$ref": "#"}},
        "required": ["root"],
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/node"}},
                "required": ["name"],
            }
        },
    }
    for wire in (build_wire_schemas(tree).strict, build_wire_schemas(tree).loose):
        assert wire is not None
        assert set(wire["$defs"]) == {"node", "root"}
        check_schema(wire)
    assert strict(a={"$ref": "#/$defs/b"}, required=["a"]) == {"a": {"$ref": "#/$defs/b"}}


def test_a_reference_into_a_property_is_kept_as_a_definition() -> None:
    schema = {
        "type": "object",
        "properties": {"one": {"type": "string"}, "two": {"$ref": "#/properties/one"}},
        "required": ["one", "two"],
    }
    wire = build_wire_schemas(schema).strict
    assert wire is not None
    assert wire["properties"]["two"] == {"$ref": "#/$defs/one"}
    assert wire["$defs"] == {"one": {"type": "string"}}


PATTERNS = {
    r"^\d{4}-\d{2}$": "^[0-9]{4}-[0-9]{2}$",
    r"^[\d.]+$": "^[0-9.]+$",
    r"^\w+\s$": r"^[A-Za-z0-9_]+[ \t\n\r]$",
    r"^\.a$": r"^\.a$",
    r"a": None,
    r"^(?=a)b$": None,
    r"^\bx$": None,
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_written_for_small_dialects_or_left_out(pattern: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    wire = build_wire_schemas(schema).loose
    assert wire is not None
    assert wire["properties"]["a"].get("pattern") == PATTERNS[pattern]


def test_a_schema_of_300_kb_or_200_levels_takes_no_long_time() -> None:
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(12_000)}}
    assert build_wire_schemas(wide).strict is not None
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    assert build_wire_schemas(deep).strict is None
    fan: dict[str, Any] = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": {}}
    for level in range(40):
        branch = {"$ref": f"#/$defs/d{level + 1}", "minProperties": level}
        fan["$defs"][f"d{level}"] = {
            "anyOf": [branch, branch],
            "properties": {f"q{level}": {"type": "string"}},
        }
    build_wire_schemas(fan)


def names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for word, rule in schema.items():
            if word == "properties":
                yield from rule
            for inner in rule.values() if word in {"properties", "$defs"} else [rule]:
                yield from names(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from names(inner)


@given(schemas())
def test_no_property_is_lost_and_both_forms_are_schemas(schema: dict[str, Any]) -> None:
    wire = build_wire_schemas(schema)
    for form in (wire.strict, wire.loose):
        if form is not None:
            check_schema(form)
            assert set(names(schema)) <= set(names(form))


@given(st.data())
def test_what_fits_the_wire_fits_the_prompt_but_for_what_is_told(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    wire = build_wire_schemas(schema).strict
    if wire is None:
        return
    answer = data.draw(instances(wire))
    assert validate(wire, answer) == []
    told = {"minLength", "maxLength", "pattern", "minimum", "maximum"}
    misfits = validate(_without(schema, told), coerce_answer(answer, schema))
    assert misfits == []


def _without(schema: Any, words: set[str]) -> Any:
    if isinstance(schema, list):
        return [_without(each, words) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {word: _without(rule, words) for word, rule in schema.items() if word not in words}
