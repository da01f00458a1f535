"""A real database, a clock that stands still, and a storage in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import RecordingSink
from vvwatch.store.sqlite import SqliteDatabase
from vvwatch.telemetry import Telemetry, configure_logging
from vvwatch.workflow.watch import Watcher


class Told(list[tuple[str, dict[str, object]]]):
    """Every event that was emitted."""

    def names(self) -> list[str]:
        return [name for name, _ in self]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "vvwatch.db", clock)
    database.sink = RecordingSink()
    with database.opened():
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
def watcher(
    database: SqliteDatabase, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage
) -> Watcher:
    return Watcher(database, clock, telemetry, lambda _: storage, lambda: 0.5)
