"""Lossless repairs of an answer: a number given as text, a null for an optional property.

They follow the prompt's own schema. Everything else is left for validation to report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from vvwatch.processors.references import Schema, resolve_schema

_DEEPEST: Final = 64
_MOST_HOPS: Final = 8
_MOST_STEPS: Final = 300_000
_STEPS_OF_A_SCHEMA: Final = 10
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][-+]?[0-9]{1,2})?", re.ASCII)
_EXACT: Final = 2**53
_WORDS: Final = {"true": True, "false": False, "null": None}
_KINDS: Final[Mapping[type, set[str]]] = {
    type(None): {"null"},
    bool: {"boolean"},
    int: {"integer", "number"},
    str: {"string"},
    list: {"array"},
    dict: {"object"},
}
_WORD_TYPES: Final = {"true": "boolean", "false": "boolean", "null": "null"}


def coerce_answer(value: Any, schema: Schema) -> Any:
    """Return the answer converted to its schema, as far as nothing is lost.

    Answers that would take too many steps stay as they are: many values, each with many alternatives.
    """
    return _Coercer(schema).value(value, schema, 0)


class _Coercer:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._steps = 0

    def value(self, value: Any, schema: Any, depth: int) -> Any:
        if self._steps > _MOST_STEPS:
            return value
        parts = [*self._parts(schema, value, 0)]
        if depth > _DEEPEST or not parts:
            return value
        if isinstance(value, dict):
            return self._object(value, parts, depth)
        if isinstance(value, list):
            return [self._item(each, place, parts, depth) for place, each in enumerate(value)]
        return _coerce_scalar(value, _intersect_types([self._types(part, 0) for part in parts]))

    def _object(self, value: dict[str, Any], parts: Sequence[Schema], depth: int) -> dict[str, Any]:
        schemas = _collect_properties(parts)
        required = {name for part in parts if not _is_conditional(part) for name in _required_names(part)}
        whole: dict[str, Any] = {}
        for name, inner in value.items():
            given = schemas.get(name) or _additional_schemas(parts)
            if inner is None and name in schemas and name not in required and not self._all_take_null(given):
                continue
            for schema in given:
                inner = self.value(inner, schema, depth + 1)  # noqa: PLW2901  # each adds to what the last one did
            whole[name] = inner
        missing = [name for name in schemas if name in required and name not in whole]
        return whole | {name: None for name in missing if self._all_take_null(schemas[name])}

    def _item(self, value: Any, place: int, parts: Sequence[Schema], depth: int) -> Any:
        for part in parts:
            first = part.get("prefixItems", ())
            schema = first[place] if place < len(first) else part.get("items", {})
            value = self.value(value, schema, depth + 1)
        return value

    def _parts(self, schema: Any, value: Any, hops: int) -> Iterator[Schema]:
        """Yield the schemas that apply to the value itself: `allOf`, conditions, and the branch that fits it."""
        schema = {**schema, **_resolve_reference(self._root, schema)} if isinstance(schema, Mapping) else {}
        self._steps += _STEPS_OF_A_SCHEMA + len(schema)
        if hops > _DEEPEST or not schema or self._steps > _MOST_STEPS:
            return
        yield schema
        for part in (*schema.get("allOf", ()), *_conditional_parts(schema)):
            yield from self._parts(part, value, hops + 1)
        for word in ("anyOf", "oneOf"):
            branch = self._branch(schema.get(word, ()), value)
            if branch is not None:
                yield from self._parts(branch, value, hops + 1)

    def _branch(self, branches: Sequence[Any], value: Any) -> Any:
        self._steps += len(branches)
        known = [resolve_schema(self._root, each) for each in branches]
        fitting = (each for each in known if isinstance(each, Mapping) and self._seems(value, each))
        first = next(fitting, None)
        if first is not None:
            return first
        others = [each for each in known if self._types(each, 0) != {"null"}]
        return others[0] if len(others) == 1 and value is not None else None

    def _seems(self, value: Any, schema: Schema) -> bool:
        types = self._types(schema, 0)
        if types is not None and not (_type_names(value) & types):
            return False
        if not isinstance(value, dict):
            return "enum" not in schema or value in schema["enum"]
        marks = {
            name: resolve_schema(self._root, each)
            for name, each in _mapping_or_empty(schema, "properties").items()
        }
        return all(_is_marked(value.get(name), mark) for name, mark in marks.items()) and all(
            name in value for name in _required_names(schema)
        )

    def _types(self, schema: Any, hops: int) -> set[str] | None:
        """Return the types that the schema allows; None for any."""
        schema = resolve_schema(self._root, schema)
        if not isinstance(schema, Mapping) or hops > _MOST_HOPS or self._steps > _MOST_STEPS:
            return None
        self._steps += _STEPS_OF_A_SCHEMA + len(schema.get("enum", ())) // 10
        choices = [schema[word] for word in ("anyOf", "oneOf") if isinstance(schema.get(word), list)]
        return _intersect_types(
            [
                _own_types(schema),
                *(self._types(each, hops + 1) for each in schema.get("allOf", ())),
                *(_join_types([self._types(each, hops + 1) for each in choice]) for choice in choices),
            ]
        )

    def _all_take_null(self, schemas: Sequence[Any]) -> bool:
        return all(
            types is None or "null" in types
            for types in (self._types(each, 0) for each in schemas if each is not False)
        ) and not any(each is False for each in schemas)


def _resolve_reference(root: Schema, schema: Schema) -> Schema:
    target = resolve_schema(root, schema)
    return target if target is not schema and isinstance(target, Mapping) else {}


def _collect_properties(parts: Sequence[Schema]) -> dict[str, list[Any]]:
    schemas: dict[str, list[Any]] = {}
    for part in parts:
        for name, schema in _mapping_or_empty(part, "properties").items():
            if schema not in schemas.setdefault(name, []):
                schemas[name].append(schema)
    return schemas


def _conditional_parts(schema: Schema) -> list[Any]:
    held = [schema[word] for word in ("then", "else") if word in schema]
    held += _mapping_or_empty(schema, "dependentSchemas").values()
    return [{**each, "required": ()} for each in held if isinstance(each, Mapping)]


def _is_conditional(part: Schema) -> bool:
    return part.get("required") == ()


def _additional_schemas(parts: Sequence[Schema]) -> list[Any]:
    given = [part.get("additionalProperties") for part in parts]
    return [each for each in given if isinstance(each, Mapping)]


def _required_names(schema: Schema) -> list[str]:
    said = schema.get("required", ())
    return [name for name in said if isinstance(name, str)] if isinstance(said, list) else []


def _mapping_or_empty(schema: Schema, word: str) -> Mapping[str, Any]:
    said = schema.get(word)
    return said if isinstance(said, Mapping) else {}


def _is_marked(value: Any, mark: Any) -> bool:
    """Return whether the property's value may belong to this branch: only constants tell branches apart."""
    if not isinstance(mark, Mapping) or value is None:
        return True
    if "const" in mark:
        return bool(value == mark["const"])
    return not isinstance(mark.get("enum"), list) or value in mark["enum"]


def _type_names(value: Any) -> set[str]:
    if isinstance(value, float):
        return {"number", "integer"} if value.is_integer() else {"number"}
    return _KINDS[type(value)]


def _own_types(schema: Schema) -> set[str] | None:
    said = schema.get("type")
    if isinstance(said, str):
        return {said}
    if isinstance(said, list):
        return {each for each in said if isinstance(each, str)}
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return {kind for value in values for kind in _type_names(value)} if isinstance(values, list) else None


def _join_types(types: Sequence[set[str] | None]) -> set[str] | None:
    known = [each for each in types if each is not None]
    return set().union(*known) if len(known) == len(types) else None


def _intersect_types(allowed: Sequence[set[str] | None]) -> set[str] | None:
    known = [each for each in allowed if each is not None]
    return set.intersection(*known) if known else None


def _coerce_scalar(value: Any, types: set[str] | None) -> Any:
    if types is None:
        return value
    if isinstance(value, float) and "number" not in types and "integer" in types:
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if _type_names(value) & types:
        return value
    if isinstance(value, str):
        return _coerce_text(value, types)
    if isinstance(value, int | float) and not isinstance(value, bool) and types == {"string"}:
        return json.dumps(value)
    return value


def _coerce_text(value: str, types: set[str]) -> Any:
    text = value.strip()
    if _WORD_TYPES.get(text) in types:
        return _WORDS[text]
    if types & {"integer", "number"} and _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if "number" in types and _NUMBER.fullmatch(text) else value
