"""One-time import jobs: what is listed is gathered once, whatever happens in between, and what is not has a reason."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.processing import FakeProcessor
from tests.store.pipeline import PROBE, RecordingSink, jobs_of, prepare
from tests.workflow.conftest import Told
from vvwatch.core.imports import FileStatus, ImportStatus
from vvwatch.core.objects import StorageObject
from vvwatch.errors import AccessDenied, StorageUnavailable
from vvwatch.ports import Capabilities, Irregularity, Kind, Page
from vvwatch.store.admin import invariants
from vvwatch.store.db.database import Database, requeue_overdue
from vvwatch.store.imports import cancellation, imports, one_time
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.imports.one_time import OneTimeSpec
from vvwatch.store.models.imports import ImportJob
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.schema import claims, events, import_files, import_jobs, media, objects, prompt_runs
from vvwatch.store.watching import automations, ledger, windows
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.watching.one_time import OneTimeImports

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """The process is gone."""


class Paged(FakeStorage):
    """Lists `size` objects on a page; `dies_before` is the page on which the process is killed."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.size = size
        self.dies_before: int | None = None
        self.irregular: list[Irregularity] = []
        self.between: Any = None

    async def list(
        self, prefix: str, *, recursive: bool, after: str = "", skips: Callable[[str], bool] | None = None
    ) -> AsyncIterator[Page]:
        self._check("")
        found = sorted(key for key in self._objects if key.startswith(prefix))
        for number, start in enumerate(range(0, len(found), self.size)):
            if number == self.dies_before:
                raise Killed
            if self.between is not None:
                await self.between(number)
            yield Page([self._objects[key][0] for key in found[start : start + self.size]], calls=1)
        if self.irregular:
            yield Page((), tuple(self.irregular))


class Folder(Paged):
    """Files may still be written to. `open` are held by a writer."""

    capabilities = Capabilities(atomic_writes=False)

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.open: set[str] = set()

    def put(self, key: str, data: bytes) -> StorageObject:
        self.moment = self.clock.now()
        return super().put(key, data)

    async def in_use(self, keys: Sequence[str]) -> set[str]:
        return self.open & set(keys)


@pytest.fixture
def storage() -> Paged:
    return Paged()


@pytest.fixture
async def automation(database: Database) -> ImportAutomation:
    """Paused: it is there, and looks for nothing by itself."""
    return await database.write(lambda tx: prepare(tx, paused=True))


@pytest.fixture
def listing(
    database: Database,
    clock: FakeClock,
    telemetry: Telemetry,
    storage: FakeStorage,
    automation: ImportAutomation,
) -> OneTimeImports:
    return listing_of(database, clock, telemetry, storage)


def listing_of(
    database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage
) -> OneTimeImports:
    reading = Reading(clock, lambda _: storage, FakeProcessor(), {}, 3, lambda: 0.5)
    return OneTimeImports(database, clock, telemetry, reading)


async def asked(database: Database, **wanted: Any) -> str:
    row = await database.write(one_time.create, OneTimeSpec("conn_in", "idx_main", **wanted))
    return str(row.id)


async def listed(database: Database, listing: OneTimeImports, **wanted: Any) -> ImportJob:
    job_id = await asked(database, **wanted)
    [job] = jobs_of(database).take(Kind.IMPORT_JOB)
    await listing.advance(job)
    return await row_of(database, job_id)


async def resume(database: Database) -> None:
    """Let the automation look."""
    await database.write(partial(automations.pause_import, paused=False), "idx_main")


async def row_of(database: Database, job_id: str) -> ImportJob:
    return await database.read(imports.get, job_id)


async def files(database: Database, job_id: str) -> dict[str, sa.Row[Any]]:
    mine = sa.select(import_files).where(import_files.c.job_id == job_id).order_by(import_files.c.ordinal)
    return {row.key: row for row in await database.read(lambda tx: tx.all(mine))}


async def fates(database: Database, job_id: str) -> dict[str, str]:
    """Of each file its reason, or its status where it has none."""
    return {key: row.reason or row.status for key, row in (await files(database, job_id)).items()}


FAILURE = FileOutcome(FileStatus.FAILED, "media_damaged", "it is cut short")


async def fail_all(database: Database) -> None:
    for job in jobs_of(database).take(Kind.IMPORT_FILE):
        await database.write(imports.begin_file, job)
        await database.write(imports.finish_file, job, FAILURE)


async def import_all(database: Database, most: int = 1_000) -> None:
    while most and (jobs := jobs_of(database).take(Kind.IMPORT_FILE)):
        for job in jobs[:most]:
            await database.write(imports.begin_file, job)
            done = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri=f"fake://{job.ref}")
            await database.write(imports.finish_file, job, done)
        jobs_of(database).jobs += jobs[most:]
        most -= min(len(jobs), most)


async def is_sound(database: Database) -> bool:
    found = await database.read(invariants.findings)
    assert [finding for finding in found if finding.count] == []
    return True


async def recorded(database: Database) -> dict[tuple[str, str], int]:
    """The versions in the ledger, with the number of jobs that claim each."""
    claimed = claims.c.scope_id == objects.c.scope_id, claims.c.key == objects.c.key
    same = sa.and_(*claimed, claims.c.version == objects.c.version, ~claims.c.gone)
    counted = sa.select(objects.c.key, objects.c.version, sa.func.count(claims.c.job_id).label("claims"))
    query = counted.outerjoin_from(objects, claims, same).group_by(*objects.primary_key)
    rows = await database.read(lambda tx: tx.all(query))
    return {(row.key, row.version): row.claims for row in rows}


async def told_of(database: Database, job_id: str) -> list[str]:
    of_job = sa.select(events.c.type, events.c.data).order_by(events.c.id)
    rows = await database.read(lambda tx: tx.all(of_job))
    return [row.type.removeprefix("import_job.") for row in rows if row.data.get("job_id") == job_id]


async def test_what_matches_is_gathered_and_begins(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    for key in ("in/a.mp4", "in/b.mov", "in/deep/c.mp4", "in/.hidden.mp4", "in/d.txt", "out/e.mp4"):
        storage.put(key, b"abc")
    storage.put("in/empty.mp4", b"")
    row = await listed(database, listing, source_prefix="in/", file_pattern="*.{mp4,txt}", recursive=True)
    assert await fates(database, row.id) == {
        "in/a.mp4": "pending",
        "in/d.txt": "unsupported_media_type",
        "in/deep/c.mp4": "pending",
        "in/empty.mp4": "zero_byte",
    }
    assert (row.status, row.total_files, row.skipped) == ("importing", 4, 2)
    assert len(jobs_of(database).jobs) == 2
    await import_all(database)
    row = await row_of(database, row.id)
    assert (row.status, row.imported, row.execution_status) == ("completed", 2, "not_requested")
    told = await told_of(database, row.id)
    assert [each for each in told if each != "media.created"] == ["started", "progress", "completed"]
    assert await is_sound(database)


async def test_the_prefix_may_be_a_whole_key(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    storage.put("a.mp4", b"x")
    storage.put("a.mp4.mp4x", b"x")
    row = await listed(database, listing, source_prefix="a.mp4", recursive=False)
    assert (await fates(database, row.id))["a.mp4"] == "pending"


async def test_nothing_that_matches_completes_at_once(
    database: Database, listing: OneTimeImports, told: Told
) -> None:
    row = await listed(database, listing)
    assert (row.status, row.total_files, row.completed_at) == ("completed", 0, row.updated_at)
    assert await told_of(database, row.id) == ["started", "completed"]
    assert told.names()[-1] == "import.finished"
    assert await is_sound(database)


async def test_total_files_grow_while_it_is_scanned(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    seen = []

    async def look(_: int) -> None:
        [row] = await database.read(lambda tx: tx.all(sa.select(import_jobs)))
        seen.append((row.status, row.total_files))
        assert await is_sound(database)

    storage.between = look
    for number in range(6):
        storage.put(f"{number}.mp4", b"x")
    await listed(database, listing)
    assert seen == [("scanning", 0), ("scanning", 2), ("scanning", 4)]


@pytest.mark.parametrize("page", [0, 1, 2, 3])
async def test_a_listing_that_was_killed_begins_again_and_gathers_nothing_twice(
    database: Database, listing: OneTimeImports, storage: Paged, page: int
) -> None:
    for number in range(6):
        storage.put(f"{number}.mp4", b"x")
        storage.put(f"{number}.txt", b"x")
    job_id = await asked(database)
    [job] = jobs_of(database).jobs
    storage.dies_before = page
    for _ in range(2):
        with pytest.raises(Killed):
            await listing.advance(job)
        assert await is_sound(database)
    storage.dies_before = None
    storage.put("0.mp4", b"another")
    storage.remove("5.mp4")
    await listing.advance(job)
    row = await row_of(database, job_id)
    found = await files(database, job_id)
    assert (row.status, row.total_files, row.skipped) == ("importing", len(found), 6)
    assert {key for key, file in found.items() if file.status == "pending"} == {f"{n}.mp4" for n in range(5)}
    assert found["0.mp4"].size_bytes == 7
    assert [(key, version) for key, version in await recorded(database) if key == "0.mp4"] == [
        ("0.mp4", found["0.mp4"].version)
    ]
    assert sorted(file.ordinal for file in found.values()) == list(range(len(found)))
    assert await is_sound(database)


async def test_killed_between_the_listing_and_the_import_it_goes_on(
    database: Database, listing: OneTimeImports, storage: Paged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise Killed

    storage.put("a.mp4", b"x")
    job_id = await asked(database)
    [job] = jobs_of(database).take(Kind.IMPORT_JOB)
    with monkeypatch.context() as patched:
        patched.setattr("vvwatch.store.imports.one_time.seal", die)
        with pytest.raises(Killed):
            await listing.advance(job)
    assert (await row_of(database, job_id)).status == ImportStatus.SCANNING
    await listing.advance(job)
    await listing.advance(job)
    assert (await row_of(database, job_id)).status == ImportStatus.IMPORTING
    assert len(jobs_of(database).take(Kind.IMPORT_FILE)) == 1


async def test_a_job_whose_work_was_lost_is_found_by_the_sweep(
    database: Database, listing: OneTimeImports, clock: FakeClock
) -> None:
    job_id = await asked(database)
    sink = RecordingSink()
    database.sink = sink
    clock.advance(10)
    await database.write(requeue_overdue, sink, 5.0)
    [job] = sink.take(Kind.IMPORT_JOB)
    await listing.advance(job)
    assert (await row_of(database, job_id)).status == ImportStatus.COMPLETED


async def test_of_two_listings_at_once_the_later_one_counts(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    for number in range(4):
        storage.put(f"{number}.mp4", b"x")
    job_id = await asked(database)
    [job] = jobs_of(database).take(Kind.IMPORT_JOB)
    entered: list[int] = []

    async def enter(number: int) -> None:
        if number == 1 and not entered:
            entered.append(number)
            await listing.advance(job)

    storage.between = enter
    await listing.advance(job)
    row = await row_of(database, job_id)
    assert (row.status, row.total_files) == ("importing", 4)
    assert await is_sound(database)


async def test_a_storage_that_is_away_is_waited_for(
    database: Database, listing: OneTimeImports, storage: Paged, told: Told
) -> None:
    storage.put("a.mp4", b"x")
    storage.broken = StorageUnavailable("it does not answer", "look at the network")
    row = await listed(database, listing)
    assert (row.status, row.error_message) == ("scanning", "it does not answer")
    assert "import.listing_retried" in told.names()
    storage.broken = None
    [again] = jobs_of(database).take(Kind.IMPORT_JOB)
    assert again.run_at > row.updated_at
    await listing.advance(again)
    row = await row_of(database, row.id)
    assert (row.status, row.error_message) == ("importing", None)


async def test_a_listing_that_is_refused_for_good_fails_the_job_and_gives_back_what_was_gathered(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    for number in range(4):
        storage.put(f"{number}.mp4", b"x")

    async def refuse(number: int) -> None:
        if number == 1:
            raise AccessDenied("s3:ListBucket is denied", "grant it")

    storage.between = refuse
    row = await listed(database, listing)
    assert (row.status, row.error_message) == ("failed", "s3:ListBucket is denied")
    assert (row.total_files, row.skipped) == (2, 2)
    assert await is_sound(database)
    await told_all(database, listing)
    assert set((await fates(database, row.id)).values()) == {"listing_failed"}
    assert await recorded(database) == {}
    assert await told_of(database, row.id) == ["started", "failed"]
    assert await is_sound(database)


async def told_all(database: Database, listing: OneTimeImports) -> None:
    for job in jobs_of(database).take(Kind.IMPORT_JOB):
        await listing.advance(job)


async def test_all_imports_again_and_new_only_does_not(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    storage.put("a.mp4", b"x")
    first = await listed(database, listing)
    await import_all(database)
    storage.put("b.mp4", b"x")
    storage.put("a.mp4", b"new")
    second = await listed(database, listing, import_mode="new_only")
    assert await fates(database, second.id) == {"a.mp4": "new_only_known_key", "b.mp4": "pending"}
    await import_all(database)
    third = await listed(database, listing, import_mode="all")
    assert await fates(database, third.id) == {"a.mp4": "pending", "b.mp4": "pending"}
    await import_all(database)
    assert len({first.id, second.id, third.id}) == 3
    assert len(await database.read(lambda tx: tx.all(sa.select(media)))) == 4
    assert await is_sound(database)


@pytest.mark.parametrize("first_by", ["job", "window"])
async def test_a_file_that_failed_and_was_mended_is_the_first_of_its_key(
    database: Database,
    clock: FakeClock,
    listing: OneTimeImports,
    storage: Paged,
    automation: ImportAutomation,
    first_by: str,
) -> None:
    """As automations in `new_only` have it: nothing of the key was ever imported."""
    broken = storage.put("a.mp4", b"x")
    if first_by == "job":
        await listed(database, listing)
    else:
        await resume(database)
        await database.write(windows.accept_objects, automation.id, automation.generation, [broken])
        clock.advance(3600)
        for job in jobs_of(database).take(Kind.WINDOW):
            await database.write(windows.close_due, job)
    await fail_all(database)
    again = await listed(database, listing, import_mode="new_only")
    assert await fates(database, again.id) == {"a.mp4": "pending"}, "the very version may be asked for again"
    await fail_all(database)
    storage.put("a.mp4", b"whole")
    mended = await listed(database, listing, import_mode="new_only")
    assert await fates(database, mended.id) == {"a.mp4": "pending"}
    await import_all(database)
    storage.put("a.mp4", b"newer")
    newer = await listed(database, listing, import_mode="new_only")
    assert await fates(database, newer.id) == {"a.mp4": "new_only_known_key"}
    assert await is_sound(database)


async def test_what_a_job_imports_no_automation_imports_again(
    database: Database, listing: OneTimeImports, storage: Paged, automation: ImportAutomation
) -> None:
    known = storage.put("a.mp4", b"x")
    await listed(database, listing)
    await resume(database)
    fresh = storage.put("b.mp4", b"x")
    result = await database.write(
        windows.accept_objects, automation.id, automation.generation, [known, fresh]
    )
    assert result.count == 1


@pytest.mark.parametrize("existing", [False, True])
async def test_what_two_jobs_took_is_known_until_both_are_cancelled(
    database: Database,
    listing: OneTimeImports,
    storage: Paged,
    automation: ImportAutomation,
    existing: bool,
) -> None:
    found = storage.put("a.mp4", b"x")
    if existing:
        await resume(database)
        await database.write(windows.acknowledge_objects, automation.id, automation.generation, [found])
    before = await recorded(database)
    jobs = [await listed(database, listing) for _ in range(3)]
    for job in jobs:
        await resume(database)
        offered = automation.id, automation.generation, [found]
        assert (await database.write(windows.accept_objects, *offered)).count == 0
        await database.write(cancellation.cancel, job.id)
        await told_all(database, listing)
    assert await recorded(database) == before
    assert await is_sound(database)


async def test_what_an_automation_passed_over_as_existing_is_new_to_a_job_once(
    database: Database, listing: OneTimeImports, storage: Paged, automation: ImportAutomation
) -> None:
    await resume(database)
    found = storage.put("a.mp4", b"x")
    await database.write(windows.acknowledge_objects, automation.id, automation.generation, [found])
    first = await listed(database, listing, import_mode="new_only")
    second = await listed(database, listing, import_mode="new_only")
    assert await fates(database, first.id) == {"a.mp4": "pending"}
    assert await fates(database, second.id) == {"a.mp4": "new_only_known_key"}
    await database.write(cancellation.cancel, first.id)
    await told_all(database, listing)
    assert await recorded(database) == {found[:2]: 0}


async def test_of_very_much_that_is_left_alone_the_first_thousand_are_listed_and_all_counted(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    storage.size = 400
    for number in range(1_300):
        storage.put(f"{number:04}.txt", b"x")
    storage.put("a.mp4", b"x")
    row = await listed(database, listing)
    assert (row.total_files, row.skipped, row.unlisted) == (1_301, 1_300, 300)
    assert len(await files(database, row.id)) == 1_001
    assert await is_sound(database)


async def test_what_cannot_be_an_object_is_left_alone_with_its_reason(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    storage.irregular = [
        Irregularity("link.mp4", "not_a_regular_file", "it is a link"),
        Irregularity("link.txt", "not_a_regular_file", "it is a link"),
        Irregularity("secret", "permission_denied", "it may not be read"),
        Irregularity("caf\\xe9/", "undecodable_name", "nothing in the folder is seen"),
    ]
    row = await listed(database, listing)
    assert await fates(database, row.id) == {
        "link.mp4": "not_a_regular_file",
        "secret": "permission_denied",
        "caf\\xe9/": "undecodable_name",
    }
    assert row.status == ImportStatus.COMPLETED


async def test_glacier_then_restored_by_a_one_time_job(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    for key in ("cold.mp4", "thawed.mp4"):
        obj = storage.put(key, b"x")
        storage._objects[key] = (obj._replace(archived=True), b"x")
    storage.thawed = {"thawed.mp4"}
    row = await listed(database, listing)
    assert await fates(database, row.id) == {"cold.mp4": "archived", "thawed.mp4": "pending"}


async def test_our_own_exports_are_no_input(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    storage.put("own.mp4", b"x")
    await database.write(ledger.claim_outputs, [storage.uri("own.mp4")], "exp_x")
    assert (await listed(database, listing)).total_files == 0


async def passing(clock: FakeClock, seconds: float = 1.0) -> None:
    while True:
        await anyio.lowlevel.checkpoint()
        clock.advance(seconds)


async def settled(database: Database, clock: FakeClock, telemetry: Telemetry, folder: Folder) -> ImportJob:
    await database.write(lambda tx: prepare(tx, paused=True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(passing, clock)
        row = await listed(database, listing_of(database, clock, telemetry, folder))
        tasks.cancel_scope.cancel()
    return row


async def test_a_file_that_was_just_written_is_waited_for(
    database: Database, clock: FakeClock, telemetry: Telemetry
) -> None:
    folder = Folder(clock)
    folder.put("old.mp4", b"x")
    clock.advance(60)
    folder.put("young.mp4", b"x")
    row = await settled(database, clock, telemetry, folder)
    assert await fates(database, row.id) == {"old.mp4": "pending", "young.mp4": "pending"}


async def test_a_file_that_a_writer_holds_open_is_left_alone_with_the_reason(
    database: Database, clock: FakeClock, telemetry: Telemetry
) -> None:
    folder = Folder(clock)
    folder.put("a.mp4", b"x")
    folder.put("held.mp4", b"x")
    folder.open = {"held.mp4"}
    row = await settled(database, clock, telemetry, folder)
    assert await fates(database, row.id) == {"a.mp4": "pending", "held.mp4": "settling"}
    assert [key for key, _ in await recorded(database)] == ["a.mp4"]
    assert await is_sound(database)


async def test_cancelled_while_it_lists_it_gathers_nothing_more(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    for number in range(6):
        storage.put(f"{number}.mp4", b"x")
    job_id = await asked(database)

    async def cancel(number: int) -> None:
        if number == 1:
            await database.write(cancellation.cancel, job_id)
            assert await is_sound(database)

    storage.between = cancel
    [job] = jobs_of(database).take(Kind.IMPORT_JOB)
    await listing.advance(job)
    row = await row_of(database, job_id)
    assert (row.status, row.total_files, row.skipped) == ("cancelled", 2, 2)
    await told_all(database, listing)
    assert await fates(database, job_id) == {"0.mp4": "cancelled", "1.mp4": "cancelled"}
    assert await recorded(database) == {}
    assert await is_sound(database)


async def test_a_large_job_is_cancelled_in_pieces_and_can_be_imported_anew(
    database: Database, listing: OneTimeImports, storage: Paged
) -> None:
    storage.size = 1_000
    for number in range(1_200):
        storage.put(f"{number:04}.mp4", b"x")
    row = await listed(database, listing)
    await import_all(database, most=5)
    busy = jobs_of(database).take(Kind.IMPORT_FILE)
    await database.write(cancellation.cancel, row.id)
    row = await row_of(database, row.id)
    assert (row.status, row.imported, row.skipped) == ("cancelled", 5, 1_195)
    assert row.completed_at is not None
    outcome = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri="fake://late")
    assert await database.write(imports.finish_file, busy[0], outcome) is None
    assert await database.write(imports.begin_file, busy[1]) is None
    [job] = jobs_of(database).take(Kind.IMPORT_JOB)
    pieces = 0
    while await database.write(cancellation.skip_files, job):
        pieces += 1
        assert await is_sound(database)
    assert pieces >= 3
    found = [file.status for file in (await files(database, row.id)).values()]
    assert (found.count("imported"), found.count("skipped")) == (5, 1_195)
    assert len(await recorded(database)) == 5
    assert jobs_of(database).take(Kind.IMPORT_FILE) == []
    again = await listed(database, listing, import_mode="new_only")
    assert (again.total_files, again.skipped) == (1_200, 5)
    assert await is_sound(database)


async def test_the_files_of_a_cancelled_window_do_not_come_again_by_themselves(
    database: Database,
    listing: OneTimeImports,
    storage: Paged,
    automation: ImportAutomation,
    clock: FakeClock,
) -> None:
    await resume(database)
    found = [storage.put(f"{number}.mp4", b"x") for number in range(3)]
    await database.write(windows.accept_objects, automation.id, automation.generation, found)
    clock.advance(300)
    [closing] = jobs_of(database).take(Kind.WINDOW)
    closed = await database.write(windows.close_due, closing)
    assert closed is not None
    await import_all(database, most=1)
    await database.write(cancellation.cancel, closed.import_job_id)
    await told_all(database, listing)
    assert sorted((await fates(database, closed.import_job_id)).values()) == [
        "cancelled",
        "cancelled",
        "imported",
    ]
    result = await database.write(windows.accept_objects, automation.id, automation.generation, found)
    assert result.count == 0
    assert await database.read(lambda tx: tx.all(sa.select(prompt_runs))) == []
    assert await is_sound(database)
