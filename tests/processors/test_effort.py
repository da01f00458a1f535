"""A schema that was made to take for ever takes no long time."""

from __future__ import annotations

import time
from typing import Any

import pytest

from vvwatch.processors.effort import count_steps
from vvwatch.processors.validation import validate

TEXT = {"type": "string"}


def chain(length: int) -> dict[str, Any]:
    twice = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{length}": {"type": "integer"}}}


def tree() -> dict[str, Any]:
    inner = {"properties": {"a": {"$ref": "#"}}}
    return {"allOf": [inner, dict(inner)], "type": "object"}


def nested(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = {"a": leaf}
    return leaf


COUNTED = [
    (TEXT, "x", 1),
    ({"items": TEXT}, ["x"] * 10, 11),
    ({"properties": {"a": TEXT, "b": TEXT}}, {"a": 1}, 2),
    ({"$ref": "#"}, 1, 1),
    (chain(2), 1, 14),
]


@pytest.mark.parametrize(("schema", "value", "expected"), COUNTED)
def test_steps_are_counted(schema: dict[str, Any], value: Any, expected: int) -> None:
    assert count_steps(schema, value) == expected


HOSTILE = {
    "a chain": (chain(60), 1),
    "a chain that does not fit": (chain(60), "x"),
    "a tree": (tree(), nested(40, {})),
    "a tree that does not fit": (tree(), nested(40, 5)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_take_for_ever_says_so(name: str) -> None:
    schema, value = HOSTILE[name]
    assert validate(schema, value) == ["$: it takes too many steps to hold the value against the schema"]


def test_of_a_million_errors_the_first_is_told() -> None:
    started = time.process_time()
    told = validate({"items": TEXT}, [1] * 300_000)
    assert told == ['$[0]: the value is not of type "string"']
    assert time.process_time() - started < 10


def test_what_is_only_deep_is_validated() -> None:
    schema = {"properties": {"a": {"$ref": "#"}}, "type": "object"}
    assert validate(schema, nested(60, {})) == []
    assert validate(schema, nested(60, 5)) == [f'${".a" * 60}: the value is not of type "object"']
