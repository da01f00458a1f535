"""Carry out accepted deletions, in pieces, while the daemon runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from vvwatch.ports import Clock
from vvwatch.store.admin import deletions
from vvwatch.store.admin.clearing import STEPS, clear_piece
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.models.admin import Deletion
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pacing import write_and_pause

P = ParamSpec("P")
T = TypeVar("T")


class DeletionWorker:
    """Carries out deletions, in transactions so short that nobody waits for one.

    It pauses after each for as long as that took, so it uses the database at most half of the time. It stops early when
    `stopping` says so, and the next pass resumes. Several nodes may do this at once.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._stopping = stopping

    async def run(self) -> int:
        """Try to end every unfinished deletion, and return how many there are.

        A failure is reported, and the next pass tries again.
        """
        begun = await self._database.read(deletions.list_unfinished)
        for deletion in begun:
            try:
                await self._carry_out(deletion)
            except Exception as error:  # noqa: BLE001  # one that breaks must not hold up the others
                self._telemetry.emit("task.failed", task=f"deletion of {deletion.resource_id}", error=error)
        return len(begun)

    async def _carry_out(self, deletion: Deletion) -> None:
        total = 0
        while rows := await self._pass(deletion):
            total += rows
        if not self._stopping():
            await self._paced(deletions.finish, deletion)
            what = {"resource": deletion.resource, "id": deletion.resource_id}
            self._telemetry.emit("deletion.finished", **what, rows=total)

    async def _pass(self, deletion: Deletion) -> int:
        """Run all steps once; rows added by a transaction that overlapped the start are left to the next pass."""
        if self._stopping():
            return 0
        await self._paced(deletions.stop_work, deletion)
        total = 0
        for step in STEPS[deletion.resource]:
            while not self._stopping() and (rows := await self._paced(clear_piece, deletion, step)):
                total += rows
        return total

    async def _paced(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await write_and_pause(self._database, self._clock, fn, *args, **kwargs)
