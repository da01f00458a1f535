"""Which JSON Schemas a prompt may have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from vvwatch.errors import InvalidInput

_LONGEST: Final = 65536
_DEEPEST: Final = 32
_LONGEST_REASON: Final = 500
_MOST_TYPES: Final = 7  # of more that are no texts, it takes a minute to find out whether each is named once


def check_json_schema(schema: Any) -> None:
    """Raises InvalidInput unless `schema` describes an object, is sound, small and refers only to itself.

    One that is just small enough takes seconds: too long for an event loop, or for a transaction.
    """
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise InvalidInput('the root of a prompt\'s JSON Schema must have "type": "object"')
    if _depth(schema) > _DEEPEST or _length(schema) > _LONGEST:
        raise InvalidInput(f"a JSON Schema may have {_LONGEST} characters and {_DEEPEST} levels")
    _check_tables(schema)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = error.json_path.removeprefix("$").removeprefix(".") or "its root"
        raise InvalidInput(f"not a JSON Schema: {place}: {error.message}"[:_LONGEST_REASON]) from error


def misfit(schema: Any, sample: Any) -> str | None:
    """Why `schema` is none, or `sample` does not fit it; None when it does. Nothing is fetched.

    A schema can be made so that this takes for ever: whoever got it from outside needs a way to end it.
    """
    try:
        check_json_schema(schema)
        nowhere: Registry[Any] = Registry()
        error = next(Draft202012Validator(schema, registry=nowhere).iter_errors(sample), None)
    except InvalidInput as refused:
        return refused.message[:_LONGEST_REASON]
    except Unresolvable:
        return "the schema refers to something that it does not have"
    except RecursionError:
        return "the schema refers to itself without end"
    return None if error is None else f"{error.json_path}: {error.message}"[:_LONGEST_REASON]


def _check_tables(schema: dict[str, Any]) -> None:
    for table in _tables(schema):
        types = table.get("type")
        if isinstance(types, list) and len(types) > _MOST_TYPES and {*map(type, types)} != {str}:
            raise InvalidInput(f"not a JSON Schema: `type` may name {_MOST_TYPES} types")
        for word in ("$ref", "$dynamicRef"):
            target = table.get(word)
            if isinstance(target, str) and not target.startswith("#"):
                raise InvalidInput(
                    f"a JSON Schema may not refer to {target[:100]!r}", "copy that part under $defs"
                )


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in _inner(value):
        yield from _tables(item)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        depth, level = depth + 1, [item for outer in level for item in _inner(outer)]
    return depth


def _length(schema: dict[str, Any]) -> int:
    try:
        return len(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError):
        hint = "write dates as texts, and finite numbers"
        raise InvalidInput("a JSON Schema holds nothing that JSON cannot", hint) from None


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
