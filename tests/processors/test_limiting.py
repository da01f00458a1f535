from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import anyio
import pytest

from tests.clock import FakeClock
from vvwatch.clock import SystemClock
from vvwatch.core.limits import Ask, Lease
from vvwatch.core.processors import Rates
from vvwatch.errors import AccessDenied, ProcessorClosing, ProcessorPaused, ProcessorUnavailable
from vvwatch.ports.processing import Quota
from vvwatch.processors.limiting import SharedLimiter

pytestmark = pytest.mark.anyio


@dataclass
class Alone:
    """Implements `Quota` for one node: remembers pauses, leases nothing."""

    pauses: list[Exception] = field(default_factory=list)
    is_paused: bool = False
    is_shared: bool = False

    async def lease(self, ask: Ask) -> tuple[Lease, ProcessorPaused | None]:
        raise AssertionError(f"one node leases nothing: {ask}")

    async def give_back(self, ends_at: float | None, unused_seconds: float) -> None:
        raise AssertionError(f"one node has nothing to give back: {ends_at} {unused_seconds}")

    async def pause(self, error: Exception) -> None:
        self.pauses.append(error)
        self.is_paused = True

    async def paused(self) -> ProcessorPaused | None:
        return ProcessorPaused("paused", "mend it") if self.is_paused else None


_quota: type[Quota] = Alone


@dataclass
class Calls:
    """Calls through a limiter: when each began, by name, in order; `release` ends one."""

    limiter: SharedLimiter
    clock: FakeClock
    begun: list[tuple[str, float]] = field(default_factory=list)
    ended: dict[str, asyncio.Event] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)

    async def make(self, name: str, tokens: int = 0, *, lasts: bool = False) -> None:
        self.ended[name] = asyncio.Event()
        if not lasts:
            self.ended[name].set()
        try:
            async with self.limiter.slot(tokens):
                self.begun.append((name, round(self.clock.monotonic() - 1_000.0, 3)))
                await self.ended[name].wait()
        except (ProcessorPaused, ProcessorUnavailable) as error:
            self.failed[name] = error

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.begun]


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def passed(clock: FakeClock, seconds: float, step: float = 0.05) -> None:
    """Let time pass in small steps, so that whoever sleeps wakes in time."""
    for _ in range(round(seconds / step)):
        clock.advance(step)
        await settled()


@asynccontextmanager
async def calling(rates: Rates, quota: Alone | None = None) -> AsyncIterator[tuple[Calls, asyncio.TaskGroup]]:
    clock = FakeClock()
    limiter = SharedLimiter(rates, clock, quota or Alone())
    async with asyncio.TaskGroup() as tasks:
        yield Calls(limiter, clock), tasks
    assert limiter.in_flight == 0
    await limiter.aclose()


async def test_so_many_calls_are_in_flight_and_the_next_begins_when_one_ends() -> None:
    async with calling(Rates(in_flight=2)) as (calls, tasks):
        for name in "abcd":
            tasks.create_task(calls.make(name, lasts=True))
        await settled()
        assert calls.names == ["a", "b"]
        calls.ended["b"].set()
        await settled()
        assert calls.names == ["a", "b", "c"]
        for name in "acd":
            calls.ended[name].set()


async def test_who_is_about_to_end_begins_no_call_and_lets_those_under_way_end() -> None:
    async with calling(Rates(in_flight=1)) as (calls, tasks):
        for name in "ab":
            tasks.create_task(calls.make(name, lasts=True))
        await settled()
        calls.limiter.drain()
        await calls.make("c")
        assert isinstance(calls.failed["c"], ProcessorClosing)
        await settled()
        assert (calls.names, set(calls.failed)) == (["a"], {"b", "c"})
        calls.ended["a"].set()


async def test_requests_are_spread_over_the_minute_in_the_order_of_who_came() -> None:
    async with calling(Rates(requests_per_minute=60, in_flight=8)) as (calls, tasks):
        for name in "abcd":
            tasks.create_task(calls.make(name))
        await passed(calls.clock, 3.2)
        assert calls.names == list("abcd")
        moments = [at for _, at in calls.begun]
        assert all(0.9 <= later - before <= 1.1 for before, later in pairwise(moments))


async def test_tokens_are_paid_for_by_time_and_a_large_call_is_not_passed_by_small_ones() -> None:
    async with calling(Rates(tokens_per_minute=60_000, in_flight=8)) as (calls, tasks):
        tasks.create_task(calls.make("first", 5_000))
        tasks.create_task(calls.make("large", 20_000))
        tasks.create_task(calls.make("small", 10))
        await settled()
        await passed(calls.clock, 30)
        assert calls.names == ["first", "large", "small"]
        assert [at for _, at in calls.begun] == pytest.approx([0.0, 4.95, 25.15], abs=0.11)


async def test_patience_holds_back_everybody_and_then_calls_begin_one_by_one() -> None:
    async with calling(Rates(in_flight=3)) as (calls, tasks):
        tasks.create_task(calls.make("refused", lasts=True))
        await settled()
        calls.limiter.hold_back(5.0)
        calls.ended["refused"].set()
        for name in "abc":
            tasks.create_task(calls.make(name, lasts=True))
        await passed(calls.clock, 4.9)
        assert calls.names == ["refused"]
        await passed(calls.clock, 0.2)
        assert calls.names == ["refused", "a"]
        calls.ended["a"].set()
        await settled()
        assert calls.names == ["refused", "a", "b", "c"]
        for name in "bc":
            calls.ended[name].set()


async def test_who_would_wait_for_an_hour_is_sent_away_and_so_is_who_waits_already() -> None:
    async with calling(Rates(requests_per_minute=1)) as (calls, tasks):
        tasks.create_task(calls.make("refused"))
        tasks.create_task(calls.make("waiting"))
        await settled()
        calls.limiter.hold_back(3_600.0)
        tasks.create_task(calls.make("later"))
        await settled()
        assert sorted(calls.failed) == ["later", "waiting"]
        for error in calls.failed.values():
            assert isinstance(error, ProcessorUnavailable)
            assert error.retry_after_seconds == pytest.approx(3_600.0)


async def test_a_pause_sends_everybody_away_until_it_is_over() -> None:
    quota = Alone()
    async with calling(Rates(in_flight=1), quota) as (calls, tasks):
        tasks.create_task(calls.make("refused", lasts=True))
        tasks.create_task(calls.make("waiting"))
        await settled()
        await calls.limiter.pause(AccessDenied("the key is refused", "put another into gpt.key"))
        calls.ended["refused"].set()
        tasks.create_task(calls.make("later"))
        await settled()
        assert sorted(calls.failed) == ["later", "waiting"]
        told = calls.failed["waiting"]
        assert isinstance(told, ProcessorPaused)
        assert (told.message, told.hint) == ("the key is refused", "put another into gpt.key")
        quota.is_paused = False
        await calls.make("after")
        assert calls.names == ["refused", "after"]


@pytest.mark.parametrize("moment", ["waiting", "just served", "running"])
async def test_who_is_cancelled_leaves_its_place_to_the_next(moment: str) -> None:
    async with calling(Rates(in_flight=1)) as (calls, tasks):
        first = tasks.create_task(calls.make("first", lasts=True))
        gone = tasks.create_task(calls.make("gone", lasts=True))
        tasks.create_task(calls.make("next"))
        await settled()
        if moment == "waiting":
            gone.cancel()
        calls.ended["first"].set()
        if moment == "just served":
            await first
            gone.cancel()
        await settled()
        gone.cancel()
        await settled()
        assert calls.names[-1] == "next"
        assert calls.limiter.in_flight == 0


async def test_a_cancelled_turn_in_time_costs_nobody_else_a_turn() -> None:
    async with calling(Rates(requests_per_minute=60)) as (calls, tasks):
        tasks.create_task(calls.make("a"))
        gone = tasks.create_task(calls.make("gone"))
        tasks.create_task(calls.make("b"))
        await settled()
        gone.cancel()
        await passed(calls.clock, 1.1)
        assert calls.names == ["a", "b"]


async def test_a_call_that_fails_gives_its_slot_back() -> None:
    limiter = SharedLimiter(Rates(in_flight=1), FakeClock(), Alone())
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with limiter.slot():
                raise ZeroDivisionError
    assert limiter.in_flight == 0


async def test_a_call_costs_at_most_a_fifth_of_a_millisecond_of_cpu() -> None:
    limiter = SharedLimiter(Rates(requests_per_minute=10_000_000, in_flight=16), SystemClock(), Alone())

    async def call() -> None:
        async with limiter.slot(1_000):
            await asyncio.sleep(0)

    begun = time.process_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(2_000):
            tasks.start_soon(call)
    assert (time.process_time() - begun) / 2_000 < 0.0002
    await limiter.aclose()


@dataclass
class Slow(Alone):
    """Implements `Quota` for one of several nodes, whose database takes `seconds` to answer."""

    clock: FakeClock = field(default_factory=FakeClock)
    seconds: float = 0.0
    next_at: float = 0.0
    asked: list[Ask] = field(default_factory=list)
    is_shared: bool = True

    async def lease(self, ask: Ask) -> tuple[Lease, ProcessorPaused | None]:
        self.asked.append(ask)
        begins_at = max(self.clock.now() + ask.after_seconds, self.next_at)
        self.next_at = begins_at + ask.seconds
        await self.clock.sleep(self.seconds)
        return Lease(ask.wants, begins_at, self.next_at if ask.seconds else None), None

    async def give_back(self, ends_at: float | None, unused_seconds: float) -> None:
        self.next_at -= unused_seconds if ends_at == self.next_at else 0.0


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.7, 3.0])
async def test_a_database_that_answers_late_delays_calls_and_loses_none(seconds: float) -> None:
    clock = FakeClock()
    quota = Slow(clock=clock, seconds=seconds)
    limiter = SharedLimiter(Rates(requests_per_minute=60, in_flight=4), clock, quota)
    calls = Calls(limiter, clock)
    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(calls.make(name))
        await passed(clock, 4 + 5 * seconds, step=0.02)
        assert calls.names == list("abc")
        moments = [at for _, at in calls.begun]
        assert min(later - before for before, later in pairwise(moments)) > 0.4
    await limiter.aclose()


async def test_a_lease_is_taken_once_a_second_and_not_for_each_call() -> None:
    clock = FakeClock()
    quota = Slow(clock=clock)
    limiter = SharedLimiter(Rates(requests_per_minute=6_000, in_flight=4), clock, quota)
    calls = Calls(limiter, clock)

    async def caller(name: str) -> None:
        for number in range(100):
            await calls.make(f"{name}{number}")

    async with asyncio.TaskGroup() as tasks:
        for name in "abcdefgh":
            tasks.create_task(caller(name))
        await passed(clock, 9, step=0.01)
    assert len(calls.begun) == 800
    assert len(quota.asked) < 60
    await limiter.aclose()
