"""Validate the JSON Schemas of prompts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, ReferencingError, ValidationError

from vvwatch.errors import InvalidInput

_LONGEST: Final = 65_536
_DEEPEST: Final = 32
_LONGEST_REASON: Final = 500
_MOST_TYPES: Final = 7
_NOT_IN_NAMES: Final = frozenset(".[]")
_OF_VALUES: Final = frozenset({"const", "default", "enum", "examples"})
_OF_NAMED: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})


def check_json_schema(schema: Any) -> None:
    """Raises InvalidInput unless `schema` describes an object and is valid, small and self-contained.

    Nothing is fetched; the largest schema takes a few milliseconds.
    """
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise InvalidInput('the root of a prompt\'s JSON Schema must have "type": "object"')
    _check_size(schema)
    _check_tables(schema)
    _check_names(schema)
    _compile(schema)


def find_misfit(schema: Any, sample: Any) -> str | None:
    """Return why `schema` is invalid or `sample` does not fit it; None when it does. Nothing is fetched.

    A hostile schema can make this run for ever: callers with untrusted schemas need a way to end it.
    """
    try:
        check_json_schema(schema)
        _compile(schema).validate(sample)
    except InvalidInput as refused:
        return refused.message[:_LONGEST_REASON]
    except ValidationError as error:
        return f"${_describe_place(error.instance_path)}: {error.message}"[:_LONGEST_REASON]
    return None


def _compile(schema: dict[str, Any]) -> Draft202012Validator:
    """Return a validator for the schema; it checks patterns and references."""
    try:
        return Draft202012Validator(schema, offline=True)
    except ValidationError as error:
        place = _describe_place(error.instance_path).removeprefix(".") or "its root"
        raise InvalidInput(f"not a JSON Schema: {place}: {error.message}"[:_LONGEST_REASON]) from error
    except (ReferencingError, ValueError) as error:
        raise InvalidInput(f"not a JSON Schema: {error}"[:_LONGEST_REASON]) from error


def _describe_place(path: list[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _check_size(schema: dict[str, Any]) -> None:
    """Check the depth first: a schema nested too deeply cannot even be serialized."""
    if _measure_depth(schema) > _DEEPEST:
        raise InvalidInput(f"a JSON Schema may have {_DEEPEST} levels, and this has more", "make it flatter")
    if (length := _measure_length(schema)) > _LONGEST:
        what = f"a JSON Schema may have {_LONGEST:,} characters, and this has {length:,}"
        raise InvalidInput(what, "ask for fewer fields, in several prompts")


def _check_names(schema: dict[str, Any]) -> None:
    """Reject names with the characters that separate paths such as scene.people[].name."""
    for name in _iter_names(schema):
        if not name or _NOT_IN_NAMES & set(name):
            raise InvalidInput(f"{name[:100]!r} cannot be the name of a field", "leave out . [ and ]")


def _iter_names(schema: dict[str, Any]) -> Iterator[str]:
    """Yield the names of all fields in all parts of the schema."""
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        for keyword, value in part.items() if isinstance(part, dict) else ():
            if keyword in _OF_NAMED and isinstance(value, dict):
                yield from value if keyword == "properties" else ()
                waiting += value.values()
            elif keyword not in _OF_VALUES:
                waiting.append(value)


def _check_tables(schema: dict[str, Any]) -> None:
    for table in _iter_tables(schema):
        types = table.get("type")
        if isinstance(types, list) and len(types) > _MOST_TYPES and {*map(type, types)} != {str}:
            raise InvalidInput(f"not a JSON Schema: `type` may name {_MOST_TYPES} types")
        for word in ("$ref", "$dynamicRef"):
            target = table.get(word)
            if isinstance(target, str) and not target.startswith("#"):
                raise InvalidInput(
                    f"a JSON Schema may not refer to {target[:100]!r}", "copy that part under $defs"
                )


def _iter_tables(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in _inner_values(value):
        yield from _iter_tables(item)


def _measure_depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        depth, level = depth + 1, [item for outer in level for item in _inner_values(outer)]
    return depth


def _measure_length(schema: dict[str, Any]) -> int:
    try:
        return len(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError):
        hint = "write dates as texts, and finite numbers"
        raise InvalidInput("a JSON Schema holds nothing that JSON cannot", hint) from None


def _inner_values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
