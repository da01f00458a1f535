from __future__ import annotations

import math
import time
from datetime import date
from typing import Any

import pytest

from vvwatch.core.json_schemas import check_json_schema, find_misfit
from vvwatch.errors import InvalidInput


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "integer"}}},
        {"type": "object", "properties": {"$ref": {"type": "string"}}},
        {
            "type": "object",
            "properties": {"a": {"enum": [{"properties": {"b.c": 1}}], "description": "e.g. [1]"}},
        },
        {"type": "object", "$schema": "http://192.0.2.1/never-asked"},
        {"type": "object", "properties": {"child": {"$ref": "#"}}},
        nested(10),
    ],
)
def test_a_sound_schema_of_an_object_may_be_used(schema: dict[str, Any]) -> None:
    check_json_schema(schema)


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({}, "the root"),
        ([], "the root"),
        (None, "the root"),
        ({"type": "array"}, "the root"),
        ({"type": ["object", "null"]}, "the root"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, r"properties\.a\.type"),
        ({"type": "object", "required": "a"}, "not a JSON Schema: required: "),
        ({"type": "object", "properties": {"a": {"type": ["a", *range(9000)]}}}, "`type` may name 7"),
        ({"type": "object", "properties": {"a": {"pattern": "["}}}, "not a JSON Schema"),
        ({"type": "object", "allOf": [{"$ref": "https://example.org/x"}]}, "may not refer to"),
        ({"type": "object", "allOf": [{"$ref": "file:///etc/passwd"}]}, "may not refer to"),
        ({"type": "object", "$dynamicRef": "other.json"}, "may not refer to"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/gone"}}}, "does not exist"),
        (nested(20), "32 levels, and this has more"),
        (nested(100), "32 levels, and this has more"),
        (nested(5000), "32 levels, and this has more"),
        ({"type": "object", "description": "x" * 300_000}, "65,536 characters, and this has 300,"),
        ({"type": "object", "required": "x" * 60_000}, 'required: "x'),
        ({"type": "object", "properties": {"a.b": {}}}, "'a.b' cannot be the name of a field"),
        ({"type": "object", "properties": {"": {}}}, "'' cannot be the name of a field"),
        ({"type": "object", "$defs": {"d": {"properties": {"a[]": {}}}}}, r"'a\[\]' cannot be the name"),
        ({"type": "object", "properties": {"enum": {"properties": {"a]": {}}}}}, "'a]' cannot be the name"),
        (
            {"type": "object", "properties": {"a": {"anyOf": [{"properties": {"[": {}}}]}}},
            "cannot be the name",
        ),
        ({"type": "object", "default": date(2026, 9, 21)}, "that JSON cannot"),
        ({"type": "object", "minimum": math.nan}, "that JSON cannot"),
    ],
)
def test_any_other_is_refused_with_the_reason(schema: Any, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as refused:
        check_json_schema(schema)
    assert len(refused.value.message) <= 500


def wide(fields: int) -> dict[str, Any]:
    field = {"type": "string", "enum": ["a", "b"], "pattern": "^[a-z]{1,100}$"}
    return {"type": "object", "properties": {f"field_{number}": field for number in range(fields)}}


def doubling(levels: int) -> dict[str, Any]:
    """A schema whose references would be 2 to the power of `levels` parts, were they written out."""
    twice = [{"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)]
    parts = {f"d{level}": part for level, part in enumerate([*twice, {"type": "string"}])}
    return {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": parts}


@pytest.mark.parametrize("schema", [wide(800), doubling(500)], ids=["wide", "doubling"])
def test_the_largest_schemas_are_looked_at_quickly(schema: dict[str, Any]) -> None:
    started = time.process_time()
    check_json_schema(schema)
    assert time.process_time() - started < 0.5, (
        "it took 0.2 s to 1 s of CPU by jsonschema, 2 ms by jsonschema-rs"
    )


@pytest.mark.parametrize("schema", [wide(4000), nested(200)], ids=["300 kB", "200 levels"])
def test_what_is_too_large_is_refused_quickly(schema: dict[str, Any]) -> None:
    started = time.process_time()
    with pytest.raises(InvalidInput, match="a JSON Schema may have"):
        check_json_schema(schema)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        ({"people": [{"name": "Ada"}]}, None),
        ({"people": [{"name": 1}]}, '$.people[0].name: 1 is not of type "string"'),
        ({}, '$: "people" is a required property'),
    ],
)
def test_a_sample_is_held_against_a_schema(sample: dict[str, Any], why: str | None) -> None:
    person = {"type": "object", "properties": {"name": {"type": "string"}}}
    people = {"type": "array", "items": person}
    schema = {"type": "object", "properties": {"people": people}, "required": ["people"]}
    assert find_misfit(schema, sample) == why
