"""The types and columns that tables have in common; they mean the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Float, Index

metadata = sa.MetaData()


class _PlainText(sa.TypeDecorator[str]):
    """Text on PostgreSQL: ordered by code points, as everywhere else; NUL, which it cannot hold, is replaced."""

    impl = sa.Text
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(collation="C")

    def process_bind_param(self, value: str | None, _dialect: sa.Dialect) -> str | None:
        return value.replace("\0", "\ufffd") if value and "\0" in value else value


class _Document(sa.TypeDecorator[Any]):
    """A JSON document as text; None is NULL."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(sa.Text(collation="C" if dialect.name == "postgresql" else None))

    def process_bind_param(self, value: Any, _dialect: sa.Dialect) -> str | None:
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, _dialect: sa.Dialect) -> Any:
        return None if value is None else json.loads(value)


Text = sa.Text().with_variant(_PlainText(), "postgresql")
Integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def identifier() -> Column[str]:
    """`id`, a readable prefix and a part that sorts by time."""
    return Column("id", Text, primary_key=True)


def moment(name: str) -> Column[float]:
    """Epoch seconds, or NULL."""
    return Column(name, Float)


def text(name: str, default: str = "") -> Column[str]:
    """A text that is never NULL."""
    return Column(name, Text, nullable=False, server_default=default)


def count(name: str, default: int = 0) -> Column[int]:
    """A number that is never NULL."""
    return Column(name, Integer, nullable=False, server_default=str(default))


def flag(name: str, *, default: bool = False) -> Column[bool]:
    """True or false."""
    return Column(name, Boolean, nullable=False, server_default=sa.true() if default else sa.false())


def document(name: str) -> Column[object]:
    """JSON text, or NULL."""
    return Column(name, _Document)


def work() -> tuple[Column[int], Column[float]]:
    """`revision`, the fence, and `next_at`, when the entity is next due (NULL: nothing is left to do)."""
    return count("revision"), moment("next_at")


def add_due_index(table: sa.Table) -> None:
    """Return the index that finds due rows without reading the others."""
    some = table.c.next_at.is_not(None)
    Index(f"{table.name}_due", table.c.next_at, sqlite_where=some, postgresql_where=some)


def add_share_index(table: sa.Table, whole: Column[str], order: Column[int]) -> None:
    """Return the indexes that find the queued and the next pieces of a large whole without reading the rest."""
    busy = table.c.next_at.is_not(None)
    Index(f"{table.name}_busy", whole, table.c.next_at, sqlite_where=busy, postgresql_where=busy)
    fresh = sa.and_(table.c.status == "pending", table.c.next_at.is_(None))
    Index(f"{table.name}_fresh", whole, order, sqlite_where=fresh, postgresql_where=fresh)


FAILED: sa.ColumnElement[str] = sa.literal_column("'failed'")
"""A constant of the statement itself: only then an index of what failed is used."""


def add_attention_index(table: sa.Table, at: Column[float], some: sa.ColumnElement[bool]) -> None:
    """Return the index that finds unresolved failures by time, without reading the rest."""
    Index(f"{table.name}_attention", at, sqlite_where=some, postgresql_where=some)


def add_under_way_index(table: sa.Table) -> None:
    """Return the index that finds unfinished rows without reading ended ones."""
    some = table.c.completed_at.is_(None)
    Index(f"{table.name}_under_way", table.c.id, sqlite_where=some, postgresql_where=some)


def add_failed_index(table: sa.Table, whole: Column[str], some: sa.ColumnElement[bool]) -> None:
    """Return the index that finds the failed pieces of a large whole without reading the others."""
    Index(f"{table.name}_failed", whole, table.c.id, sqlite_where=some, postgresql_where=some)


SKIPPED: sa.ColumnElement[str] = sa.literal_column("'skipped'")
"""As `FAILED`."""


def add_part_index(table: sa.Table, name: str, some: sa.ColumnElement[bool], *columns: Column[Any]) -> None:
    """Return the index that lists a part of the rows in the order of these columns without reading the others."""
    Index(f"{table.name}_{name}", *columns, sqlite_where=some, postgresql_where=some)


def add_delivery_indexes(table: sa.Table) -> None:
    """Return the indexes of a webhook's queued deliveries, its waiting ones, and those that an object waits for."""
    columns, under_way = table.c, table.c.completed_at.is_(None)
    waits = sa.and_(under_way, columns.next_at.is_(None))
    for name, of, some in (
        ("busy", (columns.webhook_id, columns.next_at), columns.next_at.is_not(None)),
        ("waiting", (columns.webhook_id, columns.held, columns.id), waits),
        ("order", (columns.webhook_id, columns.about, columns.place), under_way),
    ):
        Index(f"{table.name}_{name}", *of, sqlite_where=some, postgresql_where=some)
