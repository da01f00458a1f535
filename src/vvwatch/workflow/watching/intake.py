"""Put new, wanted and settled objects into the open window, each version once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final

import anyio

from vvwatch.core.cadence import note_new_keys
from vvwatch.core.filters import WORTH_KNOWING, Reason
from vvwatch.core.ledger import Diff
from vvwatch.core.objects import StorageObject
from vvwatch.core.selection import SkippedObject
from vvwatch.core.settling import Sighting, is_settled, note_sighting
from vvwatch.ports import Clock
from vvwatch.store.db.database import Database
from vvwatch.store.watching import absences, ledger, sidecars, windows
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watching.watch_state import ScanStats, WatchState
from vvwatch.workflow.watching.windows import announce_closed

_MOST_SETTLING: Final = 200_000
_MATCHING: Final = (Reason.ACCEPTED, Reason.NEW_ONLY_KNOWN_KEY, Reason.EXISTING, Reason.ARCHIVED)
_NOT_SKIPPED: Final = (Reason.ACCEPTED, Reason.OWN_OUTPUT, Reason.SIDECAR)
_WORTH_OBSERVING: Final = WORTH_KNOWING - {Reason.FOLDER_WITH_CONTENT}  # the scanner observes that itself


class Intake:
    """Accepts objects that listings and events report. `unsettled` is set when one begins to settle."""

    def __init__(
        self, database: Database, clock: Clock, telemetry: Telemetry, sample: Callable[[], float]
    ) -> None:
        self.unsettled = anyio.Event()
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._sample = sample

    async def take(self, watched: WatchState, seen: Sequence[StorageObject], tally: ScanStats) -> None:
        """Accept those of `seen` that are new, wanted and settled; count them in `tally`."""
        await self.take_pages(watched, [seen], tally)

    async def take_pages(
        self, watched: WatchState, pages: Sequence[Sequence[StorageObject]], tally: ScanStats
    ) -> None:
        """As `take`, for pages of a listing: the keys of each are close together."""
        if not any(pages):
            return
        found = await self._database.read(ledger.compare_pages, watched.row.scope_id, pages, tally.seen)
        if found.missed:
            await self._database.write(absences.clear_absences, watched.row.scope_id, found.missed)
        difference = await self._restore_reappeared(watched, found.diff)
        tally.known += difference.known
        wanted = await self._select(watched, [*difference.created, *difference.modified], tally)
        if watched.settling:
            for key in {obj.key for obj in chain(*pages)} - {obj.key for obj in wanted}:
                watched.settling.pop(key, None)
        ready = wanted if watched.storage.capabilities.atomic_writes else await self._settle(watched, wanted)
        tally.settling += len(wanted) - len(ready)
        if ready:
            await self._accept(watched, ready, tally)

    async def _restore_reappeared(self, watched: WatchState, difference: Diff) -> Diff:
        """Drop versions that have a tombstone if the store never reuses version ids, and restore them in the ledger.

        They were never deleted.
        """
        if watched.storage.capabilities.versions_recur or not difference.created:
            return difference
        scope_id, created = watched.row.scope_id, difference.created
        reappeared = await self._database.read(absences.find_tombstones, scope_id, created)
        if not reappeared:
            return difference
        await self._database.write(absences.restore_versions, scope_id, list(reappeared.values()))
        fresh = [obj for obj in created if obj[:2] not in reappeared]
        return Diff(fresh, difference.modified, difference.known + len(reappeared))

    async def _select(
        self, watched: WatchState, new: Sequence[StorageObject], tally: ScanStats
    ) -> list[StorageObject]:
        """Return what the rules pick up of `new`; record the others where that is worth knowing."""
        if not new:
            return []
        selected = await watched.selection(self._database, self._sample()).select(new)
        if known := selected.list_never_imported():
            await self._database.write(
                windows.acknowledge_objects, watched.row.id, watched.row.generation, known
            )
            tally.note(known)
        if captions := selected.list_sidecars():
            await self._note_sidecars(watched, captions)
        tally.matched += sum(each.reason in _MATCHING for each in selected.choices)
        skipped = [each for each in selected.choices if not selected.earlier.has(each.obj.key)]
        tally.skipped += sum(each.reason not in _NOT_SKIPPED for each in skipped)
        await self.observe(
            watched, [each.to_skipped() for each in skipped if each.reason in _WORTH_OBSERVING]
        )
        return selected.list_wanted()

    async def _note_sidecars(self, watched: WatchState, seen: Sequence[SkippedObject]) -> None:
        """Record new captions; they replace the transcripts of media that were processed without them."""
        row = watched.row
        if await self._database.read(ledger.has_new_observations, row.id, seen):
            at = self._clock.now() + row.settle_seconds
            await self._database.write(sidecars.record_sidecars, row.id, row.connector_id, seen, at)

    async def observe(self, watched: WatchState, skipped: Sequence[SkippedObject]) -> None:
        """Record what the automation skips and why, unless that is recorded."""
        if not skipped or not await self._database.read(ledger.has_new_observations, watched.row.id, skipped):
            return
        for item in await self._database.write(ledger.record_observations, watched.row.id, skipped):
            self._telemetry.emit(
                "change.skipped", automation=watched.row.id, object_key=item.key, reason=item.reason
            )

    async def _settle(self, watched: WatchState, wanted: list[StorageObject]) -> list[StorageObject]:
        """Return the objects that settled and that no writer has open; the others wait for the next look."""
        now = self._clock.monotonic()
        quiet: list[StorageObject] = []
        for obj in wanted:
            sighting = note_sighting(watched.settling.get(obj.key), obj, now)
            if is_settled(sighting, watched.row.settle_seconds, now):
                quiet.append(obj)
            elif obj.key in watched.settling or len(watched.settling) < _MOST_SETTLING:
                watched.settling[obj.key] = sighting
        held = await watched.storage.in_use([obj.key for obj in quiet])
        for obj in quiet:
            if obj.key in held:
                watched.settling[obj.key] = Sighting(obj.version, obj.changed_at, now)
            else:
                watched.settling.pop(obj.key, None)
        if watched.settling:
            self.unsettled.set()
        return [obj for obj in quiet if obj.key not in held]

    async def _accept(self, watched: WatchState, ready: list[StorageObject], tally: ScanStats) -> None:
        row = watched.row
        result = await self._database.write(windows.accept_objects, row.id, row.generation, ready)
        tally.note(ready)
        tally.accepted += result.count
        tally.changed += result.changed
        if tally.late_seconds is not None:
            since = self._clock.now() + watched.storage.clock_ahead_seconds - tally.late_seconds
            tally.recovered += min(result.count, sum(obj.changed_at < since for obj in ready))
        note_new_keys(tally.newest, (obj.key for obj in ready))
        self._report(row.id, ready, result)

    def _report(
        self, automation_id: str, ready: Sequence[StorageObject], result: windows.AcceptResult
    ) -> None:
        if result.opened:
            self._telemetry.emit(
                "window.opened", automation=automation_id, window=result.window_id, due_at=result.due_at
            )
        if result.count:
            self._telemetry.emit(
                "change.accepted",
                automation=automation_id,
                window=result.window_id,
                objects=result.count,
                object_key=ready[0].key,
                due_at=result.due_at,
            )
        for closed in result.closed:
            announce_closed(self._telemetry, closed)
