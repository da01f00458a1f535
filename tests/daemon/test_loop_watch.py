"""What blocks the event loop is timed, named and counted; the clock of these tests moves by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from vvwatch.daemon.loop_watch import LoopWatch
from vvwatch.telemetry import Telemetry


@dataclass
class Watched:
    """A watch whose clock is `now`, and what it reports."""

    now: float = 100.0
    told: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.telemetry = Telemetry("1")
        self.telemetry.subscribe(lambda event, fields: self.told.append((event, dict(fields))))
        self.watch = LoopWatch(lambda: self.now)

    def look(self) -> None:
        """As the watch's own thread does."""
        thread = threading.Thread(target=self.watch.look, args=(self.telemetry,))
        thread.start()
        thread.join()

    def run(self, *parts: Callable[[], None]) -> None:
        """Run each of `parts` in a turn of its own of a loop that is watched."""

        async def turns() -> None:
            for part in parts:
                part()
                await asyncio.sleep(0)

        with asyncio.Runner(loop_factory=self.watch.loop) as runner:
            runner.run(turns())

    def blocks(self) -> list[Mapping[str, Any]]:
        return [fields for event, fields in self.told if event == "loop.blocked"]

    def metric(self, name: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"vvwatch_event_loop_{name}")


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_long_turn_is_reported_with_its_place_in_the_code(watched: Watched) -> None:
    def slow() -> None:
        watched.now += 0.3
        watched.look()
        watched.now += 0.1

    watched.run(lambda: None, slow, lambda: None)
    assert watched.blocks() == [], "it is told when it is over, with all of its time"

    watched.look()
    (block,) = watched.blocks()
    assert block["seconds"] == 0.4
    assert "test_a_long_turn_is_reported_with_its_place_in_the_code.<locals>.slow" in block["stack"]
    assert block["where"] == block["stack"].partition(" < ")[0]
    assert watched.metric("blocks_total") == 1
    assert watched.metric("blocked_seconds") == 0.4


def test_a_turn_below_the_bound_is_measured_and_not_reported(watched: Watched) -> None:
    def brisk() -> None:
        watched.now += 0.2

    watched.run(brisk, lambda: None)
    watched.look()

    assert watched.blocks() == []
    assert watched.metric("blocks_total") == 0
    assert watched.metric("blocked_seconds") == pytest.approx(0.2)


def test_waiting_blocks_nobody(watched: Watched) -> None:
    watched.watch.turn_begins()
    watched.watch.turn_ends()
    watched.now += 3600
    watched.watch.turn_begins()
    watched.watch.turn_ends()

    assert watched.watch.longest() == 0.0


def test_the_longest_block_is_that_of_the_last_minute(watched: Watched) -> None:
    def of(seconds: float) -> None:
        watched.watch.turn_begins()
        watched.now += seconds
        watched.watch.turn_ends()

    of(2.0)
    watched.now += 30
    of(0.1)
    of(0.5)
    assert watched.watch.longest() == pytest.approx(2.0)
    watched.now += 40
    assert watched.watch.longest() == pytest.approx(0.5)
    watched.now += 40
    assert watched.watch.longest() == 0.0


def test_what_keeps_every_thread_from_running_is_found(watched: Watched) -> None:
    """While the loop waits for an event that it would not have heard of."""
    watched.look()
    watched.now += 1.25
    watched.look()

    (block,) = watched.blocks()
    assert block["where"] == "outside the event loop"
    assert block["seconds"] == 1.0


def test_blocks_at_one_place_are_logged_once_and_counted(watched: Watched) -> None:
    def slow() -> None:
        watched.now += 0.3
        watched.look()

    watched.run(slow, slow, slow, lambda: None)
    watched.look()

    assert len(watched.blocks()) == 3, "subscribers hear each"
    assert watched.metric("blocks_total") == 3


def test_the_watch_reports_from_a_thread_that_ends_with_it(watched: Watched) -> None:
    threads = threading.active_count()
    watch, heard = LoopWatch(), threading.Event()
    watched.telemetry.subscribe(lambda event, _: heard.set() if event == "loop.measured" else None)

    with watch.reporting(watched.telemetry):
        assert threading.active_count() == threads + 1
        assert heard.wait(30)

    assert threading.active_count() == threads
