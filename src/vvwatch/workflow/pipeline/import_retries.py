"""Tries again, by itself, what could not be imported because its store did not give it.

A try reads the object as an import would first do. In a round a few objects are tried side by side, those that wait
longest first: whatever their number, it costs no more than that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Concatenate, Final, ParamSpec, TypeVar

import anyio

from vvwatch.errors import (
    ObjectArchived,
    ObjectChanged,
    ObjectNotFound,
    StorageError,
    StoreUnavailable,
    VvwatchError,
)
from vvwatch.ports import Hint
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.imports import retrying, unreadable
from vvwatch.store.imports.unreadable import DueTry, VersionRef
from vvwatch.store.models.imports import Trouble
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.reading import Attempt, Reading

P = ParamSpec("P")
T = TypeVar("T")
AT_ONCE: Final = 16
_ROUND_SECONDS: Final = 2.0
_PRUNE_SECONDS: Final = 3_600.0
_READ_SECONDS: Final = 120.0
_AWAY_SECONDS: Final = 60.0


@dataclass(frozen=True)
class ImportRetries:
    """Makes the tries that are due and that the node called `node` gets at.

    `notice` lets an automation look at keys.
    """

    database: Database
    telemetry: Telemetry
    reading: Reading
    notice: Callable[[str, Hint], Awaitable[object]]
    node: str
    _writing: anyio.Lock = field(default_factory=anyio.Lock)
    """One try at a time is written down: side by side they would only make each other run again."""

    async def run(self) -> None:
        """Try what is due, round after round, until cancelled."""
        pruned, returned = self.reading.clock.monotonic(), False
        while True:
            try:
                if not returned:
                    await self.database.write(unreadable.give_back, self.node)
                    returned = True
                found = await self.round()
                if self.reading.clock.monotonic() - pruned >= _PRUNE_SECONDS:
                    pruned = self.reading.clock.monotonic()
                    await self.database.write(unreadable.prune)
            except StoreUnavailable as error:
                found = 0
                self.telemetry.emit("task.failed", task="troubles", error=error)
            if not found:
                await self.reading.clock.sleep(_ROUND_SECONDS)

    async def round(self) -> int:
        """Try a few of those that are due; returns how many were taken up."""
        taken: list[Trouble] = []

        async def one(version: VersionRef) -> None:
            try:
                due = await self._written(unreadable.begin_try, *version, self.node)
                if due is not None and await self._tried(due):
                    taken.append(due.trouble)
            except Exception as error:  # noqa: BLE001  # its lease ends, and then it is tried again
                self.telemetry.emit("task.failed", task="troubles", error=error)

        versions = await self.database.read(unreadable.list_due, self.node, AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for version in versions:
                tasks.start_soon(one, version)
        for scope_id, reason in {(begun.scope_id, begun.reason) for begun in taken}:
            await self._written(unreadable.bring_forward, scope_id, reason)
        return len(taken)

    async def _written(
        self, transaction: Callable[Concatenate[Tx, P], T], *args: P.args, **named: P.kwargs
    ) -> T:
        async with self._writing:
            return await self.database.write(transaction, *args, **named)

    async def _tried(self, due: DueTry) -> bool:
        started = self.reading.clock.monotonic()
        try:
            with anyio.fail_after(_READ_SECONDS):
                await self._read(due)
        except (VvwatchError, TimeoutError) as error:
            told = error if isinstance(error, VvwatchError) else StorageError("no answer in time")
            return await self._failed(due, told, started)
        self.reading.gave(due.connector)
        return await self._take_up(due)

    async def _read(self, due: DueTry) -> None:
        storage = await self.reading.storage(due.connector)
        async with storage.excerpt(due.trouble.key, due.trouble.version):
            pass

    async def _failed(self, due: DueTry, error: VvwatchError, started: float) -> bool:
        begun, connector = due.trouble, due.connector
        attempt = Attempt(connector, begun.key, begun.version, _Never(), 1, started, is_planned=True)
        judged = await self.reading.judged(error, attempt)
        if isinstance(judged.error, ObjectArchived):
            return await self._take_up(due)
        if isinstance(judged.error, ObjectNotFound | ObjectChanged):
            await self._written(unreadable.drop_replaced, begun)
            return False
        if judged.patience is None:
            await self._written(unreadable.wait_for_store, begun, _AWAY_SECONDS)
            return False
        told = begun.reason if error.transient else error.code, judged.error.message
        again = await self._written(unreadable.put_off, begun, *told, judged.patience)
        if again is not None:
            self.telemetry.emit(
                "trouble.put_off",
                connector=connector.id,
                object_key=begun.key,
                tries=begun.tries + 1,
                retry_at=again,
                error=judged.error,
            )
        return False

    async def _take_up(self, due: DueTry) -> bool:
        """State first: should the process die here, the next scan finds the object as new."""
        begun = due.trouble
        taken = await self._written(retrying.take_up, begun)
        if taken is None:
            return False
        self.telemetry.emit(
            "trouble.over", connector=due.connector.id, object_key=begun.key, tries=begun.tries + 1
        )
        if taken.automation_id is not None:
            await self.notice(taken.automation_id, Hint(keys=(begun.key,)))
        return True


class _Never:
    """An object that was blamed for nothing yet."""

    failures = 0
    failing_since = None
