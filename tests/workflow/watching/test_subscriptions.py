"""Consumers come and go with the automations and connectors they serve, and say how they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.clock import FakeClock
from tests.fakes import FakeQueue, FakeStorage
from tests.store.pipeline import jobs_of, prepare
from tests.workflow.conftest import Told
from tests.workflow.watching.queues import EVENTS, created, keys, second, until, with_events
from vvwatch.errors import AccessDenied
from vvwatch.ports import Kind, SourceHealth
from vvwatch.store.db.database import Database
from vvwatch.store.models.catalog import Connector
from vvwatch.store.schema import connectors, import_automations
from vvwatch.store.watching import automations, connector_changes
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watching.subscriptions import Subscriptions
from vvwatch.workflow.watching.watcher import Watcher

pytestmark = pytest.mark.anyio


class Opened(list[FakeQueue]):
    """Every queue that was opened, each for another setting; all see the same messages."""

    def open(self, connector: Connector) -> FakeQueue:
        queue = FakeQueue()
        if self:
            queue.waiting = self[0].waiting
        self.append(queue)
        return queue


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.fixture
def subscriptions(
    database: Database, clock: FakeClock, telemetry: Telemetry, watcher: Watcher, opened: Opened
) -> Subscriptions:
    def no_source(*_: object) -> None:
        return None

    return Subscriptions(database, clock, telemetry, watcher, no_source, opened.open, lambda: 0.5)


@asynccontextmanager
async def running(subscriptions: Subscriptions) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        await tasks.start(subscriptions.run)
        yield
        tasks.cancel_scope.cancel()


async def seen(clock: FakeClock, condition: Callable[[], object]) -> None:
    """Let the seconds go by until it holds."""
    with anyio.fail_after(20):
        while not condition():
            clock.advance(1)
            await anyio.sleep(0.005)


async def test_a_queue_is_consumed_while_an_automation_of_its_connector_is_active(
    database: Database, subscriptions: Subscriptions, opened: Opened, clock: FakeClock
) -> None:
    await database.write(with_events)
    await database.write(automations.pause_import, "idx_main", paused=True)
    async with running(subscriptions):
        clock.advance(1)
        assert (opened, subscriptions.queue_health()) == ([], {})
        clock.advance(1)
        await database.write(automations.pause_import, "idx_main", paused=False)
        await seen(clock, lambda: opened)
        assert subscriptions.queue_health()["conn_in"].state == "starting"
        assert not subscriptions.listens("conn_in")
        opened[0].look()
        await until(lambda: subscriptions.listens("conn_in"))
        clock.advance(1)
        await database.write(automations.pause_import, "idx_main", paused=True)
        await seen(clock, lambda: opened[0].closed)
        assert not subscriptions.listens("conn_in")
    assert len(opened) == 1


async def test_a_connector_without_events_has_no_queue(
    database: Database, subscriptions: Subscriptions, opened: Opened
) -> None:
    await database.write(prepare)
    async with running(subscriptions):
        assert (opened, subscriptions.queue_health()) == ([], {})
        assert not subscriptions.listens("conn_in")


async def test_automations_of_one_connector_share_its_queue(
    database: Database, subscriptions: Subscriptions, opened: Opened, storage: FakeStorage
) -> None:
    await database.write(with_events, source_prefix="a/")
    await database.write(second, "b/")
    async with running(subscriptions):
        await until(lambda: opened)
        for key in ("a/1.mp4", "b/1.mp4"):
            opened[0].send(created(storage.put(key, b"x")))
        await until(lambda: opened[0].is_empty)
    assert len(opened) == 1
    assert await keys(database) == ["a/1.mp4", "b/1.mp4"]


async def test_an_edit_of_the_connector_replaces_its_consumer(
    database: Database, subscriptions: Subscriptions, opened: Opened, clock: FakeClock, storage: FakeStorage
) -> None:
    await database.write(with_events)
    await database.write(lambda tx: tx.update(connectors, "conn_in", declared=False))
    async with running(subscriptions):
        await until(lambda: opened)
        clock.advance(1)
        jobs_of(database).jobs.clear()
        await database.write(connector_changes.change, "conn_in", {"events": {**EVENTS, "queue": "other"}})
        assert len(jobs_of(database).take(Kind.SCAN)) == 1
        await seen(clock, lambda: len(opened) == 2)
        await until(lambda: opened[0].closed == 1)
        opened[1].send(created(storage.put("a.mp4", b"x")))
        await until(lambda: opened[1].is_empty)
        clock.advance(1)
        await database.write(connector_changes.change, "conn_in", {"events": None})
        await seen(clock, lambda: opened[1].closed == 1)
        assert subscriptions.queue_health() == {}
    assert await keys(database) == ["a.mp4"]


async def test_an_edit_is_seen_also_when_the_clock_was_set_back(database: Database, clock: FakeClock) -> None:
    await database.write(with_events)
    await database.write(second, "b/")
    before = await database.read(automations.read_edit_marker)
    clock.jump(-3600)
    await database.write(automations.pause_import, "idx_main", paused=True)
    assert await database.read(automations.read_edit_marker) != before


async def test_a_reload_opens_every_queue_anew(
    database: Database, subscriptions: Subscriptions, opened: Opened, clock: FakeClock
) -> None:
    await database.write(with_events)
    async with running(subscriptions):
        await until(lambda: opened)
        subscriptions.renew()
        await seen(clock, lambda: len(opened) == 2 and opened[0].closed)


async def test_an_outage_is_told_once_and_listings_stand_in(
    database: Database,
    subscriptions: Subscriptions,
    opened: Opened,
    clock: FakeClock,
    telemetry: Telemetry,
    told: Told,
    storage: FakeStorage,
) -> None:
    row = await database.write(with_events)
    async with running(subscriptions):
        await until(lambda: opened)
        opened[0].look()
        await until(lambda: subscriptions.listens("conn_in"))
        await seen(clock, lambda: "queue.listening" in told.names())
        await database.write(
            lambda tx: tx.update(import_automations, row.id, next_at=tx.now + 3600, last_scan_at=tx.now)
        )
        opened[0].broken = AccessDenied("may not receive", "sqs:ReceiveMessage")
        opened[0].look()
        await seen(clock, lambda: "queue.failed" in told.names())
        assert not subscriptions.listens("conn_in")
        found = await database.read(lambda tx: tx.require(import_automations, "automation", row.id))
        assert found.next_at <= clock.now() + row.scan_seconds
        opened[0].broken = None
        opened[0].send(created(storage.put("a.mp4", b"x")))
        await seen(clock, lambda: "queue.recovered" in told.names())
        clock.advance(5)
        await anyio.wait_all_tasks_blocked()
    assert [name for name in told.names() if name.startswith("queue.") and "batch" not in name] == [
        "queue.listening",
        "queue.failed",
        "queue.recovered",
    ]
    labels = {"connector": "conn_in"}
    assert telemetry.registry.get_sample_value("vvwatch_queue_healthy", labels) == 1


class Patient:
    """A source of an automation that turns bad when it is told to."""

    def __init__(self) -> None:
        self.health = SourceHealth("starting")

    async def run(self, notify: object) -> None:
        await anyio.sleep_forever()


async def test_the_health_of_a_source_says_since_when(
    database: Database, clock: FakeClock, telemetry: Telemetry, watcher: Watcher, opened: Opened
) -> None:
    row = await database.write(prepare)
    source = Patient()
    subscriptions = Subscriptions(
        database, clock, telemetry, watcher, lambda *_: source, opened.open, lambda: 0.5
    )
    async with running(subscriptions):
        assert subscriptions.health()[row.id] == SourceHealth("starting", since=clock.now())
        source.health = SourceHealth("degraded", "no watches", "sysctl")
        await seen(clock, lambda: subscriptions._sources[row.id].state == "degraded")
        since = clock.now()
        clock.advance(60)
        assert subscriptions.health()[row.id] == SourceHealth("degraded", "no watches", "sysctl", since)
