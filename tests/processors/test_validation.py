"""Answers from outside: bounded when read, exact about what does not fit."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import anyio
import pytest

from vvwatch.errors import InvalidInput
from vvwatch.processors.validation import call_in_thread, check_schema, parse_object, validate, validator_of

PEOPLE = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "people": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    },
    "required": ["count"],
    "additionalProperties": False,
}


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("value", "misfits"),
    [
        ({"count": 1, "people": [{"name": "Ada"}]}, []),
        ({}, ['$: "count" is a required property']),
        ({"count": "1"}, ['$.count: the value is not of type "integer"']),
        (
            {"count": 1, "people": [{"name": "Ada"}, {"name": 7}]},
            ['$.people[1].name: the value is not of type "string"'],
        ),
        (
            {"count": 1, "mood": "x"},
            ["$: Additional properties are not allowed ('mood' was unexpected)"],
        ),
    ],
)
def test_each_misfit_is_told_with_its_place(value: Any, misfits: list[str]) -> None:
    assert validate(PEOPLE, value) == misfits


def test_many_values_are_held_against_one_large_schema_in_no_time() -> None:
    large = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(8_000)}}
    validator = validator_of(large)
    started = time.process_time()

    assert all(validator({"p1": "a"}) == [] for _ in range(20_000))
    assert time.process_time() - started < 5


def test_misfits_are_bounded_and_never_repeat_the_value() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    value = {f"{number}{'k' * 1000}": "secret" for number in range(1000)}

    told = validate(schema, value)

    assert len(told) == 20
    assert max(map(len, told)) <= 301
    assert not any("secret" in line for line in told)


@pytest.mark.parametrize("target", ["http://127.0.0.1:9/x", "file:///etc/passwd", "#/$defs/nowhere"])
def test_a_schema_that_refers_elsewhere_is_refused_and_nothing_is_fetched(target: str) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": target}}}

    with pytest.raises(InvalidInput, match="not a JSON Schema"):
        check_schema(schema)
    with pytest.raises(InvalidInput, match="not a JSON Schema"):
        validate(schema, {})


def test_a_schema_may_refer_to_itself() -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}, "n": {"type": "integer"}}}

    assert validate(schema, {"child": {"child": {"n": "x"}}}) == [
        '$.child.child.n: the value is not of type "integer"'
    ]


def test_a_pattern_of_catastrophe_takes_no_time() -> None:
    schema = {"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}}

    assert validate(schema, {"a": "a" * 5000 + "b"}) == ['$.a: the value does not match "^(a+)+$"']


def test_one_object_is_parsed() -> None:
    assert parse_object(b' {"a": [1, 2.5, null, true, "\\u00e9\\u0000"]}\n', 100) == {
        "a": [1, 2.5, None, True, "é\0"]
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b"[1]", "no JSON object but an array"),
        (b"null", "no JSON object but null"),
        (b"true", "no JSON object but true or false"),
        (b'"a"', "no JSON object but a string"),
        (b"1", "no JSON object but a number"),
        (b'{"a": 1} {"a": 2}', "Extra data"),
        (b'log line\n{"a": 1}', "Expecting value"),
        (b'{"a": NaN}', "not JSON compliant"),
        (b'{"a": 1e999}', "not JSON compliant"),
        (b'{"a": -Infinity}', "not JSON compliant"),
        (b'{"a": "\\ud800"}', "half of a character"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": ' + b"1" * 5000 + b"}", "integer string conversion$"),
        (json.dumps({"a": "x" * 2_000_000}).encode(), "more than 1,000,000 bytes"),
        (nested(65), "nested deeper than 64 levels"),
        (nested(5_000), "nested deeper than 64 levels"),
        (b"[" * 500_000, "nested deeper than 64 levels"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_object(text, 1_000_000)


def test_more_values_than_can_be_read_in_no_time_are_refused_unread() -> None:
    with pytest.raises(ValueError, match="more than 500,000 values"):
        parse_object(b'{"a": [' + b"[]," * 5_000_000 + b"1]}", 16 << 20)
    assert len(parse_object(b'{"a": [' + b"1," * 400_000 + b"1]}", 16 << 20)["a"]) == 400_001


def test_the_deepest_that_is_allowed_is_read() -> None:
    assert parse_object(nested(64), 1000)


@pytest.mark.anyio
async def test_others_go_on_while_a_long_answer_is_read() -> None:
    heard = threading.Event()
    async with anyio.create_task_group() as tasks:

        async def go_on() -> None:
            heard.set()

        tasks.start_soon(go_on)
        assert await call_in_thread(1_000_000, heard.wait, 30)
