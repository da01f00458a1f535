"""Flattens a JSON Schema that is spread over several: `allOf`, references beside keywords, conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vvwatch.processors.references import Schema, find_target, get_reference

_DEEPEST: Final = 16
_SPREAD: Final = {"allOf", "$ref", "$dynamicRef", "if", "then", "else", "dependentSchemas"}
_PRIVATE: Final = {"$defs", "definitions", "$schema", "$id", "$comment", "$anchor", "$dynamicAnchor"}


def flatten_schema(root: Schema, schema: Schema, depth: int = 0) -> dict[str, Any]:
    """Return the rules of a schema in one table, without those that it only refers to in other places.

    Conditional parts add optional properties and no rule.
    """
    whole = {word: rule for word, rule in schema.items() if word not in _SPREAD | _PRIVATE}
    if depth > _DEEPEST:
        return whole
    for part, is_certain in _iter_parts(root, schema):
        if isinstance(part, Mapping):
            inner = flatten_schema(root, part, depth + 1)
            whole = _merge_schemas(whole, inner, is_certain=is_certain)
            for branch in () if is_certain else (*inner.get("anyOf", ()), *inner.get("oneOf", ())):
                whole = _merge_schemas(
                    whole, flatten_schema(root, {"allOf": [branch]}, depth + 2), is_certain=False
                )
        elif part is False and is_certain:
            whole["type"] = "null"
    return whole


def _iter_parts(root: Schema, schema: Schema) -> Iterator[tuple[Any, bool]]:
    reference = get_reference(schema)
    if reference is not None:
        yield find_target(root, reference), True
    for part in schema.get("allOf", ()):
        yield part, True
    for word in ("if", "then", "else"):
        if word in schema:
            yield schema[word], False
    dependent = schema.get("dependentSchemas")
    if isinstance(dependent, Mapping):
        for part in dependent.values():
            yield part, False


def _merge_schemas(one: Schema, other: Schema, *, is_certain: bool) -> dict[str, Any]:
    whole = dict(one) if is_certain is False else {**other, **one}
    if "properties" in one or "properties" in other:
        whole["properties"] = _merge_properties(one.get("properties", {}), other.get("properties", {}))
    if not is_certain:
        return whole
    for word, join in _JOINS.items():
        if word in one and word in other:
            whole[word] = join(one[word], other[word])
    for word in ("anyOf", "oneOf"):
        if word in one and word in other and one[word] != other[word]:
            whole[word] = [{"allOf": [mine, {word: other[word]}]} for mine in one[word]]
    return whole


def _merge_properties(one: Schema, other: Schema) -> dict[str, Any]:
    both = {
        name: {"allOf": [one[name], other[name]]}
        for name in one
        if name in other and one[name] != other[name]
    }
    return {**other, **one, **both}


def _merge_types(one: Any, other: Any) -> Any:
    mine, yours = ([each] if isinstance(each, str) else each for each in (one, other))
    common = [each for each in mine if each in yours or (each == "integer" and "number" in yours)]
    common += [each for each in yours if each == "integer" and "number" in mine and each not in common]
    return common or one


def _merge_values(one: Any, other: Any) -> Any:
    return [each for each in one if each in other] or one


def _merge_names(one: Any, other: Any) -> Any:
    return [*one, *(name for name in other if name not in one)]


def _merge_items(one: Any, other: Any) -> Any:
    return one if one == other else {"allOf": [one, other]}


def _merge_words(one: Any, other: Any) -> Any:
    return one if one == other else f"{one} {other}"


_JOINS: Final = {
    "type": _merge_types,
    "enum": _merge_values,
    "required": _merge_names,
    "items": _merge_items,
    "description": _merge_words,
}
