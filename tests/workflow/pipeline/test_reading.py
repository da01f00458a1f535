from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.processing import FakeProcessor
from vvwatch.errors import (
    BudgetReached,
    MediaUnreadable,
    ModelNotConfigured,
    ProcessorCrashed,
    ProcessorPaused,
    ProcessorUnavailable,
    RunStopped,
    StorageUnavailable,
    Superseded,
    VvwatchError,
)
from vvwatch.ports import Job, Kind
from vvwatch.workflow.pipeline.reading import Reading, to_known_error


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return Reading(FakeClock(), lambda _: FakeStorage(), FakeProcessor(), {}, 3, lambda: 0.0)


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


@pytest.mark.parametrize(
    ("processor", "said"),
    [
        ("", "no processor answers to the model 'gpt-4'; there is: technical"),
        ("gpt", "the processor 'gpt' is no longer in the configuration; there is: technical"),
    ],
)
def test_a_run_whose_processor_is_not_there_is_told_so(reading: Reading, processor: str, said: str) -> None:
    run: Any = SimpleNamespace(processor=processor, settings={"processing_model": "gpt-4"})

    with pytest.raises(ModelNotConfigured, match=said) as refused:
        reading.processor(run)
    assert "retry what failed" in refused.value.hint


def test_what_nobody_foresaw_is_tried_a_few_times_and_then_ends() -> None:
    bug = RuntimeError("bug")
    with pytest.raises(RuntimeError, match="bug"):
        to_known_error(Job(Kind.IMPORT_FILE, "1", 0, 0.0, attempt=5), bug)
    assert "RuntimeError" in to_known_error(Job(Kind.IMPORT_FILE, "1", 0, 0.0, attempt=6), bug).message


def test_of_several_causes_the_one_that_says_most_counts() -> None:
    job = Job(Kind.RUN_ITEM, "1", 0, 0.0)
    away, paused, stopped = ProcessorUnavailable("x"), ProcessorPaused("x"), RunStopped("x")
    lost, unreadable = Superseded("x"), MediaUnreadable("x")
    several: list[tuple[list[Exception], VvwatchError]] = [
        ([unreadable, away], away),
        ([away, paused], paused),
        ([paused, stopped], stopped),
        ([stopped, ExceptionGroup("", [lost, away])], lost),
    ]
    for causes, said in several:
        assert to_known_error(job, ExceptionGroup("", causes)) is said
    with pytest.raises(ExceptionGroup):
        to_known_error(job, ExceptionGroup("", [away, RuntimeError("bug")]))


@pytest.mark.parametrize(
    ("error", "waits", "seconds"),
    [
        (ProcessorUnavailable("x"), 0, 1),
        (ProcessorUnavailable("x"), 50, 150),
        (ProcessorUnavailable("x", "", 200.0), 0, 200),
        (ProcessorUnavailable("x", "", 1e9), 0, 3600),
        (ProcessorPaused("x"), 3, 8),
        (BudgetReached("x", "", 1_000.0), 0, 1_000),
        (BudgetReached("x", "", 90_000.0), 0, 3600),
        (BudgetReached("x", "", -5.0), 0, 1),
    ],
)
def test_a_processor_that_is_away_is_looked_at_now_and_then(
    reading: Reading, error: VvwatchError, waits: int, seconds: float
) -> None:
    now = reading.clock.now()
    if isinstance(error, ProcessorPaused) and error.until is not None:
        error = BudgetReached(error.message, error.hint, now + error.until)
    assert reading._choose_next_look(error, waits) - now == pytest.approx(seconds)
