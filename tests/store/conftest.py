"""A real database in a temporary folder, and what a pipeline needs to stand in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.clock import FakeClock
from tests.databases import Databases
from tests.store.pipeline import RecordingSink
from vvwatch.store.db.database import Database


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def database(databases: Databases, dialect: str, clock: FakeClock) -> AsyncIterator[Database]:
    with databases.fresh(dialect, clock) as database:
        database.sink = RecordingSink()
        async with database.opened():
            yield database
