"""One sweep: a whole listing held against the ledger, what of it is new, and what of the ledger is gone.

Bounded in memory: pages are compared as they come, and which keys were seen is kept in two bytes each. The ledger is
read once more only where the sweep may have missed something of it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import anyio
import anyio.to_thread

from vvwatch.core.absence import ANY_PLACE, Confirmation, Doubt, extend_doubt
from vvwatch.core.filters import Reason
from vvwatch.core.identities import new_id
from vvwatch.core.objects import StorageObject
from vvwatch.core.presence import SeenKeys, explain_doubt
from vvwatch.errors import StorageError, VvwatchError
from vvwatch.ports import Clock, Job, Page
from vvwatch.store.db.database import Database
from vvwatch.store.models.catalog import Connector
from vvwatch.store.watching import absences
from vvwatch.store.watching.absences import MissingChunk
from vvwatch.store.watching.scans import ScanReport
from vvwatch.workflow.watching.intake import Intake
from vvwatch.workflow.watching.unanswered import UnansweredStores
from vvwatch.workflow.watching.watch_state import ScanStats, WatchState, list_left_out

_COMPARED_AT_ONCE: Final = 4_000
_RUN_KEYS: Final = 1_000
_HIDING: Final = (Reason.PERMISSION_DENIED, Reason.INCOMPLETE_ENTRY)
"""Where an object that is known may stand, which then is not gone."""

_SALTS: Final = 1 << 53
_ANOTHER_PLACE: Final = "another file system is there now, or none, so this proves nothing"


@dataclass(frozen=True, slots=True)
class FullScan:
    """What a sweep came to, and what broke it off. `last_key` is the last one it listed, in order.

    `doubt`: so much is missing that it is not believed. `place` is what stood at the location, where it was believed.
    """

    report: ScanReport
    last_key: str
    error: VvwatchError | None
    doubt: Doubt | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Whether what is lacking may be taken for gone; why not, or what is lacking; how much left the ledger."""

    proof: bool = False
    remark: str = ""
    gone: int = 0
    doubt: Doubt | None = None


class Scanner:
    """Lists, and takes in what is new."""

    def __init__(self, database: Database, clock: Clock, intake: Intake, sample: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._intake = intake
        self._sample = sample
        self.silence = UnansweredStores(clock)
        self.confirmation = Confirmation()
        self.place_of: Callable[[Connector], str | None] = lambda _: ANY_PLACE

    async def look(self, watched: WatchState, prefix: str, tally: ScanStats, after: str = "") -> str:
        """List `prefix` behind the key `after` and take in what is new; returns the last key in order.

        Raises what the listing raises, when all that came before is taken in: a part of the place being away hides
        no other.
        """
        runs = _PageBuffer()
        try:
            listing = watched.storage.list(
                prefix, recursive=watched.row.recursive, after=after, skips=watched.filter.skips
            )
            async for page in self.silence.awaited(watched.connector.id, listing):
                await self._note(watched, page, tally)
                runs.add(page.objects)
                if runs.count >= _COMPARED_AT_ONCE:
                    await self._intake.take_pages(watched, runs.taken(), tally)
        except StorageError:
            await self._intake.take_pages(watched, runs.taken(), tally)
            raise
        await self._intake.take_pages(watched, runs.taken(), tally)
        return max(runs.last_key, after)

    async def _note(self, watched: WatchState, page: Page, tally: ScanStats) -> None:
        tally.listed += len(page.objects)
        tally.calls += page.calls
        tally.blind |= any(item.reason in _HIDING for item in page.irregular)
        left = list_left_out(watched.filter, page)
        tally.left_out.add(left)
        await self._intake.observe(watched, left)

    async def sweep(self, job: Job, watched: WatchState, tally: ScanStats) -> FullScan:
        """List all that the automation watches; what is new joins its window, what is gone leaves the ledger."""
        started_at, started = self._clock.now(), self._clock.monotonic()
        row, sweep_id = watched.row, new_id("rec", started_at, secrets.token_bytes(10))
        tally.place = await self._place(watched)
        expected = await self._database.read(absences.count_live, row.scope_id, row.source_prefix)
        tally.seen = seen = SeenKeys(expected, int(self._sample() * _SALTS))
        error: VvwatchError | None = None
        last_key = ""
        try:
            last_key = await self.look(watched, row.source_prefix, tally)
            verdict = await self._verdict(job, watched, tally, seen, sweep_id)
        except VvwatchError as broken:
            error, verdict = broken, _Verdict(remark=broken.message)
        report = ScanReport(
            id=sweep_id,
            started_at=started_at,
            finished_at=self._clock.now(),
            complete=error is None,
            proof=verdict.proof,
            remark=verdict.remark,
            listed=tally.listed,
            matched=tally.known + tally.matched,
            known=tally.known,
            created=tally.accepted - tally.changed,
            changed=tally.changed,
            gone=verdict.gone,
            recovered=tally.recovered,
            list_calls=tally.calls,
            cost_usd=tally.calls * watched.storage.capabilities.list_usd,
            duration_seconds=round(self._clock.monotonic() - started, 3),
            left_out=dict(tally.left_out.counts),
            odd=tuple(watched.storage.notes.odd),
        )
        place = tally.place if verdict.proof and verdict.doubt is None and tally.listed else row.place
        return FullScan(report, last_key, error, verdict.doubt, place)

    async def _place(self, watched: WatchState) -> str | None:
        """What stands at the location now. Asking for a folder may block."""
        with self.silence.asking(watched.connector.id):
            return await anyio.to_thread.run_sync(self.place_of, watched.connector, abandon_on_cancel=True)

    async def _verdict(
        self, job: Job, watched: WatchState, tally: ScanStats, seen: SeenKeys, sweep_id: str
    ) -> _Verdict:
        """What the whole listing says about what it lacks."""
        row = watched.row
        if tally.blind:
            return _Verdict(remark="some of it may not be looked into: nothing is taken for gone")
        if not seen.expected:
            return _Verdict(proof=True)
        live = await self._database.read(absences.count_live, row.scope_id, row.source_prefix)
        if seen.at_least() == live:
            return _Verdict(proof=True)
        present = missing = 0
        async for chunk in self._lacking(watched, seen):
            present, missing = present + chunk.seen, missing + len(chunk.lacking)
        if missing and row.accept_missing:
            return await self._accepted(job, watched, seen)
        if why := explain_doubt(tally.listed, present, missing):
            return await self._doubted(job, watched, tally, sweep_id, missing, why)
        return await self._judged(job, watched, seen, sweep_id) if missing else _Verdict(proof=True)

    async def _doubted(
        self, job: Job, watched: WatchState, tally: ScanStats, sweep_id: str, missing: int, why: str
    ) -> _Verdict:
        """So much is missing that it may be the place that is away: believed when it lasts at a place that stays."""
        row, now = watched.row, self._clock.now()
        known = ANY_PLACE if tally.place == ANY_PLACE else row.place
        proven = tally.place is not None and known == tally.place == await self._place(watched)
        found = extend_doubt(Doubt.of(row.doubt), now, missing, why, proven=proven)
        if tally.seen is not None and found.is_over(now, self.confirmation):
            return replace(await self._judged(job, watched, tally.seen, sweep_id), doubt=found)
        until = f"believed after {self.confirmation} of the same place" if proven else _ANOTHER_PLACE
        return _Verdict(remark=f"{why}; {until}", doubt=found)

    async def _accepted(self, job: Job, watched: WatchState, seen: SeenKeys) -> _Verdict:
        """A person says that what is lacking is gone."""
        gone = 0
        async for chunk in self._lacking(watched, seen):
            args = job, watched.row.scope_id, chunk.lacking
            gone += await self._database.write(absences.accept_missing, *args) if chunk.lacking else 0
        return _Verdict(proof=True, gone=gone)

    async def _judged(self, job: Job, watched: WatchState, seen: SeenKeys, sweep_id: str) -> _Verdict:
        """What is lacking for the first time is noted; what the last sweep lacked as well leaves the ledger."""
        gone = missing = 0
        async for chunk in self._lacking(watched, seen):
            missing += len(chunk.lacking)
            args = job, watched.row.scope_id, sweep_id, chunk.lacking
            gone += await self._database.write(absences.record_missing, *args) if chunk.lacking else 0
        first = missing - gone
        remark = f"{first:,} known objects were not listed: the next sweep decides" if first else ""
        return _Verdict(proof=True, remark=remark, gone=gone)

    async def _lacking(self, watched: WatchState, seen: SeenKeys) -> AsyncIterator[MissingChunk]:
        """The ledger of what the automation watches, chunk by chunk."""
        row, after = watched.row, None
        while True:
            place = row.scope_id, row.source_prefix, after
            chunk = await self._database.read(absences.read_missing, *place, seen, watched.covers)
            yield chunk
            if chunk.last is None:
                return
            after = chunk.last


class _PageBuffer:
    """Pages in runs of keys that stand close together: each its own, unless they are small."""

    def __init__(self) -> None:
        self.count = 0
        self.last_key = ""
        self._runs: list[list[StorageObject]] = []

    def add(self, found: Sequence[StorageObject]) -> None:
        if not found:
            return
        self.count += len(found)
        self.last_key = max(self.last_key, found[-1].key)  # stores that list from a key on list in order
        if self._runs and len(self._runs[-1]) + len(found) <= _RUN_KEYS:
            self._runs[-1] += found
        else:
            self._runs.append(list(found))

    def taken(self) -> list[list[StorageObject]]:
        """All of them, which are then gone."""
        runs, self._runs, self.count = self._runs, [], 0
        return runs
