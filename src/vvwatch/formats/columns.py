"""The columns of a table of results: fixed ones, and those of a prompt's JSON Schema, never of the data.

So the tables of two runs of one prompt have the same columns, whatever was found. Objects with named fields become
dotted columns; lists and whatever has no one type become JSON text. What fits no column is still in `metadata_json`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import NoneType
from typing import Any, Final

from vvwatch.formats.json_texts import canonical_texts

_MOST_COLUMNS: Final = 1_000
_DEEPEST: Final = 8
_LARGEST: Final = 1 << 63
_NOTHING: Final[Mapping[str, Any]] = {}


class Kind(StrEnum):
    """The type of a column. An `ID` is a text that vvwatch made itself, so it is plain."""

    ID = "id"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    MOMENT = "moment"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its type, and the keys that lead to its value."""

    name: str
    kind: Kind
    path: tuple[str, ...] = ()


def fixed_columns(**kinds: Kind) -> tuple[Column, ...]:
    """Return the columns of these names and types."""
    return tuple(Column(name, kind) for name, kind in kinds.items())


class Reader:
    """Reads the values of columns that `schema_columns` returned."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._tree: dict[str, Any] = {}
        for column in columns:
            node = self._tree
            for step in column.path[:-1]:
                node = node.setdefault(step, {})
            node[column.path[-1]] = _FITS[column.kind]

    def read(self, values: Iterable[Any]) -> list[Sequence[Any]]:
        """Return the columns of `values`, None for what is missing or of another type."""
        found: list[Sequence[Any]] = []
        _read_fields(values, self._tree, found.append)
        return found


def _read_fields(
    values: Iterable[Any], tree: Mapping[str, Any], add: Callable[[Sequence[Any]], None]
) -> None:
    objects = [value if value.__class__ is dict else _NOTHING for value in values]
    for name, below in tree.items():
        fields = [each.get(name) for each in objects]
        if below.__class__ is dict:
            _read_fields(fields, below, add)
        else:
            add(below(fields))


def schema_columns(schema: Any, first: str) -> list[Column]:
    """Return the columns of what `schema` describes; their names begin with `first`.

    Of two names that differ only in case the second gets none: readers could not tell them apart.
    """
    found: dict[str, Column] = {}
    for path, kind in _iter_leaves(schema, schema, ()):
        name = ".".join((first, *path)).encode("utf-8", "backslashreplace").decode()
        if path:
            found.setdefault(name.casefold(), Column(name, kind, path))
        if len(found) == _MOST_COLUMNS:
            break
    return list(found.values())


def _iter_leaves(schema: Any, root: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Kind]]:
    schema = _simplify(schema, root)
    fields = schema.get("properties")
    if _kind_of(schema) is None and isinstance(fields, Mapping) and fields and len(path) < _DEEPEST:
        for name, field in fields.items():
            yield from _iter_leaves(field, root, (*path, name))
    else:
        yield path, _kind_of(schema) or Kind.JSON


def _simplify(schema: Any, root: Any) -> Mapping[str, Any]:
    """Return the schema behind references and behind "this or null"; an empty one if there are several."""
    for _ in range(_DEEPEST):
        if not isinstance(schema, Mapping):
            return {}
        if isinstance(target := schema.get("$ref"), str):
            schema = _resolve(target, root)
        elif choices := next((schema[name] for name in ("anyOf", "oneOf", "allOf") if name in schema), None):
            left = [each for each in choices if each != {"type": "null"}]
            schema = left[0] if len(left) == 1 else {}
        else:
            return schema
    return {}


def _resolve(target: str, root: Any) -> Any:
    if target == "#":
        return root
    found = root
    for step in target.removeprefix("#/").split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


_KINDS: Final = {
    frozenset({"string"}): Kind.TEXT,
    frozenset({"integer"}): Kind.INTEGER,
    frozenset({"number"}): Kind.NUMBER,
    frozenset({"integer", "number"}): Kind.NUMBER,
    frozenset({"boolean"}): Kind.FLAG,
}


def _kind_of(schema: Mapping[str, Any]) -> Kind | None:
    """Return the type of a value; JSON for several types or a list, None for an object."""
    types = schema.get("type")
    if types is None and ("enum" in schema or "const" in schema):
        values = schema.get("enum", [schema.get("const")])
        types = [_type_of(value) for value in values]
    named = frozenset([types] if isinstance(types, str) else types or ()) - {"null"}
    if named == {"object"} or (not named and "properties" in schema):
        return None
    return _KINDS.get(named, Kind.JSON)


def _type_of(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    return names.get(type(value), "object")


def _fit_exactly(kind: type, values: Sequence[Any]) -> Sequence[Any]:
    if set(map(type, values)) <= {kind, NoneType}:
        return values
    return [value if value.__class__ is kind else None for value in values]


def _fit_integers(values: Sequence[Any]) -> Sequence[Any]:
    found = [value for value in values if value is not None]
    if set(map(type, found)) == {int} and min(found) >= -_LARGEST and max(found) < _LARGEST:
        return values
    return list(map(_fit_integer, values))


def _fit_integer(value: Any) -> int | None:
    is_whole = value.__class__ is int or (isinstance(value, float) and value.is_integer())
    return int(value) if is_whole and -_LARGEST <= value < _LARGEST else None


def _fit_numbers(values: Sequence[Any]) -> Sequence[Any]:
    found = [value for value in values if value is not None]
    if set(map(type, found)) == {float} and all(map(math.isfinite, found)):
        return values
    return list(map(_fit_number, values))


def _fit_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _fit_json(values: Sequence[Any]) -> Sequence[Any]:
    return [
        None if value is None else text for value, text in zip(values, canonical_texts(values), strict=True)
    ]


_FITS: Final[Mapping[Kind, Callable[[Sequence[Any]], Sequence[Any]]]] = {
    Kind.TEXT: partial(_fit_exactly, str),
    Kind.INTEGER: _fit_integers,
    Kind.NUMBER: _fit_numbers,
    Kind.FLAG: partial(_fit_exactly, bool),
    Kind.JSON: _fit_json,
}
"""What becomes of the values of a column: None for each that does not fit."""
