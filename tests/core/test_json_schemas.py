from __future__ import annotations

import math
from datetime import date
from typing import Any

import pytest

from vvwatch.core.json_schemas import check_json_schema
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
        (nested(20), "levels"),
        (nested(5000), "levels"),
        ({"type": "object", "description": "x" * 70_000}, "characters"),
        ({"type": "object", "required": "x" * 60_000}, "required: 'x"),
        ({"type": "object", "default": date(2026, 9, 21)}, "that JSON cannot"),
        ({"type": "object", "minimum": math.nan}, "that JSON cannot"),
    ],
)
def test_any_other_is_refused_with_the_reason(schema: Any, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as refused:
        check_json_schema(schema)
    assert len(refused.value.message) <= 500
