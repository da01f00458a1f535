"""Which JSON Schemas a prompt may have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from vvwatch.errors import InvalidInput

_LONGEST: Final = 65536
_DEEPEST: Final = 32


def check_json_schema(schema: Any) -> None:
    """Raises InvalidInput unless `schema` describes an object, is sound, small and refers only to itself."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise InvalidInput('the root of a prompt\'s JSON Schema must have "type": "object"')
    if _depth(schema) > _DEEPEST or len(json.dumps(schema, default=str)) > _LONGEST:
        raise InvalidInput(f"a JSON Schema may have {_LONGEST} characters and {_DEEPEST} levels")
    _check_references(schema)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = error.json_path.removeprefix("$").removeprefix(".") or "its root"
        raise InvalidInput(f"not a JSON Schema: {place}: {error.message}") from error


def _check_references(schema: dict[str, Any]) -> None:
    for table in _tables(schema):
        for word in ("$ref", "$dynamicRef"):
            target = table.get(word)
            if isinstance(target, str) and not target.startswith("#"):
                raise InvalidInput(f"a JSON Schema may not refer to {target!r}", "copy that part under $defs")


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


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
