"""Sources: one for each active automation whose storage has one, started, replaced and stopped as it is edited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.abc
import sqlalchemy as sa

from vvwatch.errors import StoreUnavailable
from vvwatch.ports import Clock, Hint, Source, SourceHealth
from vvwatch.store import automations
from vvwatch.store.database import Database
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watch import Watcher

_LOOK_SECONDS = 1.0


@dataclass
class _Running:
    identity: tuple[Any, ...]
    source: Source
    scope: anyio.CancelScope
    state: str = ""


class Subscriptions:
    """Runs the sources. `make` gives an automation's source, or None when listings alone serve it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        watcher: Watcher,
        make: Callable[[sa.Row[Any], sa.Row[Any]], Source | None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._watcher = watcher
        self._make = make
        self._running: dict[str, _Running] = {}
        self._followed: tuple[object, ...] | None = None

    def health(self) -> dict[str, SourceHealth]:
        """Automation id to the health of its source."""
        return {automation: running.source.health for automation, running in self._running.items()}

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Keep the sources as the automations want them, until cancelled; started when all had their first try."""
        async with anyio.create_task_group() as tasks:
            await self._follow(tasks)
            task_status.started()
            while True:
                await self._clock.sleep(_LOOK_SECONDS)
                await self._follow(tasks)
                self._tell_health()

    async def _follow(self, tasks: anyio.abc.TaskGroup) -> None:
        """Look what is wanted, but only when something was edited since the last look."""
        try:
            edited = await self._database.read(automations.last_edit)
            if edited != self._followed:
                await self._adopt(tasks)
                self._followed = edited
        except StoreUnavailable as error:
            self._telemetry.emit("task.failed", task="subscriptions", error=error)

    async def _adopt(self, tasks: anyio.abc.TaskGroup) -> None:
        wanted = {
            row.id: (row, connector) for row, connector in await self._database.read(automations.all_active)
        }
        for automation_id, running in list(self._running.items()):
            found = wanted.get(automation_id)
            if found is None or _identity(*found) != running.identity:
                running.scope.cancel()
                del self._running[automation_id]
        for automation_id, (row, connector) in wanted.items():
            if automation_id not in self._running:
                self._start(tasks, row, connector)

    def _start(self, tasks: anyio.abc.TaskGroup, row: sa.Row[Any], connector: sa.Row[Any]) -> None:
        source = self._make(row, connector)
        if source is not None:
            scope = anyio.CancelScope()
            self._running[row.id] = _Running(_identity(row, connector), source, scope)
            tasks.start_soon(self._one, row.id, source, scope)

    async def _one(self, automation_id: str, source: Source, scope: anyio.CancelScope) -> None:
        async def notify(hint: Hint) -> None:
            await self._watcher.notice(automation_id, hint)  # what fails here is found by the next scan

        with scope:
            await source.run(notify)

    def _tell_health(self) -> None:
        for automation_id, running in self._running.items():
            health = running.source.health
            if health.state == running.state:
                continue
            bad = health.state in ("degraded", "failed")
            if bad or running.state in ("degraded", "failed"):
                self._telemetry.emit(
                    f"source.{health.state}" if bad else "source.recovered",
                    automation=automation_id,
                    state=health.state,
                    reason=health.reason,
                    hint=health.hint,
                )
            running.state = health.state


def _identity(row: sa.Row[Any], connector: sa.Row[Any]) -> tuple[Any, ...]:
    return row.generation, connector.id, str(connector.settings)
