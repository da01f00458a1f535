"""Run the sources of automations and the queues of connectors, and follow edits.

An active automation has a source of its own where its storage has one. A connector has one queue for all of its
automations, consumed while at least one of them is active; every node consumes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import anyio
import anyio.abc

from vvwatch.errors import StoreUnavailable
from vvwatch.ports import Clock, EventQueue, Hint, Source, SourceHealth
from vvwatch.store.db.database import Database
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.watching import automations
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watching.queue_consumer import QueueConsumer
from vvwatch.workflow.watching.watcher import Watcher

_LOOK_SECONDS: Final = 1.0
_BAD: Final = ("degraded", "failed")


@dataclass
class _Subscription:
    """A running source or consumer: what it was made for, the state reported last, and since when."""

    identity: tuple[Any, ...]
    at_work: Source | QueueConsumer
    since: float
    scope: anyio.CancelScope
    state: str = ""


class Subscriptions:
    """Runs sources and consumers.

    `make` returns an automation's source, or None if listings alone serve it. `open_queue` opens the queue of a
    connector's row, and may block; `sample` varies pauses.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        watcher: Watcher,
        make: Callable[[ImportAutomation, Connector], Source | None],
        open_queue: Callable[[Connector], EventQueue],
        sample: Callable[[], float],
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._watcher = watcher
        self._make = make
        self._open_queue = open_queue
        self._sample = sample
        self._sources: dict[str, _Subscription] = {}
        self._queues: dict[str, _Subscription] = {}
        self._followed: tuple[object, ...] | None = None
        self._era = 0

    def health(self) -> dict[str, SourceHealth]:
        """Automation id to the health of its source."""
        return {
            name: replace(running.at_work.health, since=running.since)
            for name, running in self._sources.items()
        }

    def queue_health(self) -> dict[str, SourceHealth]:
        """Connector id to the health of its queue, of those that are consumed."""
        return {name: running.at_work.health for name, running in self._queues.items()}

    def listens(self, connector_id: str) -> bool:
        """Return whether the connector's queue reports its changes now."""
        running = self._queues.get(connector_id)
        return running is not None and running.at_work.health.state == "healthy"

    def renew(self) -> None:
        """Reopen every queue: its address or credentials may have changed."""
        self._era += 1
        self._followed = None

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Follow the automations until cancelled; started when all sources and queues had their first try."""
        async with anyio.create_task_group() as tasks:
            await self._follow(tasks)
            task_status.started()
            while True:
                await self._clock.sleep(_LOOK_SECONDS)
                await self._follow(tasks)
                self._report_sources()
                await self._report_queues()

    async def _follow(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start and stop what edits since the last look require."""
        try:
            edited = (self._era, *await self._database.read(automations.read_edit_marker))
            if edited != self._followed:
                await self._adopt(tasks)
                self._followed = edited
        except StoreUnavailable as error:
            self._telemetry.emit("task.failed", task="subscriptions", error=error)

    async def _adopt(self, tasks: anyio.abc.TaskGroup) -> None:
        pairs = await self._database.read(automations.list_active)
        consumed = {connector.id: connector for _, connector in pairs if connector.events}
        _stop_unwanted(self._sources, {row.id: _identify_source(row, connector) for row, connector in pairs})
        _stop_unwanted(self._queues, {name: self._queue_identity(each) for name, each in consumed.items()})
        for row, connector in pairs:
            if row.id not in self._sources and (source := self._make(row, connector)) is not None:
                running = self._subscribe(_identify_source(row, connector), source)
                self._sources[row.id] = running
                tasks.start_soon(_run_within, running.scope, partial(source.run, self._make_notify(row.id)))
        for name, connector in consumed.items():
            if name not in self._queues:
                consumer = self._make_consumer(connector)
                running = self._subscribe(self._queue_identity(connector), consumer)
                self._queues[name] = running
                tasks.start_soon(_run_within, running.scope, consumer.run)

    def _subscribe(self, identity: tuple[Any, ...], at_work: Source | QueueConsumer) -> _Subscription:
        return _Subscription(identity, at_work, self._clock.now(), anyio.CancelScope())

    def _make_consumer(self, connector: Connector) -> QueueConsumer:
        return QueueConsumer(
            self._database,
            self._clock,
            self._telemetry,
            self._watcher.notice,
            self._sample,
            connector.id,
            partial(self._open_queue, connector),
            exclusive=(connector.events or {}).get("mode") == "exclusive",
        )

    def _queue_identity(self, connector: Connector) -> tuple[Any, ...]:
        return self._era, connector.updated_at, str(connector.events)

    def _make_notify(self, automation_id: str) -> Callable[[Hint], Awaitable[None]]:
        async def notify(hint: Hint) -> None:
            await self._watcher.notice(automation_id, hint)  # what fails here is found by the next scan

        return notify

    def _report_sources(self) -> None:
        for automation_id, running in self._sources.items():
            health = running.at_work.health
            if health.state == running.state:
                continue
            self._report_source(automation_id, running.state, health)
            running.state, running.since = health.state, self._clock.now()

    def _report_source(self, automation_id: str, before: str, health: SourceHealth) -> None:
        if health.state == "starting":
            return
        bad, again = health.state in _BAD, before in _BAD
        self._telemetry.emit(
            f"source.{health.state}" if bad else ("source.recovered" if again else "source.listening"),
            automation=automation_id,
            state=health.state,
            reason=health.reason,
            hint=health.hint,
        )

    async def _report_queues(self) -> None:
        for connector_id, running in list(self._queues.items()):
            health = running.at_work.health
            if health.state != running.state and await self._bring_scans_forward(connector_id, health):
                self._report_queue(connector_id, running.state, health)
                running.state = health.state

    async def _bring_scans_forward(self, connector_id: str, health: SourceHealth) -> bool:
        """Bring scans forward if the queue reports nothing; return False if that is not possible now."""
        try:
            if health.state in _BAD:
                await self._watcher.on_queue_lost(connector_id)
        except StoreUnavailable:
            return False
        return True

    def _report_queue(self, connector_id: str, before: str, health: SourceHealth) -> None:
        if health.state in _BAD:
            self._telemetry.emit(
                "queue.failed" if health.state == "failed" else "queue.degraded",
                connector=connector_id,
                reason=health.reason,
                hint=health.hint,
            )
        elif health.state == "healthy":
            self._telemetry.emit(
                "queue.recovered" if before in _BAD else "queue.listening", connector=connector_id
            )


def _stop_unwanted(running: dict[str, _Subscription], wanted: Mapping[str, tuple[Any, ...]]) -> None:
    """Stop what is no longer wanted, or wanted with other settings."""
    for name, each in list(running.items()):
        if wanted.get(name) != each.identity:
            each.scope.cancel()
            del running[name]


async def _run_within(scope: anyio.CancelScope, run: Callable[[], Awaitable[None]]) -> None:
    with scope:
        await run()


def _identify_source(row: ImportAutomation, connector: Connector) -> tuple[Any, ...]:
    return row.generation, connector.id, str(connector.settings)
