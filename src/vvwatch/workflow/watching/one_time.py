"""One-time import jobs: list the connector once; the objects that are wanted become the job's manifest.

The rules are those of automations (`Selection`). The listing waits a little for files that may still be written to,
and skips those that keep changing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from vvwatch.core.filters import ObjectFilter, Reason
from vvwatch.core.objects import StorageObject
from vvwatch.core.selection import Choice, Selected, SkippedObject
from vvwatch.errors import StorageError, StorageUnavailable
from vvwatch.ports import Clock, Job, Page, Storage
from vvwatch.store.db.database import Database
from vvwatch.store.imports import cancellation, one_time
from vvwatch.store.imports.imports import FileEnd
from vvwatch.store.imports.one_time import Listing
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.listings import closing
from vvwatch.workflow.pacing import write_and_pause
from vvwatch.workflow.pipeline.reading import Reading, to_known_error
from vvwatch.workflow.watching.selection import Selection
from vvwatch.workflow.watching.watch_state import list_left_out

_SETTLE_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 60.0
_MOST_SETTLING: Final = 10_000
_MOST_ASKED: Final = 1_000
_AT_ONCE: Final = 500


class _Superseded(Exception):
    """Another listing of the job replaced this one, or the job was cancelled."""


@dataclass
class _JobListing:
    """A running listing. `settling` are files that may still be written to; `asked` counts archived objects."""

    job: Job
    listing: Listing
    storage: Storage
    filter: ObjectFilter
    settling: dict[str, StorageObject] = field(default_factory=dict)
    asked: int = 0
    files: int = 0

    def pick_asked(self, archived: Sequence[str]) -> Sequence[str]:
        """Return the archived keys to ask the storage about: the first of the job."""
        asked = archived[: max(_MOST_ASKED - self.asked, 0)]
        self.asked += len(asked)
        return asked


class OneTimeImports:
    """Runs the listings of import jobs, and skips the files of cancelled jobs."""

    def __init__(self, database: Database, clock: Clock, telemetry: Telemetry, reading: Reading) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._reading = reading

    async def advance(self, job: Job) -> None:
        """Handle the work of an import job as a whole."""
        listing = await self._database.write(one_time.begin, job)
        if listing is None:
            await self._skip_files(job)
            return
        try:
            await self._list(job, listing)
        except _Superseded:
            return
        except Exception as failure:  # noqa: BLE001  # one job's trouble must not go on for ever
            await self._handle_failure(job, listing, failure)

    async def _skip_files(self, job: Job) -> None:
        """Skip the files in short transactions, with a pause after each, so that nothing else waits long."""
        while await write_and_pause(self._database, self._clock, cancellation.skip_files, job):
            pass

    async def _list(self, job: Job, listing: Listing) -> None:
        row = listing.row
        storage = await self._reading.storage(listing.connector)
        rules = ObjectFilter.of(row)
        look = _JobListing(job, listing, storage, rules)
        async with closing(
            storage.list(row.source_prefix, recursive=row.recursive, skips=rules.skips)
        ) as pages:
            async for page in pages:
                await self._take_page(look, page)
        await self._settle(look)
        end = await self._database.write(one_time.seal, job, listing)
        if end is not None:
            self._telemetry.emit("import.started", import_job=end.job_id, files=look.files)
            self._report_end(end)

    def _report_end(self, end: FileEnd) -> None:
        if end.job_status is not None:
            self._telemetry.emit(
                "import.finished",
                import_job=end.job_id,
                automation="",
                status=end.job_status.value,
                imported=end.imported,
                failed=end.failed,
                skipped=end.skipped,
            )

    async def _handle_failure(self, job: Job, listing: Listing, failure: Exception) -> None:
        """List again later while the storage is unavailable; fail the job if a person must act first."""
        error = to_known_error(job, failure)
        again = self._reading.again_at(error, listing.row.attempts)
        if again is None:
            end = await self._database.write(one_time.fail, job, listing, error.message)
            if end is not None:
                self._report_end(end)
            return
        await self._database.write(one_time.list_again, job, listing, again, error.message)
        self._telemetry.emit(
            "import.listing_retried",
            import_job=listing.row.id,
            connector=listing.connector.id,
            attempt=listing.row.attempts,
            error=error,
        )

    async def _take_page(self, look: _JobListing, page: Page) -> None:
        for start in range(0, len(page.objects), _AT_ONCE):
            await self._take_objects(look, page.objects[start : start + _AT_ONCE])
        await self._record(look, [], list_left_out(look.filter, Page((), page.irregular)))

    async def _take_objects(self, look: _JobListing, objects: Sequence[StorageObject]) -> None:
        """Record objects that are wanted and settled; keep the others for the end of the listing."""
        selected = await self._select(look, objects)
        wanted = selected.list_wanted()
        settled = (
            wanted if look.storage.capabilities.atomic_writes else await self._find_settled(look, wanted)
        )
        keys = {obj.key for obj in settled}
        moving = [obj for obj in wanted if obj.key not in keys]
        room = _MOST_SETTLING - len(look.settling)
        look.settling.update((obj.key, obj) for obj in moving[:room])
        await self._record(look, settled, [*selected.list_skipped(), *_skip_settling(moving[room:])])

    async def _select(self, look: _JobListing, objects: Sequence[StorageObject]) -> Selected:
        return await Selection(self._database, look.storage, look.filter, look.pick_asked).select(objects)

    async def _record(
        self, look: _JobListing, wanted: Sequence[StorageObject], left: Sequence[SkippedObject]
    ) -> None:
        if not wanted and not left:
            return
        taken = await self._database.write(one_time.record_listed, look.job, look.listing, wanted, left)
        if taken is None:
            raise _Superseded
        look.files = taken.total_files - taken.skipped

    async def _find_settled(self, look: _JobListing, objects: Iterable[StorageObject]) -> list[StorageObject]:
        """Return the objects that have not changed for a while and that no writer has open."""
        since = self._clock.now() + look.storage.clock_ahead_seconds - _SETTLE_SECONDS
        still = [obj for obj in objects if obj.changed_at <= since]
        held = await look.storage.in_use([obj.key for obj in still]) if still else ()
        return [obj for obj in still if obj.key not in held]

    async def _settle(self, look: _JobListing) -> None:
        """Wait for files that may still be written to; record those that no longer change, skip the others."""
        until = self._clock.monotonic() + _PATIENCE_SECONDS
        while look.settling and self._clock.monotonic() < until:
            await self._clock.sleep(_SETTLE_SECONDS)
            seen, look.settling = look.settling, {}
            for start in range(0, len(seen), _AT_ONCE):
                await self._look_again(look, list(seen.values())[start : start + _AT_ONCE])
        left = _skip_settling(look.settling.values())
        for start in range(0, len(left), _AT_ONCE):
            await self._record(look, [], left[start : start + _AT_ONCE])

    async def _look_again(self, look: _JobListing, seen: Sequence[StorageObject]) -> None:
        there = [(obj, await _stat_or_none(look.storage, obj.key)) for obj in seen]
        held = await look.storage.in_use([obj.key for obj in seen])
        settled = [obj for obj, now in there if now == obj and obj.key not in held]
        keys = {obj.key for obj in settled}
        moving = [now for _, now in there if now is not None and now.key not in keys]
        look.settling.update((now.key, now) for now in moving)
        selected = await self._select(look, settled)
        await self._record(look, selected.list_wanted(), selected.list_skipped())


async def _stat_or_none(storage: Storage, key: str) -> StorageObject | None:
    """Return the object at the key; None if it no longer has one that can be imported."""
    try:
        return await storage.stat(key)
    except StorageUnavailable:
        raise
    except StorageError:
        return None


def _skip_settling(objects: Iterable[StorageObject]) -> list[SkippedObject]:
    return [Choice(obj, Reason.SETTLING).to_skipped() for obj in objects]
