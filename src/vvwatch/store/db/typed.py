"""Turn rows into the dataclasses of `store.models`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import cache
from itertools import starmap
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa

Model = TypeVar("Model")


def columns(model: type[Any], *tables: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    """Return the columns that `model` has fields for, each from the first of `tables` that has one of its name.

    A field that no table has is left out: the query adds it under the field's name.
    """
    found = (next((t.c[name] for t in tables if name in t.c), None) for name in _field_names(model))
    return [column for column in found if column is not None]


def model_of(model: type[Model], row: sa.Row[Any]) -> Model:
    """Return `row` as a `model`, whose fields its columns name. Raises TypeError if the names differ."""
    kind: Any = model
    made: Model = kind(*_order(kind, row._fields)(row))
    return made


@cache
def _order(model: Any, names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return the function from a row with these columns to the arguments of `model`: names cost several times more."""
    wanted = _field_names(model)
    if len(wanted) != len(names) or set(wanted) != set(names):
        differing = ", ".join(sorted(set(wanted) ^ set(names)))
        raise TypeError(f"the columns do not match {model.__name__}: {differing}")
    return tuple if wanted == names else itemgetter(*map(names.index, wanted))


def _field_names(model: Any) -> tuple[str, ...]:
    """Return the fields of a dataclass or a named tuple."""
    if issubclass(model, tuple):
        return tuple(model._fields)
    return tuple(field.name for field in fields(model))


def model_or_none(model: type[Model], row: sa.Row[Any] | None) -> Model | None:
    """Return `row` as a `model`, or None for None."""
    return None if row is None else model_of(model, row)


def models_of(model: type[Model], rows: Iterable[sa.Row[Any]]) -> list[Model]:
    """Return `rows` as a list of `model`."""
    several = list(rows)
    kind: Any = model
    return list(starmap(kind, map(_order(kind, several[0]._fields), several))) if several else []


def first_of(model: type[Model], result: sa.CursorResult[Any] | sa.Result[Any]) -> Model | None:
    """Return the first row of `result` as a `model`, or None without any."""
    return model_or_none(model, result.first())
