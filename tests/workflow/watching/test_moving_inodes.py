"""Files whose inode numbers move: over a remount, and between the release that noted them and this one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeBucket
from tests.store.pipeline import jobs_of, prepare
from vvwatch.core.filters import Reason
from vvwatch.core.selection import SkippedObject
from vvwatch.core.versions import file_version, loose_version
from vvwatch.ports import Kind
from vvwatch.store.db.database import Database
from vvwatch.store.models.watching import StoredScanReport
from vvwatch.store.schema import absences, import_files, objects, tombstones
from vvwatch.store.watching import ledger, scans
from vvwatch.workflow.watching.watcher import Watcher

pytestmark = pytest.mark.anyio

FILES = {f"{n:02}.mp4": (100 + n, 1_000_000_000 * n + 5) for n in range(20)}


@pytest.fixture
def storage() -> FakeBucket:
    storage = FakeBucket()
    storage.capabilities = replace(storage.capabilities, versions_recur=False)
    return storage


def show(storage: FakeBucket, first_inode: int | None) -> None:
    """Let the files have inode numbers from this one on, or (None) none that lasts."""
    for inode, (key, (size, time)) in enumerate(FILES.items(), start=first_inode or 0):
        made = storage.put(key, b"x")
        version = loose_version(size, time) if first_inode is None else file_version(inode, size, time)
        storage._objects[key] = (made._replace(version=version), b"x")


async def scan(database: Database, watcher: Watcher) -> StoredScanReport:
    assert isinstance(watcher._clock, FakeClock)
    watcher._clock.advance(1)
    [job] = jobs_of(database).take(Kind.SCAN)[-1:]
    await watcher.scan(job)
    [report] = await database.read(scans.list_reports, job.ref, 1)
    return report


async def rows(database: Database, table: sa.Table) -> set[tuple[object, ...]]:
    found = await database.read(lambda tx: tx.all(sa.select(table.c.key, table.c.version)))
    return {tuple(row) for row in found}


@pytest.mark.parametrize(("before", "after"), [(50, None), (None, 50), (None, None)])
async def test_known_files_stay_known_when_their_inodes_move_or_stop_to_count(
    database: Database, watcher: Watcher, storage: FakeBucket, before: int | None, after: int | None
) -> None:
    await database.write(prepare)
    show(storage, before)
    assert (await scan(database, watcher)).created == 20
    noted = await rows(database, objects)
    show(storage, after)
    for _ in range(3):
        report = await scan(database, watcher)
        assert (report.known, report.created, report.changed, report.gone) == (20, 0, 0, 0)
        assert (report.proof, report.remark) == (True, "")
    assert await rows(database, objects) == noted
    assert await rows(database, absences) == set()
    assert len(await rows(database, import_files)) == 20


async def test_where_inodes_last_moved_ones_are_new_versions(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    await database.write(prepare)
    show(storage, 50)
    await scan(database, watcher)
    show(storage, 90)
    assert (await scan(database, watcher)).changed == 20


async def test_a_changed_file_is_imported_although_its_inode_does_not_count(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    await database.write(prepare)
    show(storage, 50)
    await scan(database, watcher)
    show(storage, None)
    obj, data = storage._objects["03.mp4"]
    storage._objects["03.mp4"] = (obj._replace(version=loose_version(999, 1)), data)
    report = await scan(database, watcher)
    assert (report.changed, report.known) == (1, 19)


async def test_a_file_that_was_away_for_two_sweeps_is_known_again_under_the_other_form(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    await database.write(prepare)
    show(storage, 50)
    await scan(database, watcher)
    noted = await rows(database, objects)
    storage.remove("03.mp4")
    await scan(database, watcher)
    assert (await scan(database, watcher)).gone == 1
    show(storage, None)
    report = await scan(database, watcher)
    assert (report.created, report.known) == (0, 20)
    assert await rows(database, objects) == noted
    assert await rows(database, tombstones) == set()


async def test_what_was_reported_as_skipped_is_not_reported_again_under_the_other_form(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    row = await database.write(prepare)
    noted = SkippedObject("a.txt", file_version(7, 5, 9), 5, Reason.UNSUPPORTED_MEDIA_TYPE, "")
    now = replace(noted, version=loose_version(5, 9))
    assert await database.write(ledger.record_observations, row.id, [noted]) == [noted]
    assert await database.write(ledger.record_observations, row.id, [now]) == []
    changed = replace(noted, version=loose_version(6, 9))
    assert await database.write(ledger.record_observations, row.id, [changed]) == [changed]


async def test_a_retried_file_is_new_again_in_whichever_form_it_was_noted(
    database: Database, watcher: Watcher, storage: FakeBucket
) -> None:
    row = await database.write(prepare)
    show(storage, 50)
    await scan(database, watcher)
    show(storage, None)
    version = storage._objects["03.mp4"][0].version
    await database.write(ledger.forget_version, row.index_id, row.connector_id, "03.mp4", version)
    report = await scan(database, watcher)
    assert (report.created, report.known) == (1, 19)
