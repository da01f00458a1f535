"""The calendar of chores."""

from __future__ import annotations

import logging

import anyio
import pytest
import structlog
from structlog.testing import capture_logs

from vvwatch.daemon.chores import Calendar
from vvwatch.errors import StorageUnavailable
from vvwatch.telemetry import Telemetry

pytestmark = pytest.mark.anyio


@pytest.fixture
def calendar() -> Calendar:
    return Calendar(Telemetry("test", structlog.get_logger()))


async def test_a_chore_that_fails_is_reported_and_runs_again(
    calendar: Calendar, caplog: pytest.LogCaptureFixture
) -> None:
    again = anyio.Event()
    runs = 0

    async def fail() -> None:
        nonlocal runs
        runs += 1
        if runs > 1:
            again.set()
        raise StorageUnavailable("the disk is gone")

    calendar.add("measure", fail, 0.05, 0)
    with capture_logs() as events:
        async with calendar.running():
            with anyio.fail_after(10):
                await again.wait()
    failed = next(event for event in events if event["event"] == "task.failed")
    assert failed["task"] == "measure"
    assert "the disk is gone" in str(failed)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_chore_that_the_stop_cancels_is_no_failure(calendar: Calendar) -> None:
    begun = anyio.Event()

    async def wait() -> None:
        begun.set()
        await anyio.sleep_forever()

    calendar.add("deletions", wait, 60, 0)
    with capture_logs() as events:
        async with calendar.running():
            await begun.wait()
        await anyio.wait_all_tasks_blocked()
    assert [event["event"] for event in events] == []


async def test_a_wall_clock_that_is_set_back_stops_no_chore(calendar: Calendar) -> None:
    """Two hours back, a chore of each minute is due in two hours: it runs as soon as that is noticed."""
    done = anyio.Event()

    async def chore() -> None:
        done.set()

    calendar.add("deletions", chore, every_seconds=60, first_seconds=7200)
    async with calendar.running():
        calendar.follow_clock()
        with anyio.fail_after(10):
            await done.wait()


async def test_a_chore_that_is_due_in_time_is_left_alone(calendar: Calendar) -> None:
    async def chore() -> None:
        pytest.fail("this was not due")

    calendar.add("retention", chore, every_seconds=3600, first_seconds=600)
    async with calendar.running():
        calendar.follow_clock()
        await anyio.wait_all_tasks_blocked()


async def test_a_chore_under_way_is_not_started_twice(calendar: Calendar) -> None:
    started, release = anyio.Event(), anyio.Event()
    under_way = 0

    async def chore() -> None:
        nonlocal under_way
        under_way += 1
        started.set()
        await release.wait()
        under_way -= 1

    calendar.add("orphans", chore, every_seconds=3600, first_seconds=0)
    async with calendar.running():
        with anyio.fail_after(10):
            await started.wait()
        calendar.run_now("orphans")
        await anyio.wait_all_tasks_blocked()
        assert under_way == 1
        release.set()


async def test_a_chore_that_is_wanted_while_it_runs_runs_once_more(calendar: Calendar) -> None:
    """What was deleted meanwhile, the removal of orphans under way may have passed already."""
    started, release, again = anyio.Event(), anyio.Event(), anyio.Event()
    runs = 0

    async def remove() -> None:
        nonlocal runs
        runs += 1
        if runs > 1:
            again.set()
        started.set()
        await release.wait()

    calendar.add("orphans", remove, every_seconds=3600, first_seconds=0)
    async with calendar.running():
        with anyio.fail_after(10):
            await started.wait()
            calendar.run_now("orphans")
            calendar.run_now("orphans")
            await anyio.wait_all_tasks_blocked()
            assert runs == 1
            release.set()
            await again.wait()
        await anyio.wait_all_tasks_blocked()
    assert runs == 2
