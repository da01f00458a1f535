"""From change to window: listings and hints become accepted objects, each version once.

A listing is the truth, a hint is the speed; both end in the same place. Objects of a store whose writes are not
atomic must settle first: the same version at two looks, `settle_seconds` of monotonic time apart, and no writer
that holds them open. What is still settling lives in memory only: the next listing finds it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import anyio.to_thread
import sqlalchemy as sa

from vvwatch.core.filters import ObjectFilter
from vvwatch.core.objects import StorageObject
from vvwatch.core.schedules import jittered
from vvwatch.core.settling import Sighting, remaining, settled
from vvwatch.errors import StorageError, StorageUnavailable, VvwatchError
from vvwatch.ports import Clock, Hint, Job, Storage
from vvwatch.store import automations
from vvwatch.store.database import Database
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.intake import Intake
from vvwatch.workflow.watched import Tally, Watched

_COMPARED_AT_ONCE = 4_000
_MOST_SETTLING = 200_000
_MOST_LOOKED_UP = 2_000  # beyond this many settling objects one listing is cheaper than a look at each
_RETRY_SECONDS = 30.0


class Watcher:
    """Watches automations. `open_storage` opens the storage of a connector's row."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        open_storage: Callable[[sa.Row[Any]], Storage],
        sample: Callable[[], float],
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._open_storage = open_storage
        self._sample = sample
        self._watched: dict[str, Watched] = {}
        self._intake = Intake(database, clock, telemetry, sample)
        self._looking = 0

    async def scan(self, job: Job) -> None:
        """Handle a scan: list the whole prefix, take in what is new, and put the next scan."""
        found = await self._database.read(automations.to_scan, job)
        if found is None:
            return
        row, connector = found
        started = self._clock.monotonic()
        try:
            tally = await self._look(await self._watch(row, connector), row.source_prefix)
        except VvwatchError as error:
            await self._failed(job, row, error)
            return
        wait = jittered(row.scan_seconds, 0.1, self._sample())
        await self._database.write(automations.scanned, job, wait)
        self._telemetry.emit(
            "scan.finished",
            automation=row.id,
            listed=tally.listed,
            accepted=tally.accepted,
            skipped=tally.skipped,
            settling=tally.settling,
            duration_seconds=round(self._clock.monotonic() - started, 3),
        )

    async def _failed(self, job: Job, row: sa.Row[Any], error: VvwatchError) -> None:
        wait = jittered(min(row.scan_seconds, _RETRY_SECONDS), 0.1, self._sample())
        await self._database.write(automations.scan_failed, job, wait, error.message, error.hint)
        self._telemetry.emit("scan.failed", automation=row.id, connector=row.connector_id, error=error)

    async def notice(self, automation_id: str, hint: Hint) -> bool:
        """Follow a hint; what cannot be followed now (the answer is False) is found by the next scan."""
        self._looking += 1
        try:
            return await self._followed(automation_id, hint)
        except VvwatchError as error:
            self._telemetry.emit("hint.failed", automation=automation_id, error=error)
            return False
        finally:
            self._looking -= 1

    async def _followed(self, automation_id: str, hint: Hint) -> bool:
        found = await self._database.read(automations.active, automation_id)
        if found is None:
            return False
        watched = await self._watch(*found)
        for prefix in _merged(hint.rescan):
            await self._look(watched, _narrowed(watched.row.source_prefix, prefix))
        touched = [*hint.objects, *await self._looked_up(watched, (*hint.keys, *hint.removed))]
        await self._intake.take(watched, touched, Tally())
        return True

    async def _watch(self, row: sa.Row[Any], connector: sa.Row[Any]) -> Watched:
        """The automation's watched state, made anew when its settings changed."""
        known = self._watched.get(row.id)
        if known is not None and known.is_of(row, connector):
            known.row = row
            return known
        self._watched.pop(row.id, None)  # what was settling there has nobody to look at it, if opening fails
        watched = Watched(
            row,
            connector,
            await anyio.to_thread.run_sync(self._open_storage, connector),
            ObjectFilter(row.source_prefix, row.file_pattern, row.recursive),
            (row.import_mode_override or connector.import_mode) == "new_only",
        )
        self._watched[row.id] = watched
        return watched

    async def _look(self, watched: Watched, prefix: str | None) -> Tally:
        self._looking += 1
        try:
            return await self._listed(watched, prefix)
        finally:
            self._looking -= 1

    async def _listed(self, watched: Watched, prefix: str | None) -> Tally:
        tally = Tally()
        if prefix is None:
            return tally
        some: list[StorageObject] = []
        try:
            async for page in watched.storage.list(prefix, recursive=watched.row.recursive):
                some += page.objects
                await self._intake.observe_irregular(watched, page.irregular)
                if len(some) >= _COMPARED_AT_ONCE:
                    some = await self._held_against_ledger(watched, some, tally)
        except StorageError:
            await self._held_against_ledger(
                watched, some, tally
            )  # a part of the place being away hides no other
            raise
        await self._held_against_ledger(watched, some, tally)
        return tally

    async def _held_against_ledger(
        self, watched: Watched, some: list[StorageObject], tally: Tally
    ) -> list[StorageObject]:
        tally.listed += len(some)
        await self._intake.take(watched, some, tally)
        return []

    async def _looked_up(self, watched: Watched, keys: Sequence[str]) -> list[StorageObject]:
        """What stands at the keys that could matter; vanished ones are left out."""
        found = []
        for key in dict.fromkeys(keys):
            if watched.filter.name_verdict(key).accepted:
                try:
                    found.append(await watched.storage.stat(key))
                except StorageUnavailable:
                    raise
                except StorageError:
                    watched.settling.pop(key, None)  # gone, or the next listing tells what is wrong with it
        return found

    def settling(self) -> int:
        """How many objects are waiting to settle."""
        return sum(len(watched.settling) for watched in self._watched.values())

    def busy(self) -> bool:
        """Whether a look is under way, from the listing to what is accepted of it."""
        return self._looking > 0

    async def settle(self) -> None:
        """Look again at what is settling, until cancelled."""
        while True:
            waits = [wait for watched in self._watched.values() for wait in self._waits(watched)]
            if waits:
                await self._clock.sleep(min(max(min(waits), 0.05), 1.0))
                await self._settle_all()
            else:
                self._intake.unsettled = anyio.Event()
                await self._intake.unsettled.wait()

    def _waits(self, watched: Watched) -> list[float]:
        now = self._clock.monotonic()
        seconds = watched.row.settle_seconds
        return [remaining(sighting, seconds, now) for sighting in watched.settling.values()]

    async def _settle_all(self) -> None:
        now = self._clock.monotonic()
        for automation_id, watched in list(self._watched.items()):
            seconds = watched.row.settle_seconds
            due = {key: seen for key, seen in watched.settling.items() if settled(seen, seconds, now)}
            if not due:
                continue
            rescan = (watched.row.source_prefix,) if len(due) > _MOST_LOOKED_UP else ()
            done = await self.notice(automation_id, Hint(() if rescan else tuple(due), rescan))
            _put_off(watched, due, None if done else now)

    def forget(self) -> None:
        """Take every automation's connector and settings anew at its next look."""
        self._watched.clear()


def _put_off(watched: Watched, due: Mapping[str, Sighting], now: float | None) -> None:
    """What was due and was not met: it is gone (`now` None), or could not be looked at and settles anew."""
    for key, seen in due.items():
        if watched.settling.get(key) is seen:
            if now is None:
                del watched.settling[key]
            else:
                watched.settling[key] = seen._replace(since=now)


def _merged(prefixes: Sequence[str]) -> list[str]:
    """The prefixes without those that another one covers."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return kept


def _narrowed(source_prefix: str, prefix: str) -> str | None:
    """The part of `prefix` that the automation watches; None when they do not meet."""
    if prefix.startswith(source_prefix):
        return prefix
    return source_prefix if source_prefix.startswith(prefix) else None
