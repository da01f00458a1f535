"""The columns of a table of results: fixed ones, and those of a prompt's JSON Schema, never of the data.

So the tables of two runs of one prompt have the same columns, whatever was found. Objects with named fields become
dotted columns; lists and whatever has no one type become JSON text. What fits no column is still in `metadata_json`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from vvwatch.core.events import canonical_text

_MOST_COLUMNS: Final = 1_000
_DEEPEST: Final = 8
_LARGEST: Final = 1 << 63


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
        self._nothing = [None] * len(columns)

    def read(self, value: Any) -> list[Any]:
        """Return the values in the order of the columns, None for each that is missing or of another type."""
        if not value or value.__class__ is not dict:
            return self._nothing
        found: list[Any] = []
        _read_fields(value, self._tree, found)
        return found


def _read_fields(value: dict[str, Any], tree: dict[str, Any], found: list[Any]) -> None:
    get, add = value.get, found.append
    for name, below in tree.items():
        field = get(name)
        if below.__class__ is type:
            add(field if field.__class__ is below else None)
        elif below.__class__ is dict:
            _read_fields(field if isinstance(field, dict) else {}, below, found)
        else:
            add(None if field is None else below(field))


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


def _fit_integer(value: Any) -> int | None:
    if value.__class__ is int:
        return value if -_LARGEST <= value < _LARGEST else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, int) and not isinstance(value, bool) and -_LARGEST <= value < _LARGEST
    return value if fits else None


def _fit_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


_FITS: Final[Mapping[Kind, type | Callable[[Any], Any]]] = {
    Kind.TEXT: str,
    Kind.INTEGER: _fit_integer,
    Kind.NUMBER: _fit_number,
    Kind.FLAG: bool,
    Kind.JSON: canonical_text,
}
"""What fits a column: values of exactly a type, or what a function returns for a value that is not None."""
