"""A real database, a clock that stands still, and a storage in memory."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pytest

from tests.clock import FakeClock
from tests.databases import Databases
from tests.fakes import FakeStorage
from tests.store.pipeline import RecordingSink
from vvwatch.store.db.database import Database
from vvwatch.telemetry import Telemetry, configure_logging
from vvwatch.workflow.watching.watcher import Watcher


class Told(list[tuple[str, dict[str, object]]]):
    """Every event that was emitted."""

    def names(self) -> list[str]:
        return [name for name, _ in self]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def database(databases: Databases, dialect: str, clock: FakeClock) -> AsyncIterator[Database]:
    with databases.fresh(dialect, clock) as database:
        database.sink = RecordingSink()
        async with database.opened():
            yield database


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def telemetry(told: Told) -> Telemetry:
    telemetry = Telemetry("test", configure_logging("json", "debug", io.StringIO()))
    telemetry.subscribe(lambda event, fields: told.append((event, dict(fields))))
    return telemetry


@pytest.fixture
def watcher(database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage) -> Watcher:
    return Watcher(database, clock, telemetry, lambda _: storage, lambda: 0.5)
