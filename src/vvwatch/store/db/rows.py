"""Whole tables, row by row in key order and equal on both engines, for copying and comparing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from hashlib import sha256
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.db.event_order import PLACES
from vvwatch.store.schema import facts, nodes, search_documents, search_vectors, tables_of

Row = tuple[Any, ...]
Key = Sequence[str | int]

COPYING: Final = "copying"
INSTALLATION: Final = "installation"
SEARCHABLE: Final = "searchable"
OWN_FACTS: Final = (COPYING, INSTALLATION, SEARCHABLE)
"""Facts about a database, not about its contents."""

_MODULUS: Final = 1 << 128


def domain_tables() -> list[sa.Table]:
    """Return the tables of an installation, each after those it refers to, without the nodes at work now.

    What is searched follows from the others, and is made again on the other side.
    """
    left_out = nodes, search_documents, search_vectors
    return [table for table in tables_of("postgresql") if table not in left_out]


def read_batch(tx: Tx, table: sa.Table, after: Key | None, limit: int) -> list[Row]:
    """Return at most `limit` rows after the key `after` (None: from the first), as the driver has them."""
    keys = tuple(table.primary_key)
    query = sa.select(table).order_by(*keys).limit(limit)
    if after is not None:
        values = (sa.literal(value, column.type) for value, column in zip(after, keys, strict=True))
        query = query.where(sa.tuple_(*keys) > sa.tuple_(*values))
    if table is facts:
        query = query.where(facts.c.name.not_in(OWN_FACTS), ~facts.c.name.startswith(PLACES))
    result = tx.execute(query)
    rows = list(map(tuple, result.cursor.fetchall()))
    result.close()
    return rows


def key_of(table: sa.Table, row: Row) -> Key:
    """Return the primary key of a row of `table`."""
    return [row[position] for position in _key_positions(table)]


@cache
def _key_positions(table: sa.Table) -> tuple[int, ...]:
    names = [column.name for column in table.c]
    return tuple(names.index(column.name) for column in table.primary_key)


def normalize_rows(table: sa.Table, rows: Iterable[Row]) -> list[Row]:
    """Return `rows` as either engine can store them: no NUL in texts, truth as bool, one zero among floats."""
    forms = _forms(table)
    return [tuple([form(value) for form, value in zip(forms, row, strict=True)]) for row in rows]


@cache
def _forms(table: sa.Table) -> tuple[Callable[[Any], Any], ...]:
    return tuple(_form(column.type) for column in table.c)


def _form(kind: sa.types.TypeEngine[Any]) -> Callable[[Any], Any]:
    stored = kind.impl_instance if isinstance(kind, sa.types.TypeDecorator) else kind
    if isinstance(stored, sa.Boolean):
        return _truth
    if isinstance(stored, sa.Float):
        return _number
    return _text if isinstance(stored, sa.Text) else _same


def _truth(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _number(value: float | None) -> float | None:
    return None if value is None else value + 0.0


def _text(value: str | None) -> str | None:
    return value.replace("\0", "\ufffd") if value and "\0" in value else value


def _same(value: Any) -> Any:
    return value


def digest_rows(rows: Iterable[Row]) -> int:
    """Return a digest of the rows that ignores their order; digests of parts add up (see `add_digests`)."""
    return sum(int.from_bytes(sha256(repr(row).encode()).digest()[:16]) for row in rows) % _MODULUS


def add_digests(one: int, other: int) -> int:
    """Return the digest of both parts together."""
    return (one + other) % _MODULUS
