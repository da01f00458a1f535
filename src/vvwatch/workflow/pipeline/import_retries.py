"""Retry automatically what could not be imported because its store did not deliver it.

A retry reads the object as an import does first. Each round retries a few objects in parallel, the longest waiting
first, so the cost does not grow with their number.
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
    """Makes the retries that are due and that the node called `node` can reach.

    `notice` makes an automation look at keys.
    """

    database: Database
    telemetry: Telemetry
    reading: Reading
    notice: Callable[[str, Hint], Awaitable[object]]
    node: str
    _writing: anyio.Lock = field(default_factory=anyio.Lock)
    """One retry is recorded at a time: concurrent transactions would only conflict."""

    async def run(self) -> None:
        """Retry what is due, round after round, until cancelled."""
        pruned, returned = self.reading.clock.monotonic(), False
        while True:
            try:
                if not returned:
                    await self.database.write(unreadable.give_back, self.node)
                    returned = True
                found = await self.run_round()
                if self.reading.clock.monotonic() - pruned >= _PRUNE_SECONDS:
                    pruned = self.reading.clock.monotonic()
                    await self.database.write(unreadable.prune)
            except StoreUnavailable as error:
                found = 0
                self.telemetry.emit("task.failed", task="troubles", error=error)
            if not found:
                await self.reading.clock.sleep(_ROUND_SECONDS)

    async def run_round(self) -> int:
        """Retry a few due objects; return how many were tried."""
        taken: list[Trouble] = []

        async def one(version: VersionRef) -> None:
            try:
                due = await self._write(unreadable.begin_try, *version, self.node)
                if due is not None and await self._try_once(due):
                    taken.append(due.trouble)
            except Exception as error:  # noqa: BLE001  # its lease ends, and then it is tried again
                self.telemetry.emit("task.failed", task="troubles", error=error)

        versions = await self.database.read(unreadable.list_due, self.node, AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for version in versions:
                tasks.start_soon(one, version)
        for scope_id, reason in {(begun.scope_id, begun.reason) for begun in taken}:
            await self._write(unreadable.bring_forward, scope_id, reason)
        return len(taken)

    async def _write(
        self, transaction: Callable[Concatenate[Tx, P], T], *args: P.args, **named: P.kwargs
    ) -> T:
        async with self._writing:
            return await self.database.write(transaction, *args, **named)

    async def _try_once(self, due: DueTry) -> bool:
        started = self.reading.clock.monotonic()
        try:
            with anyio.fail_after(_READ_SECONDS):
                await self._read(due)
        except (VvwatchError, TimeoutError) as error:
            failure = error if isinstance(error, VvwatchError) else StorageError("no answer in time")
            return await self._put_off(due, failure, started)
        self.reading.note_answer(due.connector)
        return await self._take_up(due)

    async def _read(self, due: DueTry) -> None:
        storage = await self.reading.storage(due.connector)
        async with storage.excerpt(due.trouble.key, due.trouble.version):
            pass

    async def _put_off(self, due: DueTry, error: VvwatchError, started: float) -> bool:
        begun, connector = due.trouble, due.connector
        attempt = Attempt(connector, begun.key, begun.version, _Never(), 1, started, is_planned=True)
        judgement = await self.reading.judge_failure(error, attempt)
        if isinstance(judgement.error, ObjectArchived):
            return await self._take_up(due)
        if isinstance(judgement.error, ObjectNotFound | ObjectChanged):
            await self._write(unreadable.drop_replaced, begun)
            return False
        if judgement.patience is None:
            await self._write(unreadable.wait_for_store, begun, _AWAY_SECONDS)
            return False
        failure = begun.reason if error.transient else error.code, judgement.error.message
        again = await self._write(unreadable.put_off, begun, *failure, judgement.patience)
        if again is not None:
            self.telemetry.emit(
                "trouble.put_off",
                connector=connector.id,
                object_key=begun.key,
                tries=begun.tries + 1,
                retry_at=again,
                error=judgement.error,
            )
        return False

    async def _take_up(self, due: DueTry) -> bool:
        """Store the state first: if the process dies here, the next scan finds the object as new."""
        begun = due.trouble
        taken = await self._write(retrying.take_up, begun)
        if taken is None:
            return False
        self.telemetry.emit(
            "trouble.over", connector=due.connector.id, object_key=begun.key, tries=begun.tries + 1
        )
        if taken.automation_id is not None:
            await self.notice(taken.automation_id, Hint(keys=(begun.key,)))
        return True


class _Never:
    """An object that no failure was attributed to yet."""

    failures = 0
    failing_since = None
