"""The references of a JSON Schema to parts of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

Schema = Mapping[str, Any]

_MOST_HOPS: Final = 16
_MISSING: Final[Schema] = {}


def get_reference(schema: Schema) -> str | None:
    """Return the reference of the schema, or None."""
    target = schema.get("$ref", schema.get("$dynamicRef"))
    return target if isinstance(target, str) else None


def find_target(root: Schema, reference: str) -> Any:
    """Return the part of `root` that `reference` names; if there is none, an empty schema, which allows all."""
    fragment = unquote(reference.partition("#")[2])
    if not fragment.startswith("/"):
        return _find_anchor(root, fragment) if fragment else root
    part: Any = root
    for step in fragment[1:].split("/"):
        part = _take_step(part, step.replace("~1", "/").replace("~0", "~"))
    return part


def resolve_schema(root: Schema, schema: Any) -> Any:
    """Return the schema behind `schema` if that is only a reference, however long the chain.

    Keywords beside the reference are ignored. A cycle ends in a schema that allows all.
    """
    for _ in range(_MOST_HOPS):
        reference = get_reference(schema) if isinstance(schema, Mapping) else None
        if reference is None:
            return schema
        schema = find_target(root, reference)
    return _MISSING


def _take_step(part: Any, step: str) -> Any:
    if isinstance(part, Mapping):
        return part.get(step, _MISSING)
    if isinstance(part, list) and step.isdecimal() and len(step) < 6 and int(step) < len(part):
        return part[int(step)]
    return _MISSING


def _find_anchor(root: Schema, name: str) -> Any:
    found = (
        each for each in _iter_mappings(root) if name in {each.get("$anchor"), each.get("$dynamicAnchor")}
    )
    return next(found, _MISSING)


def _iter_mappings(root: Any) -> Iterator[Schema]:
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
