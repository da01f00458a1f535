from __future__ import annotations

from pathlib import Path

import pytest

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from vvwatch.errors import InvalidInput, MediaUnreadable, ProcessorCrashed, StorageUnavailable
from vvwatch.ports import Job, Kind
from vvwatch.workflow.reading import Reading, expected


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return Reading(FakeClock(), lambda _: FakeStorage(), {}, "technical", 3, lambda: 0.0)


def test_what_is_final_is_not_tried_again(reading: Reading) -> None:
    assert reading.again_at(MediaUnreadable("no"), attempts=1) is None


def test_a_crash_is_tried_again_a_few_times(reading: Reading) -> None:
    now = reading.clock.now()
    assert reading.again_at(ProcessorCrashed("x"), attempts=1) == now + 2
    assert reading.again_at(ProcessorCrashed("x"), attempts=3) is None


def test_a_storage_that_is_away_is_waited_for(reading: Reading) -> None:
    """Giving up would lose the object."""
    now = reading.clock.now()
    assert reading.again_at(StorageUnavailable("x"), attempts=1000) == now + 150


def test_an_unknown_processor_is_named(reading: Reading) -> None:
    with pytest.raises(InvalidInput, match="no processor 'gpt'"):
        reading.processor("gpt")


def test_what_nobody_foresaw_is_tried_a_few_times_and_then_ends() -> None:
    bug = RuntimeError("bug")
    with pytest.raises(RuntimeError, match="bug"):
        expected(Job(Kind.IMPORT_FILE, "1", 0, 0.0, attempt=5), bug)
    assert "RuntimeError" in expected(Job(Kind.IMPORT_FILE, "1", 0, 0.0, attempt=6), bug).message
