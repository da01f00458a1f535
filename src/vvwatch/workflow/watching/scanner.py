"""A full scan: compare a whole listing with the ledger, accept what is new, and mark what is gone.

Memory is bounded: pages are compared as they come, and a seen key takes two bytes. The ledger is read again only if
the scan may have missed something of it.
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
from vvwatch.core.known_pages import KnownPage, find_last_key
from vvwatch.core.objects import StorageObject
from vvwatch.core.presence import SeenKeys, explain_doubt
from vvwatch.errors import StorageError, VvwatchError
from vvwatch.ports import Clock, Job, Page
from vvwatch.store.db.database import Database
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.watching import ScanReport
from vvwatch.store.watching import absences
from vvwatch.store.watching.absences import MissingChunk
from vvwatch.workflow.watching.intake import Intake
from vvwatch.workflow.watching.unanswered import UnansweredStores
from vvwatch.workflow.watching.watch_state import ScanStats, WatchState, list_left_out

_COMPARED_AT_ONCE: Final = 4_000
_RUN_KEYS: Final = 1_000
_HIDING: Final = (Reason.PERMISSION_DENIED, Reason.INCOMPLETE_ENTRY)
"""These may hide a known object, which then is not gone."""

_SALTS: Final = 1 << 53
_ANOTHER_PLACE: Final = "another file system is there now, or none, so this proves nothing"


@dataclass(frozen=True, slots=True)
class FullScan:
    """The result of a full scan, and the error that ended it early. `last_key` is the last listed key, in order.

    `doubt`: so much is missing that it is not believed. `place` identifies the location of the last believed scan.
    """

    report: ScanReport
    last_key: str
    error: VvwatchError | None
    doubt: Doubt | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Whether missing objects may be marked gone; `remark` says why not, or what is missing; `gone` were marked."""

    proof: bool = False
    remark: str = ""
    gone: int = 0
    doubt: Doubt | None = None


class Scanner:
    """Lists locations and passes what it finds to the intake."""

    def __init__(self, database: Database, clock: Clock, intake: Intake, sample: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._intake = intake
        self._sample = sample
        self.unanswered = UnansweredStores(clock)
        self.confirmation = Confirmation()
        self.place_of: Callable[[Connector], str | None] = lambda _: ANY_PLACE

    async def look(self, watched: WatchState, prefix: str, tally: ScanStats, after: str = "") -> str:
        """List `prefix` after the key `after` and take in what is new; return the last key, in order.

        Raises what the listing raises, once everything listed before is taken in: an unavailable part hides no other.
        """
        pages = _PageBuffer()
        try:
            listing = watched.storage.list(
                prefix, recursive=watched.row.recursive, after=after, skips=watched.filter.skips
            )
            async for page in self.unanswered.count_waits(watched.connector.id, listing):
                await self._take_page(watched, page, tally)
                pages.add(page.objects)
                if pages.count >= _COMPARED_AT_ONCE:
                    await self._intake.take_pages(watched, pages.take_all(), tally)
        except StorageError:
            await self._intake.take_pages(watched, pages.take_all(), tally)
            raise
        await self._intake.take_pages(watched, pages.take_all(), tally)
        return max(pages.last_key, after)

    async def _take_page(self, watched: WatchState, page: Page, tally: ScanStats) -> None:
        tally.listed += len(page.objects)
        tally.calls += page.calls
        tally.blind |= any(item.reason in _HIDING for item in page.irregular)
        left = list_left_out(watched.filter, page)
        tally.left_out.add(left)
        await self._intake.observe(watched, left)

    async def scan_fully(self, job: Job, watched: WatchState, tally: ScanStats) -> FullScan:
        """List everything the automation watches: new objects join its window, missing ones may leave the ledger."""
        started_at, started = self._clock.now(), self._clock.monotonic()
        row, sweep_id = watched.row, new_id("rec", started_at, secrets.token_bytes(10))
        tally.place = await self._find_place(watched)
        expected = await self._database.read(absences.count_live, row.scope_id, row.source_prefix)
        tally.seen = seen = SeenKeys(expected, int(self._sample() * _SALTS))
        error: VvwatchError | None = None
        last_key = ""
        try:
            last_key = await self.look(watched, row.source_prefix, tally)
            verdict = await self._judge_missing(job, watched, tally, seen, sweep_id)
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

    async def _find_place(self, watched: WatchState) -> str | None:
        """Return what identifies the location now. For a folder this may block."""
        with self.unanswered.count_request(watched.connector.id):
            return await anyio.to_thread.run_sync(self.place_of, watched.connector, abandon_on_cancel=True)

    async def _judge_missing(
        self, job: Job, watched: WatchState, tally: ScanStats, seen: SeenKeys, sweep_id: str
    ) -> _Verdict:
        """Return the verdict on the known objects that a whole listing lacks."""
        row = watched.row
        if tally.blind:
            return _Verdict(remark="parts of it may not be read: nothing counts as gone")
        if not seen.expected:
            return _Verdict(proof=True)
        live = await self._database.read(absences.count_live, row.scope_id, row.source_prefix)
        if seen.at_least() == live:
            return _Verdict(proof=True)
        present = missing = 0
        async for chunk in self._read_missing(watched, seen):
            present, missing = present + chunk.seen, missing + len(chunk.lacking)
        if missing and row.accept_missing:
            return await self._accept_missing(job, watched, seen)
        if why := explain_doubt(tally.listed, present, missing):
            return await self._weigh_doubt(job, watched, tally, sweep_id, missing, why)
        return await self._record_missing(job, watched, seen, sweep_id) if missing else _Verdict(proof=True)

    async def _weigh_doubt(
        self, job: Job, watched: WatchState, tally: ScanStats, sweep_id: str, missing: int, why: str
    ) -> _Verdict:
        """Mark a mass loss gone only if it lasts at the same place: the place itself may be away."""
        row, now = watched.row, self._clock.now()
        known = ANY_PLACE if tally.place == ANY_PLACE else row.place
        proven = tally.place is not None and known == tally.place == await self._find_place(watched)
        found = extend_doubt(Doubt.of(row.doubt), now, missing, why, proven=proven)
        if tally.seen is not None and found.is_over(now, self.confirmation):
            return replace(await self._record_missing(job, watched, tally.seen, sweep_id), doubt=found)
        until = f"believed after {self.confirmation} of the same place" if proven else _ANOTHER_PLACE
        return _Verdict(remark=f"{why}; {until}", doubt=found)

    async def _accept_missing(self, job: Job, watched: WatchState, seen: SeenKeys) -> _Verdict:
        """Mark missing objects gone because a person says so."""
        gone = 0
        async for chunk in self._read_missing(watched, seen):
            args = job, watched.row.scope_id, chunk.lacking
            gone += await self._database.write(absences.accept_missing, *args) if chunk.lacking else 0
        return _Verdict(proof=True, gone=gone)

    async def _record_missing(self, job: Job, watched: WatchState, seen: SeenKeys, sweep_id: str) -> _Verdict:
        """Record objects missing for the first time; mark those gone that the last full scan missed too."""
        gone = missing = 0
        async for chunk in self._read_missing(watched, seen):
            missing += len(chunk.lacking)
            args = job, watched.row.scope_id, sweep_id, chunk.lacking
            gone += await self._database.write(absences.record_missing, *args) if chunk.lacking else 0
        first = missing - gone
        remark = f"{first:,} known objects were not listed: the next full scan decides" if first else ""
        return _Verdict(proof=True, remark=remark, gone=gone)

    async def _read_missing(self, watched: WatchState, seen: SeenKeys) -> AsyncIterator[MissingChunk]:
        """Yield the part of the ledger that the automation watches, chunk by chunk."""
        row, after = watched.row, None
        while True:
            place = row.scope_id, row.source_prefix, after
            chunk = await self._database.read(absences.read_missing, *place, seen, watched.covers)
            yield chunk
            if chunk.last is None:
                return
            after = chunk.last


class _PageBuffer:
    """Collects pages, and joins small ones whose keys are close together."""

    def __init__(self) -> None:
        self.count = 0
        self.last_key = ""
        self._runs: list[Sequence[StorageObject]] = []

    def add(self, found: Sequence[StorageObject]) -> None:
        if not found:
            return
        self.count += len(found)
        self.last_key = max(
            self.last_key, find_last_key(found)
        )  # stores that list from a key on list in order
        last = self._runs[-1] if self._runs else None
        if isinstance(last, list) and len(last) + len(found) <= _RUN_KEYS:
            last += found
        else:
            self._runs.append(found if isinstance(found, KnownPage) else list(found))

    def take_all(self) -> list[Sequence[StorageObject]]:
        """Return the pages and empty the buffer."""
        runs, self._runs, self.count = self._runs, [], 0
        return runs
