"""The quota that nodes share: three limiters over one PostgreSQL, in real time."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Self

import pytest

from tests.databases import Databases
from vvwatch.clock import SystemClock
from vvwatch.core.processors import Rates
from vvwatch.errors import AccessDenied, ProcessorPaused
from vvwatch.processors.limiting import SharedLimiter
from vvwatch.store.db.postgres import PostgresDatabase
from vvwatch.store.runs import quotas
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.pauses import Pauses, StoredQuota

pytestmark = pytest.mark.anyio

REFUSED = AccessDenied("the key is refused", "put another into gpt.key")


class Nodes:
    """Three nodes over one server, each with its own limiter; `begun` has each call's node and moment."""

    def __init__(self, url: str, rates: Rates) -> None:
        self.databases = {node: PostgresDatabase(url, SystemClock()) for node in "abc"}
        self.limiters = {
            node: SharedLimiter(rates, SystemClock(), self._quota(node, rates)) for node in self.databases
        }
        self.begun: list[tuple[str, float]] = []
        self.has_begun = asyncio.Event()
        self.in_flight = self.most_in_flight = 0
        self.latest_seconds = 0.0

    def _quota(self, node: str, rates: Rates) -> StoredQuota:
        database = self.databases[node]
        return StoredQuota(database, Pauses(database, Telemetry("1"), {}), "gpt", rates.in_flight, node)

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        for node, database in self.databases.items():
            await self._stack.enter_async_context(database.opened())
            self._stack.push_async_callback(self.limiters[node].aclose)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def call(self, node: str, seconds: float) -> None:
        async with self.limiters[node].slot():
            self.begun.append((node, time.monotonic()))
            self.has_begun.set()
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            await asyncio.sleep(seconds)
            self.in_flight -= 1

    async def keep_busy(self, node: str, callers: int, seconds: float, call_seconds: float) -> None:
        """Let so many callers call one after the other, for so many seconds."""
        until = time.monotonic() + seconds

        async def caller() -> None:
            while time.monotonic() < until:
                await self.call(node, call_seconds)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(callers):
                tasks.create_task(caller())

    async def keep_time(self) -> None:
        """Note the most that a task of this process came late, until cancelled: a call begins as late."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            self.latest_seconds = max(self.latest_seconds, time.monotonic() - began - 0.01)

    def count(self, node: str, since: float = 0.0, until: float = 1e12) -> int:
        return sum(1 for each, at in self.begun if each == node and since <= at < until)


@pytest.fixture
def url(databases: Databases) -> str:
    with databases.fresh("postgresql"):
        return databases.url


async def test_three_nodes_keep_one_limit_and_none_starves(url: str) -> None:
    per_second = 20
    async with Nodes(url, Rates(requests_per_minute=60 * per_second, in_flight=6)) as nodes:
        timekeeper = asyncio.create_task(nodes.keep_time())
        async with asyncio.TaskGroup() as tasks:
            for node in "abc":
                tasks.create_task(nodes.keep_busy(node, 6, 4.0, 0.05))
        timekeeper.cancel()
        moments = sorted(at for _, at in nodes.begun)
        windows = [sum(1 for at in moments if start <= at < start + 2) for start in moments]
        late_seconds = 0.1 + nodes.latest_seconds
        assert max(windows) <= (2 + late_seconds) * per_second + 1  # and both ends of the window
        assert nodes.most_in_flight <= 6
        assert len(moments) >= 4 * per_second * 0.6
        assert min(nodes.count(node) for node in "abc") >= len(moments) / 6


async def test_the_share_of_idle_nodes_is_used_by_the_busy_one(url: str) -> None:
    async with Nodes(url, Rates(in_flight=6)) as nodes:
        await asyncio.gather(nodes.call("a", 0.0), nodes.call("b", 0.0))
        begun = time.monotonic()
        await nodes.keep_busy("c", 8, 4.0, 0.1)
        late = nodes.count("c", begun + 2.5, begun + 4.0)
        assert late >= 0.7 * 6 * 1.5 / 0.1
        assert nodes.most_in_flight <= 6


async def test_a_call_in_flight_on_one_node_leaves_the_others_their_share(url: str) -> None:
    async with Nodes(url, Rates(in_flight=2)) as nodes:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(nodes.keep_busy("a", 6, 5.0, 0.2))
            await asyncio.sleep(0.5)
            tasks.create_task(nodes.keep_busy("b", 6, 4.5, 0.2))
        assert nodes.most_in_flight <= 2
        assert nodes.count("b") >= 5


async def test_patience_that_one_node_was_asked_for_holds_back_all_within_a_second(url: str) -> None:
    async with Nodes(url, Rates(requests_per_minute=3_000, in_flight=6)) as nodes:
        asked = time.monotonic() + 1.5

        async def refused() -> None:
            await asyncio.sleep(1.5)
            nodes.limiters["a"].hold_back(4.0)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(refused())
            for node in "abc":
                tasks.create_task(nodes.keep_busy(node, 2, 3.0, 0.02))
        assert nodes.count("a", asked + 0.05, asked + 3.9) == 0
        assert all(nodes.count(node, asked + 1.5, asked + 3.9) == 0 for node in "bc")
        assert all(nodes.count(node, asked + 4.0) >= 1 for node in "abc")


async def test_a_node_that_ends_gives_everything_back(url: str) -> None:
    async with Nodes(url, Rates(requests_per_minute=60, in_flight=1)) as nodes:
        await nodes.call("a", 0.0)
        await nodes.limiters["a"].aclose()
        assert await nodes.databases["b"].read(quotas.count_in_flight) == {}


async def test_a_processor_paused_by_one_node_lets_nobody_call_who_waits_on_another(url: str) -> None:
    async with Nodes(url, Rates(in_flight=1)) as nodes:
        first = asyncio.create_task(nodes.call("a", 3.0))
        await asyncio.wait_for(nodes.has_begun.wait(), 30)
        waiting = asyncio.create_task(nodes.call("b", 0.0))
        await asyncio.sleep(0.3)
        await nodes.limiters["a"].pause(REFUSED)
        with pytest.raises(ProcessorPaused, match="the key is refused"):
            await asyncio.wait_for(waiting, 30)
        await first
