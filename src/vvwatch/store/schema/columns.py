"""The columns that tables have in common."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Float, Index, Integer, Text

metadata = sa.MetaData()


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
    return Column(name, sa.JSON(none_as_null=True))


def work() -> tuple[Column[int], Column[float]]:
    """`revision`, the fence, and `next_at`, when the entity is next due (NULL: nothing is left to do)."""
    return count("revision"), moment("next_at")


def due_index(table: sa.Table) -> None:
    """What is due is found without reading what is not."""
    some = table.c.next_at.is_not(None)
    Index(f"{table.name}_due", table.c.next_at, sqlite_where=some, postgresql_where=some)
