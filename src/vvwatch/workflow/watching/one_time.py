"""One-time import jobs: the connector is listed once, and what it has and is wanted becomes the job's manifest.

The rules are those of the intake of automations. A file that may still be written to is waited for a little, and is
left alone, with the reason, when it does not come to rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from vvwatch.core.filters import WORTH_KNOWING, ObjectFilter, Reason, explain_reason
from vvwatch.core.objects import StorageObject
from vvwatch.errors import StorageError, StorageUnavailable
from vvwatch.ports import Clock, Irregularity, Job, Page, Storage
from vvwatch.store.db.database import Database
from vvwatch.store.imports import cancellation, one_time
from vvwatch.store.imports.imports import FileEnd
from vvwatch.store.imports.one_time import Listing, SkippedObject
from vvwatch.store.watching import ledger
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.listings import closing
from vvwatch.workflow.pipeline.reading import Reading, to_known_error
from vvwatch.workflow.watching.watch_state import find_left_out

_SETTLE_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 60.0
_MOST_SETTLING: Final = 10_000
_MOST_ASKED: Final = 1_000
_AT_ONCE: Final = 500


class _Superseded(Exception):
    """Another listing of the job counts now, or none: it was cancelled."""


@dataclass
class _JobListing:
    """One listing under way. `settling` are those that may still be written to; `asked` counts archived ones."""

    job: Job
    listing: Listing
    storage: Storage
    filter: ObjectFilter
    settling: dict[str, StorageObject] = field(default_factory=dict)
    asked: int = 0
    files: int = 0


class OneTimeImports:
    """Lists for import jobs, and tells the files of those that were stopped."""

    def __init__(self, database: Database, clock: Clock, telemetry: Telemetry, reading: Reading) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._reading = reading

    async def advance(self, job: Job) -> None:
        """Handle the work of an import job as a whole."""
        listing = await self._database.write(one_time.begin, job)
        if listing is None:
            await self._tell_files(job)
            return
        try:
            await self._listed(job, listing)
        except _Superseded:
            return
        except Exception as failure:  # noqa: BLE001  # one job's trouble must not go on for ever
            await self._failed(job, listing, failure)

    async def _tell_files(self, job: Job) -> None:
        """In transactions so short that nobody waits for one, with a pause after each."""
        while True:
            started = self._clock.monotonic()
            if not await self._database.write(cancellation.skip_files, job):
                return
            took = self._clock.monotonic() - started
            if took > 0:
                await self._clock.sleep(took)

    async def _listed(self, job: Job, listing: Listing) -> None:
        row = listing.row
        storage = await self._reading.storage(listing.connector)
        rules = ObjectFilter.of(row)
        look = _JobListing(job, listing, storage, rules)
        async with closing(
            storage.list(row.source_prefix, recursive=row.recursive, skips=rules.skips)
        ) as pages:
            async for page in pages:
                await self._page(look, page)
        await self._settled(look)
        end = await self._database.write(one_time.seal, job, listing)
        if end is not None:
            self._telemetry.emit("import.started", import_job=end.job_id, files=look.files)
            self._announce(end)

    def _announce(self, end: FileEnd) -> None:
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

    async def _failed(self, job: Job, listing: Listing, failure: Exception) -> None:
        """A storage that is away is waited for; what a person has to mend before all else has failed."""
        error = to_known_error(job, failure)
        again = self._reading.again_at(error, listing.row.attempts)
        if again is None:
            end = await self._database.write(one_time.fail, job, listing, error.message)
            if end is not None:
                self._announce(end)
            return
        await self._database.write(one_time.list_again, job, listing, again, error.message)
        self._telemetry.emit(
            "import.listing_retried",
            import_job=listing.row.id,
            connector=listing.connector.id,
            attempt=listing.row.attempts,
            error=error,
        )

    async def _page(self, look: _JobListing, page: Page) -> None:
        for start in range(0, len(page.objects), _AT_ONCE):
            await self._objects(look, page.objects[start : start + _AT_ONCE])
        if left := [
            _decline_irregular(each) for each in find_left_out(look.filter, Page((), page.irregular))
        ]:
            await self._take(look, [], left)

    async def _objects(self, look: _JobListing, objects: Sequence[StorageObject]) -> None:
        """What of these is wanted and at rest is gathered; what may move is kept for the end of the listing."""
        wanted, left = await self._judged(look, objects)
        at_rest = wanted if look.storage.capabilities.atomic_writes else await self._at_rest(look, wanted)
        resting = {obj.key for obj in at_rest}
        moving = [obj for obj in wanted if obj.key not in resting]
        room = _MOST_SETTLING - len(look.settling)
        look.settling.update((obj.key, obj) for obj in moving[:room])
        await self._take(look, at_rest, [*left, *(_decline(obj, Reason.SETTLING) for obj in moving[room:])])

    async def _judged(
        self, look: _JobListing, objects: Sequence[StorageObject]
    ) -> tuple[list[StorageObject], list[SkippedObject]]:
        """What of these passes the rules, and of the others those of which a person would want to hear."""
        found = await self._thawed(look, await self._without_own(look, objects))
        verdicts = [(obj, look.filter.verdict(obj)) for obj in found]
        left = [
            _decline(obj, verdict.reason, verdict.detail)
            for obj, verdict in verdicts
            if verdict.reason in WORTH_KNOWING
        ]
        return [obj for obj, verdict in verdicts if verdict.accepted], left

    async def _take(
        self, look: _JobListing, wanted: Sequence[StorageObject], left: Sequence[SkippedObject]
    ) -> None:
        if not wanted and not left:
            return
        taken = await self._database.write(one_time.record_listed, look.job, look.listing, wanted, left)
        if taken is None:
            raise _Superseded
        look.files = taken.total_files - taken.skipped

    async def _without_own(self, look: _JobListing, objects: Sequence[StorageObject]) -> list[StorageObject]:
        """What we wrote ourselves is never an input."""
        candidates = {
            look.storage.uri(obj.key): obj for obj in objects if look.filter.name_verdict(obj.key).accepted
        }
        own = await self._database.read(ledger.find_own_outputs, list(candidates)) if candidates else set()
        ours = {candidates[uri].key for uri in own}
        return [obj for obj in objects if obj.key not in ours]

    async def _thawed(self, look: _JobListing, objects: list[StorageObject]) -> list[StorageObject]:
        """Each archived or not as is known now; of very many archived ones some are asked about."""
        frozen = [obj.key for obj in objects if obj.archived and look.filter.name_verdict(obj.key).accepted]
        asked = frozen[: max(_MOST_ASKED - look.asked, 0)]
        if not asked:
            return objects
        look.asked += len(asked)
        thawed = set(await look.storage.restored(asked))
        return [obj._replace(archived=obj.archived and obj.key not in thawed) for obj in objects]

    async def _at_rest(self, look: _JobListing, objects: Iterable[StorageObject]) -> list[StorageObject]:
        """Those that were not written to for a while and that no visible writer holds."""
        since = self._clock.now() + look.storage.clock_ahead_seconds - _SETTLE_SECONDS
        still = [obj for obj in objects if obj.changed_at <= since]
        held = await look.storage.in_use([obj.key for obj in still]) if still else ()
        return [obj for obj in still if obj.key not in held]

    async def _settled(self, look: _JobListing) -> None:
        """Wait for what may still be written to; what then is as it was seen is gathered."""
        until = self._clock.monotonic() + _PATIENCE_SECONDS
        while look.settling and self._clock.monotonic() < until:
            await self._clock.sleep(_SETTLE_SECONDS)
            seen, look.settling = look.settling, {}
            for start in range(0, len(seen), _AT_ONCE):
                await self._looked_again(look, list(seen.values())[start : start + _AT_ONCE])
        left = [_decline(obj, Reason.SETTLING) for obj in look.settling.values()]
        for start in range(0, len(left), _AT_ONCE):
            await self._take(look, [], left[start : start + _AT_ONCE])

    async def _looked_again(self, look: _JobListing, seen: Sequence[StorageObject]) -> None:
        there = [(obj, await _stat_or_none(look.storage, obj.key)) for obj in seen]
        held = await look.storage.in_use([obj.key for obj in seen])
        rested = [obj for obj, now in there if now == obj and obj.key not in held]
        resting = {obj.key for obj in rested}
        moving = [now for _, now in there if now is not None and now.key not in resting]
        look.settling.update((now.key, now) for now in moving)
        await self._take(look, *await self._judged(look, rested))


async def _stat_or_none(storage: Storage, key: str) -> StorageObject | None:
    """What stands at the key; None when nothing that could be imported does any more."""
    try:
        return await storage.stat(key)
    except StorageUnavailable:
        raise
    except StorageError:
        return None


def _decline(obj: StorageObject, reason: Reason, detail: str = "") -> SkippedObject:
    told = f"{explain_reason(reason)} ({detail})" if detail else explain_reason(reason)
    return SkippedObject(obj.key, obj.version, obj.size_bytes, reason, told)


def _decline_irregular(found: Irregularity) -> SkippedObject:
    return SkippedObject(found.key, "", 0, Reason(found.reason), found.detail)
