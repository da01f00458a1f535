"""Pauses of processors: announced once, however many items wait. When one ends, its items are due immediately."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from vvwatch.core.limits import Ask, Lease
from vvwatch.errors import BudgetReached, ProcessorPaused, VvwatchError
from vvwatch.ports.processing import Quota
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.delivery.events import announce
from vvwatch.store.runs import processor_states, quotas
from vvwatch.store.runs.processor_states import Pause
from vvwatch.telemetry import Telemetry

Write = Callable[[Callable[[Tx], bool]], Awaitable[bool]]

_DAY_SECONDS: Final = 86_400.0


class Pauses:
    """Pauses and resumes processors. `fingerprints` identify their configurations."""

    def __init__(self, database: Database, telemetry: Telemetry, fingerprints: Mapping[str, str]) -> None:
        self._database = database
        self._telemetry = telemetry
        self._fingerprints = fingerprints

    async def pause(self, name: str, error: Exception) -> None:
        """Pause the processor until its configuration changes or a person resumes it."""
        await self._pause(name, _to_pause(error, self._fingerprints.get(name, "")))

    async def paused(self, name: str) -> ProcessorPaused | None:
        """Return why the processor is paused, or None."""
        return await self._database.read(processor_states.find_pause, name)

    async def resume(self, name: str, write: Write | None = None) -> bool:
        """End the pause, whatever its reason, and make its items due; False if there was none.

        `write` runs the transaction instead of the database's own.
        """
        was_paused = await (write or self._database.write)(partial(_resume, name))
        self._report_resumed([name] if was_paused else [], "a person resumed it")
        await self._nudge([name])
        return was_paused

    async def renew(self, *, all_of_them: bool = False) -> None:
        """End the pauses of processors whose configuration changed or is gone, or all pauses.

        Items that wait for a processor are due after a start: a budget without a period pauses nothing, and may be
        higher.
        """
        known = {} if all_of_them else self._fingerprints
        changed = await self._database.write(processor_states.resume_reconfigured, known)
        why = "it was started again" if all_of_them else "its configuration has changed"
        self._report_resumed(changed, why)
        await self._nudge({*self._fingerprints, *changed})

    async def note_budget(self, name: str, run_id: str, error: BudgetReached) -> None:
        """Note that a budget is used up for an item of the run; announced once, not for each item.

        A budget with an end, such as one per day, pauses the whole processor until then.
        """
        if error.until is not None:
            await self._pause(name, _to_pause(error, self._fingerprints.get(name, "")))
        elif await self._database.write(_announce_budget, name, run_id, error):
            self._telemetry.emit("budget.reached", processor=name, run=run_id, error=error)

    async def _pause(self, name: str, why: Pause) -> None:
        if await self._database.write(processor_states.pause, name, why):
            fields = {"processor": name, "reason": why.code, "message": why.message, "hint": why.hint}
            self._telemetry.emit("processor.paused", **fields, until_at=why.until)

    def _report_resumed(self, names: Sequence[str], why: str) -> None:
        for name in names:
            self._telemetry.emit("processor.resumed", processor=name, reason=why)

    async def _nudge(self, names: Iterable[str]) -> None:
        for name in names:
            while await self._database.write(processor_states.retry_waiting, name):
                pass


def _resume(name: str, tx: Tx) -> bool:
    return processor_states.resume(tx, name)


def _to_pause(error: Exception, fingerprint: str) -> Pause:
    if not isinstance(error, VvwatchError):
        return Pause("processor_error", str(error) or type(error).__name__, fingerprint=fingerprint)
    until = error.until if isinstance(error, ProcessorPaused) else None
    return Pause(error.code, error.message, error.hint, until, fingerprint)


def _announce_budget(tx: Tx, name: str, run_id: str, error: BudgetReached) -> bool:
    """Announce that a budget without a period is used up; False if that was announced for the run today."""
    data = {"processor": name, "scope": "run", "run_id": run_id, "code": error.code, "until": None}
    fields = {"message": error.message, "hint": error.hint}
    occurrence = f"{name}:{run_id}:{int(tx.now // _DAY_SECONDS)}"
    return announce(tx, "processor.paused", occurrence, None, data | fields) is not None


@by_locks
def _lease(tx: Tx, name: str, node: str, ask: Ask, most: int) -> tuple[Lease, ProcessorPaused | None]:
    return quotas.grant_lease(tx, name, node, ask, most), processor_states.find_pause(tx, name)


class StoredQuota:
    """Implements `Quota` on the database. `node` is this node's name if there are others, else empty."""

    def __init__(self, database: Database, pauses: Pauses, name: str, most: int, node: str) -> None:
        self.is_shared = bool(node)
        self._database = database
        self._pauses = pauses
        self._name = name
        self._most = most
        self._node = node

    async def lease(self, ask: Ask) -> tuple[Lease, ProcessorPaused | None]:
        """Return what this node may use from now on, and the pause that forbids it."""
        return await self._database.write(_lease, self._name, self._node, ask, self._most)

    async def give_back(self, ends_at: float | None, unused_seconds: float) -> None:
        """Give everything back to the other nodes."""
        await self._database.write(quotas.return_lease, self._name, self._node, ends_at, unused_seconds)

    async def pause(self, error: Exception) -> None:
        """Pause the processor on all nodes."""
        await self._pauses.pause(self._name, error)

    async def paused(self) -> ProcessorPaused | None:
        """Return why the processor is paused, or None."""
        return await self._pauses.paused(self._name)


_: type[Quota] = StoredQuota
