"""What a store leaves out or does otherwise: counted, said, and no reason to lose or repeat anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeBucket, FakeStorage
from tests.store.pipeline import jobs_of, prepare
from tests.workflow.conftest import Told
from vvwatch.core.filters import Reason, explain_reason
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import Oddity, describe_oddity
from vvwatch.ports import Finding, Hint, Irregularity, Kind, Page
from vvwatch.store.db.database import Database
from vvwatch.store.models.watching import StoredScanReport
from vvwatch.store.schema import objects, observations
from vvwatch.store.watching import scans, watch_queries
from vvwatch.workflow.upkeep import findings
from vvwatch.workflow.watching.preview import preview_import
from vvwatch.workflow.watching.watcher import Watcher

pytestmark = pytest.mark.anyio


class OddBucket(FakeBucket):
    """Each listing has `irregular` on a page of its own, twice, as a listing in shards may."""

    def __init__(self) -> None:
        super().__init__()
        self.irregular: list[Irregularity] = []

    async def list(
        self, prefix: str, *, recursive: bool, after: str = "", skips: Callable[[str], bool] | None = None
    ) -> AsyncIterator[Page]:
        async for page in super().list(prefix, recursive=recursive, after=after, skips=skips):
            yield page
        yield Page((), self.irregular)
        yield Page((), self.irregular)


@pytest.fixture
def storage() -> OddBucket:
    return OddBucket()


async def scan(database: Database, watcher: Watcher, clock: FakeClock) -> StoredScanReport:
    clock.advance(1)
    [job] = jobs_of(database).take(Kind.SCAN)[-1:]
    await watcher.scan(job)
    [report] = await database.read(scans.list_reports, job.ref, 1)
    return report


async def keys(database: Database, table: sa.Table = objects) -> list[str]:
    rows = await database.read(lambda tx: tx.all(sa.select(table.c.key).order_by(table.c.key)))
    return [row.key for row in rows]


async def doctor(database: Database) -> list[Finding]:
    [row] = await database.read(watch_queries.list_watched)
    sweeps = await database.read(watch_queries.map_last_complete_scans)
    return list(findings.automation_findings(row, None, sweeps.get(row.id), 0.0))


async def test_what_is_left_out_is_counted_by_reason_and_told_in_its_own_words(
    database: Database, watcher: Watcher, storage: OddBucket, clock: FakeClock
) -> None:
    await database.write(prepare, file_pattern="*.mp4")
    storage.put("a.mp4", b"x")
    storage.put("reels/", b"as a folder")
    storage.irregular = [
        Irregularity("b.mp4", Reason.INCOMPLETE_ENTRY, "no size"),
        Irregularity("c.mp4", Reason.INCOMPLETE_ENTRY, "no time"),
        Irregularity("d.mp4", Reason.KEY_TOO_LONG, "long"),
        Irregularity("nobody-wants.txt", Reason.KEY_TOO_LONG, "long"),
    ]
    report = await scan(database, watcher, clock)
    assert report.left_out == {"incomplete_entry": 2, "key_too_long": 1, "folder_with_content": 1}
    assert await keys(database) == ["a.mp4"]
    assert await keys(database, observations) == ["b.mp4", "c.mp4", "d.mp4", "reels/"]
    told = {each.detail: each.state for each in await doctor(database)}
    for reason, count in report.left_out.items():
        assert told[f"left out: {count}, {explain_reason(Reason(reason))}"] == "warning"
    [watched] = watcher._watched.values()
    storage.irregular = storage.irregular[:3]
    declined = (await preview_import(database, watched)).declined
    assert declined == {"incomplete_entry": 4, "key_too_long": 2, "folder_with_content": 1}  # listed twice


async def test_what_is_listed_without_its_version_is_not_gone(
    database: Database, watcher: Watcher, storage: OddBucket, clock: FakeClock
) -> None:
    await database.write(prepare)
    kept = [storage.put(f"{number}.mp4", b"x") for number in range(5)]
    await scan(database, watcher, clock)
    storage.remove("1.mp4")
    storage.irregular = [Irregularity("1.mp4", Reason.INCOMPLETE_ENTRY, "no time")]
    for _ in range(3):
        report = await scan(database, watcher, clock)
        assert (report.proof, report.gone) == (False, 0)
    storage._objects["1.mp4"] = (kept[1], b"x")
    storage.irregular = []
    report = await scan(database, watcher, clock)
    assert (report.known, report.created, report.changed) == (5, 0, 0)


async def test_a_report_that_leaves_out_the_same_takes_the_place_of_the_one_before(
    database: Database, watcher: Watcher, storage: OddBucket, clock: FakeClock
) -> None:
    await database.write(prepare)
    storage.put("a.mp4", b"x")
    await scan(database, watcher, clock)
    for count in (0, 0, 1, 1, 2, 2):
        storage.irregular = [Irregularity(f"{n}.mp4", Reason.KEY_TOO_LONG, "") for n in range(count)]
        report = await scan(database, watcher, clock)
    reports = await database.read(scans.list_reports, report.automation_id, 10)
    assert [each.left_out for each in reports] == [{"key_too_long": 2}, {"key_too_long": 1}, {}, {}]


async def test_what_a_store_does_otherwise_is_said_once_in_the_log_and_stays_in_the_report(
    database: Database, watcher: Watcher, storage: OddBucket, clock: FakeClock, told: Told
) -> None:
    await database.write(prepare)
    storage.put("a.mp4", b"x")
    await scan(database, watcher, clock)
    assert "store.odd" not in told.names()
    storage.notes.note(Oddity.NO_VERSIONS)
    for _ in range(3):
        report = await scan(database, watcher, clock)
    assert told.names().count("store.odd") == 1
    assert report.odd == ["no_versions"]
    assert describe_oddity("no_versions") in [
        each.detail for each in await doctor(database) if each.state == "warning"
    ]
    storage.notes.note(Oddity.FALSE_DIGESTS)
    await scan(database, watcher, clock)
    assert told.names().count("store.odd") == 2


async def test_an_event_is_looked_up_where_a_listing_tells_another_version(
    database: Database, watcher: Watcher, storage: OddBucket, clock: FakeClock
) -> None:
    """Else the object would come twice: as the event has it, and as the listing has it."""
    await database.write(prepare)
    report = await scan(database, watcher, clock)
    for shown in (False, True):
        storage.notes.versions_shown = shown
        obj = storage.put(f"{shown}.mp4", b"x")
        event = obj if shown else obj._replace(version="as an event has it")
        assert await watcher.notice(str(report.automation_id), Hint(objects=(event,)))
    recorded = await database.read(lambda tx: tx.all(sa.select(objects)))
    assert {row.key: row.version for row in recorded} == {
        key: obj.version for key, (obj, _) in storage._objects.items()
    }
    report = await scan(database, watcher, clock)
    assert (report.known, report.created, report.changed) == (2, 0, 0)


async def test_an_object_that_gains_an_etag_is_the_one_that_is_known(
    database: Database, watcher: Watcher, storage: OddBucket, clock: FakeClock
) -> None:
    await database.write(prepare)
    storage.capabilities = replace(FakeStorage.capabilities)
    first = StorageObject("a.mp4", "@1000.250:1", 1, 1_000.0, 1_000.0)
    storage._objects["a.mp4"] = (first, b"x")
    await scan(database, watcher, clock)
    storage._objects["a.mp4"] = (first._replace(version="e:1"), b"x")
    report = await scan(database, watcher, clock)
    assert (report.known, report.created, report.changed, report.gone) == (1, 0, 0, 0)
    for changed in (
        first._replace(version="f:2", size_bytes=2),
        first._replace(version="g:1", modified_at=1_001.0),
    ):
        storage._objects["a.mp4"] = (changed, b"x")
        report = await scan(database, watcher, clock)
        assert report.changed == 1
