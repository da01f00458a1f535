"""Sweeps: what they prove, what they find although events should have told it, and what they may cost."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeBucket, FakeStorage
from tests.store.pipeline import jobs_of, prepare
from tests.workflow.conftest import Told
from vvwatch.errors import AccessDenied, StorageUnavailable
from vvwatch.ports import Hint, Irregularity, Kind, Page
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.models.watching import StoredScanReport
from vvwatch.store.schema import absences, import_automations, import_files, objects, tombstones
from vvwatch.store.watching import automations, scans, windows
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watching.watcher import Watcher

pytestmark = pytest.mark.anyio

HOUR, DAY = 3_600.0, 86_400.0


@pytest.fixture
def storage() -> FakeBucket:
    return FakeBucket()


async def scan(database: Database, watcher: Watcher) -> StoredScanReport:
    """Run the latest scan job, a second later; returns the latest report."""
    assert isinstance(watcher._clock, FakeClock)
    watcher._clock.advance(1)
    [job] = jobs_of(database).take(Kind.SCAN)[-1:]
    await watcher.scan(job)
    [report] = await database.read(scans.list_reports, job.ref, 1)
    return report


async def keys(database: Database, table: sa.Table = objects) -> list[str]:
    rows = await database.read(lambda tx: tx.all(sa.select(table.c.key).order_by(table.c.key)))
    return [row.key for row in rows]


def ledger_rows(tx: Tx) -> set[tuple[Any, ...]]:
    return set(map(tuple, tx.all(sa.select(objects))))


async def imported(database: Database) -> list[str]:
    """Every version that joined a window, by its key."""
    return await keys(database, import_files)


async def cadence(database: Database) -> dict[str, Any]:
    [row] = await database.read(lambda tx: tx.all(sa.select(import_automations)))
    return dict(row.cadence)


def fill(storage: FakeBucket, count: int, folder: str = "") -> None:
    for number in range(count):
        storage.put(f"{folder}{number:05}.mp4", b"x")


async def closed(database: Database) -> None:
    """Close the open window, so that what comes again is told apart."""

    def fire(tx: Tx) -> None:
        tx.execute(sa.text("UPDATE windows SET state = 'closed', closed_at = 0 WHERE state = 'open'"))

    await database.write(fire)


async def test_a_sweep_reports_what_it_came_to(
    database: Database, watcher: Watcher, storage: FakeBucket, told: Told
) -> None:
    await database.write(prepare)
    storage.page_keys = 2
    fill(storage, 3)
    storage.put("notes.txt", b"x")
    report = await scan(database, watcher)
    assert (report.listed, report.matched, report.known, report.created, report.changed) == (4, 3, 0, 3, 0)
    assert report.list_calls == 3
    assert report.cost_usd == pytest.approx(0.000_015)
    assert (report.complete, report.proof, report.remark, report.gone) == (True, True, "", 0)
    storage.put("00001.mp4", b"y")
    report = await scan(database, watcher)
    assert (report.matched, report.known, report.created, report.changed) == (3, 2, 0, 1)
    assert told.names().count("reconcile.finished") == 2


async def test_an_archived_object_matches(database: Database, watcher: Watcher, storage: FakeBucket) -> None:
    """Else the status would say that nothing matches the pattern."""
    await database.write(prepare)
    obj = storage.put("a.mp4", b"x")
    storage._objects["a.mp4"] = (obj._replace(archived=True), b"x")
    report = await scan(database, watcher)
    assert (report.listed, report.matched, report.created) == (1, 1, 0)


async def test_delete_recreate_same_bytes(database: Database, watcher: Watcher, storage: FakeBucket) -> None:
    """Trap 8: absent from two sweeps in a row it is gone, and the very same version is new again."""
    await database.write(prepare)
    fill(storage, 5)
    await scan(database, watcher)
    await closed(database)
    kept = storage._objects["00001.mp4"]
    storage.remove("00001.mp4")
    assert "1 known" in (await scan(database, watcher)).remark
    assert len(await keys(database)) == 5
    report = await scan(database, watcher)
    assert (report.gone, report.proof) == (1, True)
    assert await keys(database, tombstones) == ["00001.mp4"]
    storage._objects["00001.mp4"] = kept
    assert (await scan(database, watcher)).created == 1
    assert await imported(database) == ["00000.mp4", "00001.mp4", *(f"0000{n}.mp4" for n in (1, 2, 3, 4))]


async def test_a_part_of_a_folder_that_was_away_for_two_sweeps_is_not_imported_again(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    """A file's version never comes twice: the same one is the same file, though its disk was unmounted meanwhile."""
    storage.capabilities = replace(storage.capabilities, versions_recur=False)
    await database.write(prepare)
    fill(storage, 5)
    await scan(database, watcher)
    before = await database.read(ledger_rows)
    kept = storage._objects["00001.mp4"]
    storage.remove("00001.mp4")
    await scan(database, watcher)
    assert (await scan(database, watcher)).gone == 1
    storage._objects["00001.mp4"] = kept
    report = await scan(database, watcher)
    assert (report.created, report.known) == (0, 5)
    assert await database.read(ledger_rows) == before
    assert await keys(database, tombstones) == []
    assert len(await imported(database)) == 5


async def test_what_is_back_in_time_was_never_gone(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    row = await database.write(prepare)
    fill(storage, 5)
    await scan(database, watcher)
    for how in ("sweep", "hint"):
        kept = storage._objects["00001.mp4"]
        storage.remove("00001.mp4")
        await scan(database, watcher)
        assert await keys(database, absences) == ["00001.mp4"]
        storage._objects["00001.mp4"] = kept
        if how == "sweep":
            await scan(database, watcher)
        else:
            await watcher.notice(row.id, Hint(keys=("00001.mp4",)))
        assert await keys(database, absences) == []
    assert await keys(database, tombstones) == []
    assert len(await imported(database)) == 5


async def test_where_only_a_keys_first_version_counts_it_stays_known_when_it_was_gone(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    await database.write(prepare, import_mode_override="new_only")
    fill(storage, 3)
    await scan(database, watcher)
    storage.remove("00001.mp4")
    await scan(database, watcher)
    assert (await scan(database, watcher)).gone == 1
    storage.put("00001.mp4", b"again")
    report = await scan(database, watcher)
    assert (report.created, report.matched) == (0, 3)
    assert len(await imported(database)) == 3
    assert len(await keys(database)) == 3


@pytest.mark.parametrize("how", ["empty", "mostly_empty", "blind", "failed"])
async def test_unmount_mid_run_proves_nothing(
    database: Database, watcher: Watcher, storage: FakeBucket, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 21: what a broken, partial or suddenly empty listing lacks is not gone, and the report says so."""
    await database.write(prepare)
    fill(storage, 30)
    await scan(database, watcher)
    whole, honest = dict(storage._objects), storage.list

    async def partial(prefix: str, **how_listed: Any) -> Any:
        async for page in honest(prefix, **how_listed):
            yield Page(page.objects[:25], [Irregularity("sub", "permission_denied", "")], calls=1)
        if how == "failed":
            raise StorageUnavailable("it went away", "mount it")

    if how in ("empty", "mostly_empty"):
        storage._objects = dict(list(whole.items())[: 0 if how == "empty" else 14])
    else:
        monkeypatch.setattr(storage, "list", partial)
    for _ in range(3):
        report = await scan(database, watcher)
        assert (report.proof, report.gone, report.complete) == (False, 0, how != "failed")
        assert report.remark
    assert await keys(database, absences) == await keys(database, tombstones) == []
    monkeypatch.undo()
    storage._objects = whole
    report = await scan(database, watcher)
    assert (report.proof, report.known, report.created) == (True, 30, 0)


async def test_a_sweep_judges_only_what_its_automation_watches(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    await database.write(prepare)
    for key in ("in/a.mp4", "in/a.mov", "in/deep/a.mp4", "in/stays.mp4", "in0.mp4", "out/a.mp4"):
        storage.put(key, b"x")
    await scan(database, watcher)
    await database.write(prepare, source_prefix="in/", recursive=False, file_pattern="*.mp4")
    for key in list(storage._objects):
        if key != "in/stays.mp4":
            storage.remove(key)
    for _ in range(3):
        await scan(database, watcher)
    assert await keys(database, tombstones) == ["in/a.mp4"]


async def test_two_sources_one_db(
    database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeBucket
) -> None:
    """Trap 20: what is gone from one connector is not gone from another that has the same keys."""
    other = FakeBucket()
    storages = {"conn_in": storage, "conn_other": other}
    watcher = Watcher(database, clock, telemetry, lambda row: storages[row.id], lambda: 0.5)

    def second(tx: Tx) -> None:
        spec = ConnectorSpec("other", "local", {"root": "/other"}, ("import",))
        catalog.declare_connector(tx, "conn_other", spec)
        catalog.declare_index(tx, "idx_other", "other")
        preset = {"prompt_id": catalog.DEFAULT_PROMPT_ID}
        first = automations.get_import(tx, "idx_main")
        names = [
            "source_prefix",
            "file_pattern",
            "recursive",
            "debounce_interval",
            "scan_seconds",
            "settle_seconds",
        ]
        same = {name: getattr(first, name) for name in names}
        wanted = {"connector_id": "conn_other", "policy": windows.policy_of(first), "preset": preset, **same}
        automations.save_import(tx, "idx_other", automations.ImportSpec(**wanted))

    await database.write(prepare)
    await database.write(second)
    fill(storage, 5)
    other._objects = dict(storage._objects)
    for _ in range(3):
        for job in jobs_of(database).take(Kind.SCAN):
            await watcher.scan(job)
        storage._objects.pop("00001.mp4", None)
    assert len(await keys(database)) == 9
    assert await keys(database, tombstones) == ["00001.mp4"]


async def test_filter_widened(database: Database, watcher: Watcher, storage: FakeBucket) -> None:
    """Trap 38: what a wider pattern newly covers is taken, though it is old; what was taken is not taken again."""
    await database.write(prepare, file_pattern="*.mp4")
    for key in ("a.mp4", "b.mov"):
        storage.put(key, b"x")
    await scan(database, watcher)
    assert await imported(database) == ["a.mp4"]
    await database.write(prepare, file_pattern="*")
    assert (await scan(database, watcher)).created == 1
    assert await imported(database) == ["a.mp4", "b.mov"]


async def test_a_hint_may_tell_of_any_number_of_objects(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    row = await database.write(prepare)
    told = tuple(storage.put(f"{number:05}.mp4", b"x") for number in range(33_000))
    assert await watcher.notice(row.id, Hint(objects=told))
    assert len(await keys(database)) == 33_000


async def test_a_removal_that_was_told_is_verified(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    row = await database.write(prepare, source_prefix="in/")
    for name in ("gone", "still", "denied"):
        storage.put(f"in/{name}.mp4", b"x")
    await scan(database, watcher)
    storage.remove("in/gone.mp4")
    storage.put("in/still.mp4", b"another")
    honest = storage.stat

    async def stat(key: str) -> Any:
        if "denied" in key:
            raise AccessDenied("may not be looked at")
        return await honest(key)

    storage.stat = stat  # type: ignore[method-assign]
    said = tuple(f"in/{name}.mp4" for name in ("gone", "still", "denied"))
    assert await watcher.notice(row.id, Hint(removed=(*said, "out/gone.mp4")))
    assert await keys(database, tombstones) == ["in/gone.mp4"]
    assert await keys(database) == ["in/denied.mp4", "in/still.mp4"]
    storage.broken = StorageUnavailable("down")
    storage.stat = honest  # type: ignore[method-assign]
    assert not await watcher.notice(row.id, Hint(removed=("in/still.mp4",)))
    assert len(await keys(database)) == 2


async def test_drop_10pct_events(
    database: Database, watcher: Watcher, storage: FakeBucket, clock: FakeClock
) -> None:
    """Trap 16: what events did not tell the next sweep finds, and it names how many."""
    row = await database.write(prepare)
    watcher.listens = lambda connector_id: connector_id == "conn_in"
    await scan(database, watcher)
    storage.moment = clock.now()
    for number in range(100):
        obj = storage.put(f"{number:03}.mp4", b"x")
        if number % 10:
            assert await watcher.notice(row.id, Hint(objects=(obj,)))
    [job] = jobs_of(database).take(Kind.SCAN)
    assert job.run_at - clock.now() == pytest.approx(HOUR)
    clock.advance(HOUR)
    storage.moment = clock.now()
    storage.put("just now.mp4", b"x")
    await watcher.scan(job)
    [report] = await database.read(scans.list_reports, row.id, 1)
    assert (report.created, report.recovered, report.known) == (11, 10, 90)
    assert len(await imported(database)) == 101


@pytest.mark.parametrize("ahead_seconds", [HOUR, -HOUR])
async def test_skew_plus_minus_1h(
    database: Database, watcher: Watcher, storage: FakeBucket, clock: FakeClock, ahead_seconds: float
) -> None:
    """Trap 14: what is late is told by the store's clock, and what is new by no clock at all."""
    await database.write(prepare)
    watcher.listens = lambda _: True
    storage.clock_ahead_seconds = ahead_seconds
    await scan(database, watcher)
    storage.moment = clock.now() + ahead_seconds - 30
    storage.put("in time.mp4", b"x")
    storage.moment -= 60
    storage.put("late.mp4", b"x")
    report = await scan(database, watcher)
    assert (report.created, report.recovered) == (2, 1)


async def test_what_was_there_before_anybody_listened_was_not_missed_by_events(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    await database.write(prepare)
    watcher.listens = lambda _: True
    fill(storage, 3)
    report = await scan(database, watcher)
    assert (report.created, report.recovered) == (3, 0)


async def test_when_nothing_tells_of_changes_any_more_the_next_scan_does_not_wait_an_hour(
    database: Database, watcher: Watcher, storage: FakeBucket, clock: FakeClock
) -> None:
    await database.write(prepare)
    watcher.listens = lambda _: True
    await scan(database, watcher)
    jobs_of(database).take(Kind.SCAN)
    clock.advance(10)
    await watcher.on_queue_lost("conn_elsewhere")
    assert jobs_of(database).take(Kind.SCAN) == []
    watcher.listens = lambda _: False
    await watcher.on_queue_lost("conn_in")
    [job] = jobs_of(database).take(Kind.SCAN)
    assert job.run_at == pytest.approx(clock.now() + 50)
    await watcher.scan(job)
    [job] = jobs_of(database).take(Kind.SCAN)
    assert job.run_at == pytest.approx(clock.now() + 60)


async def a_day(
    database: Database, watcher: Watcher, storage: FakeBucket, clock: FakeClock, telemetry: Telemetry
) -> None:
    """Scans as they fall due, and a restart each hour."""
    end, restart = clock.now() + DAY, clock.now() + HOUR
    while True:
        [job] = jobs_of(database).take(Kind.SCAN)
        if job.run_at >= end:
            return
        clock.advance(max(job.run_at - clock.now(), 0.0))
        if clock.now() > restart:
            restart += HOUR
            watcher = Watcher(database, clock, telemetry, lambda _: storage, lambda: 0.5)
        await watcher.scan(job)


@pytest.mark.parametrize("start_after", [True, False])
async def test_list_calls_budget_of_a_large_location(
    database: Database,
    watcher: Watcher,
    storage: FakeBucket,
    clock: FakeClock,
    telemetry: Telemetry,
    start_after: bool,
) -> None:
    """Trap 22: over a day no more requests than allowed, but for the first listing, also over restarts."""
    if not start_after:
        storage.capabilities = FakeStorage.capabilities
    storage.page_keys = 10
    fill(storage, 1_000, "2026/11/22/")
    await database.write(prepare, max_list_calls_per_hour=60)
    await a_day(database, watcher, storage, clock, telemetry)
    first = 101
    assert 24 * 60 * 0.8 <= storage.calls <= 24 * 60 + first
    learnt = await cadence(database)
    assert learnt["stretched"]
    assert learnt["calls"] == first
    assert learnt["calls_per_hour"] <= 60


async def test_new_partition_appears(
    database: Database, watcher: Watcher, storage: FakeBucket, clock: FakeClock
) -> None:
    """Trap 23: new folders behind the last key, and new keys in the folder that grew last, are found between sweeps."""
    storage.page_keys = 10
    fill(storage, 1_000, "cam/2026/11/22/")
    fill(storage, 20, "zoo/")
    await database.write(prepare, max_list_calls_per_hour=100)
    await scan(database, watcher)
    storage.put("zoo/part/00001.mp4", b"x")
    storage.put("cam/2026/11/22/late.mp4", b"x")
    storage.put("a/first.mp4", b"x")
    reports = len(await database.read(scans.list_reports, await automation(database), 10))
    [job] = jobs_of(database).take(Kind.SCAN)
    assert job.run_at - clock.now() < 300
    clock.advance(job.run_at - clock.now())
    before = storage.calls
    await watcher.scan(job)
    assert storage.calls - before == 2
    found = set(await imported(database))
    assert {"zoo/part/00001.mp4", "cam/2026/11/22/late.mp4"} <= found
    assert "a/first.mp4" not in found
    assert len(await database.read(scans.list_reports, job.ref, 10)) == reports
    clock.advance((await cadence(database))["next_full_at"] - clock.now())
    assert (await scan(database, watcher)).created == 1


async def automation(database: Database) -> str:
    [row] = await database.read(lambda tx: tx.all(sa.select(import_automations.c.id)))
    return str(row.id)


async def test_late_smaller_key_is_found_by_the_next_sweep_of_a_person_at_once(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    """Trap 1: a poll decides nothing; who asks for a scan gets a whole one."""
    storage.page_keys = 10
    fill(storage, 1_000, "m/")
    row = await database.write(prepare, max_list_calls_per_hour=10)
    await scan(database, watcher)
    storage.put("a.mp4", b"x")
    await database.write(automations.scan_now, row.id)
    assert (await scan(database, watcher)).created == 1


@pytest.mark.parametrize("edit", [{"max_list_calls_per_hour": None}, {"scan_seconds": 30}])
async def test_a_changed_budget_or_interval_begins_with_a_whole_listing(
    database: Database, watcher: Watcher, storage: FakeBucket, edit: Any
) -> None:
    storage.page_keys = 10
    fill(storage, 1_000)
    await database.write(prepare, max_list_calls_per_hour=10)
    await scan(database, watcher)
    storage.put("+.mp4", b"x")
    await database.write(prepare, **{"max_list_calls_per_hour": 10, **edit})
    assert (await scan(database, watcher)).created == 1


async def test_a_failing_listing_is_paid_for(
    database: Database, watcher: Watcher, storage: FakeBucket, clock: FakeClock
) -> None:
    storage.page_keys = 10
    fill(storage, 100)
    await database.write(prepare, max_list_calls_per_hour=10)
    honest = storage.list

    async def broken(prefix: str, *, recursive: bool, after: str = "", skips: object = None) -> Any:
        async for page in honest(prefix, recursive=recursive, after=after):
            yield page
        raise StorageUnavailable("down")

    storage.list = broken  # type: ignore[method-assign]
    assert not (await scan(database, watcher)).complete
    [job] = jobs_of(database).take(Kind.SCAN)
    assert job.run_at - clock.now() == pytest.approx(1.1 * HOUR)
    assert len(await keys(database)) == 100


async def emptied(database: Database, watcher: Watcher, storage: FakeBucket, left: int) -> dict[str, Any]:
    """An inbox of 30 objects, most of which are gone from one moment on; what it had before."""
    await database.write(prepare)
    fill(storage, 30)
    await scan(database, watcher)
    whole = dict(storage._objects)
    storage._objects = dict(list(whole.items())[:left])
    return whole


@pytest.mark.parametrize("left", [0, 5])
async def test_an_emptied_inbox_is_believed_after_three_scans_over_an_hour(
    database: Database, watcher: Watcher, storage: FakeBucket, clock: FakeClock, left: int
) -> None:
    whole = await emptied(database, watcher, storage, left)
    for _ in range(5):
        assert (await scan(database, watcher)).proof is False
    assert len(await keys(database)) == 30, "many scans in a short time are not enough"
    clock.advance(3_601)
    assert (await scan(database, watcher)).gone == 0, "as always the next one has to miss it, too"
    assert (await scan(database, watcher)).gone == 30 - left
    storage._objects = whole
    assert (await scan(database, watcher)).created == 30 - left, "put again it is new"


async def test_an_hour_with_one_scan_is_not_enough(
    database: Database, watcher: Watcher, storage: FakeBucket, clock: FakeClock
) -> None:
    await emptied(database, watcher, storage, 0)
    for _ in range(2):
        await scan(database, watcher)
        clock.advance(3_601)
    row = await database.read(automations.get_import, "idx_main")
    assert row.doubt is not None
    assert row.doubt is not None
    assert (row.doubt["times"], row.doubt["missing"]) == (2, 30)
    assert await keys(database, absences) == []


async def test_a_person_may_say_that_what_is_missing_is_gone(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    await emptied(database, watcher, storage, 5)
    assert (await scan(database, watcher)).proof is False
    row = await database.read(automations.get_import, "idx_main")
    scan_now = partial(automations.scan_now, accept_missing=True)
    await database.write(scan_now, row.id)
    assert (await scan(database, watcher)).gone == 25
    row = await database.read(automations.get_import, "idx_main")
    assert (row.accept_missing, row.doubt) == (False, None), "it is said of one scan only"


async def test_what_a_broken_scan_was_to_believe_is_not_believed_later(
    database: Database, watcher: Watcher, storage: FakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await emptied(database, watcher, storage, 5)
    row = await database.read(automations.get_import, "idx_main")
    scan_now = partial(automations.scan_now, accept_missing=True)
    await database.write(scan_now, row.id)

    async def broken(*_: Any, **__: Any) -> Any:
        raise StorageUnavailable("it is away", "")
        yield

    with monkeypatch.context() as away:
        away.setattr(storage, "list", broken)
        assert (await scan(database, watcher)).complete is False
    assert (await scan(database, watcher)).proof is False


@pytest.mark.parametrize("there", [None, "ext4 /dev/sda1 / /"])
async def test_a_mount_that_is_away_proves_nothing_however_long(
    database: Database, watcher: Watcher, storage: FakeBucket, clock: FakeClock, there: str | None
) -> None:
    """Traps 20 and 21: another file system at the mount point, or none, is empty for ever."""
    watcher.scanner.place_of = lambda _: "ext4 /dev/sdb1 / /media/in"
    whole = await emptied(database, watcher, storage, 0)
    watcher.scanner.place_of = lambda _: there
    for _ in range(6):
        report = await scan(database, watcher)
        clock.advance(3_601)
        assert (report.proof, report.gone) == (False, 0)
    assert "another file system is there now" in report.remark
    watcher.scanner.place_of = lambda _: "ext4 /dev/sdb1 / /media/in"
    storage._objects = whole
    assert (await scan(database, watcher)).known == 30
    row = await database.read(automations.get_import, "idx_main")
    assert row.doubt is None


async def test_a_place_that_comes_back_begins_the_doubt_anew(
    database: Database, watcher: Watcher, storage: FakeBucket, clock: FakeClock
) -> None:
    watcher.scanner.place_of = lambda _: "mounted"
    await emptied(database, watcher, storage, 0)
    watcher.scanner.place_of = lambda _: "not mounted"
    for _ in range(4):
        await scan(database, watcher)
        clock.advance(3_601)
    watcher.scanner.place_of = lambda _: "mounted"
    assert (await scan(database, watcher)).proof is False
    row = await database.read(automations.get_import, "idx_main")
    assert row.doubt is not None
    assert row.doubt is not None
    assert (row.doubt["times"], row.doubt["proven"]) == (1, True)


async def test_a_failing_listing_is_tried_at_growing_pauses(
    database: Database,
    watcher: Watcher,
    storage: FakeBucket,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await database.write(prepare)

    async def broken(*_: Any, **__: Any) -> Any:
        raise StorageUnavailable("it is away", "mount it")
        yield

    pauses, began_at = [], clock.now()
    with monkeypatch.context() as away:
        away.setattr(storage, "list", broken)
        for _ in range(8):
            await scan(database, watcher)
            [job] = [each for each in jobs_of(database).jobs if each.kind is Kind.SCAN]
            pauses.append(round(job.run_at - clock.now()))
            clock.advance(job.run_at - clock.now())
    assert pauses == [30, 60, 120, 240, 300, 300, 300, 300]
    row = await database.read(automations.get_import, "idx_main")
    assert row.failures == 8
    assert row.failing_since == pytest.approx(began_at)
    await scan(database, watcher)
    row = await database.read(automations.get_import, "idx_main")
    assert (row.failures, row.failing_since, row.last_error) == (0, None, None)
