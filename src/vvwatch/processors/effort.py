"""Counts the steps of validating a value against a JSON Schema without taking them.

Each rule of a short schema may refer twice to the next one, so the last is applied a million times. The counter
visits every pair of a schema and a value once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vvwatch.processors.references import Schema, find_target, get_reference

_MOST_PAIRS: Final = 100_000
_SAME: Final = ("allOf", "anyOf", "oneOf")
_SAME_ONE: Final = ("not", "if", "then", "else")
_ALL_ITEMS: Final = ("items", "contains", "unevaluatedItems")
_ALL_VALUES: Final = ("additionalProperties", "unevaluatedProperties")


def count_steps(schema: Schema, value: Any) -> float:
    """Return an upper bound of the steps; infinite if even counting takes too long."""
    try:
        return _StepCounter(schema).of(schema, value)
    except (_TooMany, RecursionError):
        return float("inf")


class _TooMany(Exception):
    """There are too many pairs to visit."""


class _StepCounter:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._known: dict[tuple[int, int], float] = {}
        self._targets: dict[str, Any] = {}

    def of(self, schema: Any, value: Any) -> float:
        if not isinstance(schema, Mapping):
            return 1
        pair = id(schema), id(value)
        known = self._known.get(pair)
        if known is not None:
            return known
        if len(self._known) >= _MOST_PAIRS:
            raise _TooMany
        self._known[pair] = 0  # a cycle is not walked twice
        counted = 1 + sum(self.of(inner, part) for inner, part in self._list_applied(schema, value))
        self._known[pair] = counted
        return counted

    def _list_applied(self, schema: Schema, value: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the schemas that this one applies, each with the value it applies to."""
        reference = get_reference(schema)
        if reference is not None:
            yield self._target(reference), value
        same = [inner for word in _SAME for inner in _list_or_empty(schema.get(word))]
        same += [schema[word] for word in _SAME_ONE if word in schema]
        same += _mapping_or_empty(schema.get("dependentSchemas")).values()
        yield from ((inner, value) for inner in same)
        if isinstance(value, dict):
            yield from _pair_properties(schema, value)
        elif isinstance(value, list):
            yield from _pair_items(schema, value)

    def _target(self, reference: str) -> Any:
        if reference not in self._targets:
            self._targets[reference] = find_target(self._root, reference)
        return self._targets[reference]


def _pair_properties(schema: Schema, value: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    for name, inner in _mapping_or_empty(schema.get("properties")).items():
        if name in value:
            yield inner, value[name]
    others = [schema.get(word) for word in _ALL_VALUES]
    for inner in (*_mapping_or_empty(schema.get("patternProperties")).values(), *others):
        if isinstance(inner, Mapping):
            yield from ((inner, part) for part in value.values())
    if isinstance(schema.get("propertyNames"), Mapping):
        yield from ((schema["propertyNames"], name) for name in value)


def _pair_items(schema: Schema, value: list[Any]) -> Iterator[tuple[Any, Any]]:
    yield from zip(_list_or_empty(schema.get("prefixItems")), value, strict=False)
    for word in _ALL_ITEMS:
        if isinstance(schema.get(word), Mapping):
            yield from ((schema[word], part) for part in value)


def _list_or_empty(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping_or_empty(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
