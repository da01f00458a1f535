"""Rows become models by the names of their columns, in whatever order the query has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from vvwatch.store.db.typed import first_of, models_of


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int


class Pair(NamedTuple):
    x: int
    y: int


@pytest.fixture
def conn() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def test_columns_find_their_fields_in_any_order(conn: sa.Connection) -> None:
    for query in ("SELECT 1 AS x, 2 AS y", "SELECT 2 AS y, 1 AS x"):
        assert models_of(Point, conn.execute(sa.text(query))) == [Point(1, 2)]
        assert first_of(Pair, conn.execute(sa.text(query))) == Pair(1, 2)


@pytest.mark.parametrize("query", ["SELECT 1 AS x", "SELECT 1 AS x, 2 AS y, 3 AS z", "SELECT 1 AS x, 2 AS z"])
def test_a_column_too_few_or_too_many_is_an_error(conn: sa.Connection, query: str) -> None:
    with pytest.raises(TypeError, match=r"[yz]"):
        first_of(Point, conn.execute(sa.text(query)))
