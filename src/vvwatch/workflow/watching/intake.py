"""From what was seen to the window: what is new, wanted and settled joins it, each version once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import anyio

from vvwatch.core.cadence import note_new_keys
from vvwatch.core.filters import WORTH_KNOWING
from vvwatch.core.ledger import Diff
from vvwatch.core.objects import StorageObject
from vvwatch.core.settling import Sighting, is_settled, note_sighting
from vvwatch.ports import Clock, Irregularity
from vvwatch.store.db.database import Database
from vvwatch.store.watching import absences, ledger, windows
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watching.watch_state import ScanStats, WatchState, to_observation
from vvwatch.workflow.watching.windows import announce_closed

_MOST_SETTLING = 200_000


class Intake:
    """Takes in what listings and events saw. `unsettled` is set when something began to settle."""

    def __init__(
        self, database: Database, clock: Clock, telemetry: Telemetry, sample: Callable[[], float]
    ) -> None:
        self.unsettled = anyio.Event()
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._sample = sample

    async def take(self, watched: WatchState, seen: Sequence[StorageObject], tally: ScanStats) -> None:
        """Take in what of `seen` is new to the ledger, wanted and settled; counted in `tally`."""
        await self.take_runs(watched, [seen], tally)

    async def take_runs(
        self, watched: WatchState, runs: Sequence[Sequence[StorageObject]], tally: ScanStats
    ) -> None:
        """As `take`, of runs of objects whose keys stand close together, as a page of a listing has them."""
        if not any(runs):
            return
        held = await self._database.read(ledger.compare_pages, watched.row.scope_id, runs, tally.seen)
        if held.missed:
            await self._database.write(absences.clear_absences, watched.row.scope_id, held.missed)
        difference = await self._without_risen(watched, held.diff)
        tally.known += difference.known
        await self.offer(watched, chain(*runs), difference, tally)

    async def _without_risen(self, watched: WatchState, difference: Diff) -> Diff:
        """Where a version never comes twice, one that was taken for gone was only out of sight: it is known."""
        if watched.storage.capabilities.versions_recur or not difference.created:
            return difference
        scope_id, created = watched.row.scope_id, difference.created
        risen = await self._database.read(absences.find_tombstones, scope_id, created)
        if not risen:
            return difference
        await self._database.write(absences.restore_versions, scope_id, list(risen.values()))
        fresh = [obj for obj in created if obj[:2] not in risen]
        return Diff(fresh, difference.modified, difference.known + len(risen))

    async def offer(
        self, watched: WatchState, seen: Iterable[StorageObject], difference: Diff, tally: ScanStats
    ) -> None:
        """As `take`, of what was held against the ledger; what is no candidate any more has nothing to settle."""
        wanted = await self._wanted(watched, difference, tally)
        if watched.settling:
            for key in {obj.key for obj in seen} - {obj.key for obj in wanted}:
                watched.settling.pop(key, None)
        ready = wanted if watched.storage.capabilities.atomic_writes else await self._ripe(watched, wanted)
        tally.settling += len(wanted) - len(ready)
        if ready:
            await self._accept(watched, ready, tally)

    async def observe_irregular(self, watched: WatchState, irregular: Sequence[Irregularity]) -> None:
        """Remember what stands there, would be wanted and can be no object."""
        await self._observe(
            watched,
            [
                {
                    "key": item.key,
                    "version": "",
                    "reason": item.reason,
                    "detail": item.detail,
                    "size_bytes": 0,
                }
                for item in irregular
            ],
        )

    async def _wanted(self, watched: WatchState, difference: Diff, tally: ScanStats) -> list[StorageObject]:
        """What passes the filter and the import mode; what does not is remembered where it is worth knowing."""
        new = [*difference.created, *difference.modified]
        firsts = await self._firsts(watched, new)
        later = firsts.taken | firsts.awaited
        first = [obj for obj in new if obj.key not in later]
        named = [obj for obj in first if _is_worth_examining(watched, obj.key)]
        candidates, own = await self._without_own(watched, named)
        if candidates:
            candidates = await watched.looked_into(self._database, candidates, self._sample())
        verdicts = [(obj, watched.filter.verdict(obj)) for obj in candidates]
        wanted, existing = watched.split_existing([obj for obj, verdict in verdicts if verdict.accepted])
        declined = [obj for obj in new if obj.key in later and watched.filter.verdict(obj).accepted]
        if known := [*(obj for obj in declined if obj.key in firsts.taken), *own, *existing]:
            await self._database.write(
                windows.acknowledge_objects, watched.row.id, watched.row.generation, known
            )
            tally.note(known)
        tally.matched += len(wanted) + len(declined) + len(existing)
        tally.skipped += len(first) - len(own) - len(wanted)
        refused = [(obj, verdict) for obj, verdict in verdicts if verdict.reason in WORTH_KNOWING]
        await self._observe(watched, [to_observation(obj, v.reason, v.detail) for obj, v in refused])
        return wanted

    async def _firsts(self, watched: WatchState, new: Sequence[StorageObject]) -> ledger.KnownKeys:
        """Where only the first version of a key counts: the keys that had one."""
        if not watched.new_only or not new:
            return ledger.KnownKeys(set(), set())
        return await self._database.read(
            ledger.find_known_keys, watched.row.scope_id, [obj.key for obj in new]
        )

    async def _without_own(
        self, watched: WatchState, candidates: list[StorageObject]
    ) -> tuple[list[StorageObject], list[StorageObject]]:
        """Split off what we wrote ourselves."""
        uris = {watched.storage.uri(obj.key): obj for obj in candidates}
        ours = await self._database.read(ledger.find_own_outputs, list(uris)) if uris else set()
        return [o for u, o in uris.items() if u not in ours], [o for u, o in uris.items() if u in ours]

    async def _observe(self, watched: WatchState, observed: list[dict[str, Any]]) -> None:
        if not observed or not await self._database.read(
            ledger.has_new_observations, watched.row.id, observed
        ):
            return
        for item in await self._database.write(ledger.record_observations, watched.row.id, observed):
            self._telemetry.emit(
                "change.skipped", automation=watched.row.id, object_key=item["key"], reason=item["reason"]
            )

    async def _ripe(self, watched: WatchState, wanted: list[StorageObject]) -> list[StorageObject]:
        """Those that have settled and that no visible writer holds; the others wait for the next look."""
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
        self._tell(row.id, ready, result)

    def _tell(self, automation_id: str, ready: Sequence[StorageObject], result: windows.AcceptResult) -> None:
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


def _is_worth_examining(watched: WatchState, key: str) -> bool:
    """Whether more than its name decides, or its owner is told; a bucket may be full of what nobody wants."""
    verdict = watched.filter.name_verdict(key)
    return verdict.accepted or verdict.reason in WORTH_KNOWING
