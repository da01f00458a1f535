"""A real database in a temporary folder, and what a pipeline needs to stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clock import FakeClock
from tests.store.pipeline import RecordingSink
from vvwatch.store.sqlite import SqliteDatabase


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "state" / "vvwatch.db", clock)
    database.sink = RecordingSink()
    with database.opened():
        yield database
