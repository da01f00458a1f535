from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.pipeline import jobs_of, obj, prepare
from vvwatch.core.imports import FileStatus
from vvwatch.errors import Conflict, NotFound
from vvwatch.ports import Kind
from vvwatch.store.admin import deletions
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.imports import cancellation, imports, retrying
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.schema import import_automations, import_files, import_jobs, indexes, objects
from vvwatch.store.watching import automations, ledger, windows

pytestmark = pytest.mark.anyio

FAILED = FileOutcome(FileStatus.FAILED, "media_unreadable", "not media")


async def failed_file(database: Database, clock: FakeClock) -> tuple[ImportAutomation, sa.Row[Any]]:
    """The automation, and a file of its only job that could not be imported."""
    automation = await database.write(_prepared)
    await database.write(windows.accept_objects, automation.id, automation.generation, [obj("a.mp4")])
    clock.advance(300)
    await database.write(windows.close_due, jobs_of(database).take(Kind.WINDOW)[0])
    await database.write(imports.finish_file, jobs_of(database).take(Kind.IMPORT_FILE)[0], FAILED)
    return automation, await database.read(lambda tx: tx.execute(sa.select(import_files)).one())


def _prepared(tx: Tx) -> ImportAutomation:
    return prepare(tx)


async def test_a_failed_file_counts_as_new_again(database: Database, clock: FakeClock) -> None:
    automation, file = await failed_file(database, clock)
    jobs_of(database).take(Kind.SCAN)
    offered = automation.id, automation.generation, [obj("a.mp4")]
    assert (await database.write(windows.accept_objects, *offered)).count == 0
    assert (await database.write(retrying.retry_file, file.job_id, str(file.id))).scanning
    assert jobs_of(database).take(Kind.SCAN)[0].run_at == clock.now()
    assert (await database.write(windows.accept_objects, *offered)).count == 1
    job = await database.read(lambda tx: tx.execute(sa.select(import_jobs)).one())
    assert (job.failed, job.status) == (1, "failed")


async def test_versions_declined_because_of_it_are_new_again_too(
    database: Database, clock: FakeClock
) -> None:
    automation, file = await failed_file(database, clock)
    later = [obj("a.mp4", "v2"), obj("b.mp4")]
    await database.write(windows.acknowledge_objects, automation.id, automation.generation, later)
    await database.write(retrying.retry_file, file.job_id, str(file.id))
    left = await database.read(lambda tx: tx.all(sa.select(objects.c.key)))
    assert [row.key for row in left] == ["b.mp4"]


async def test_other_versions_that_were_imported_stay_known(database: Database, clock: FakeClock) -> None:
    automation, file = await failed_file(database, clock)
    await database.write(windows.accept_objects, automation.id, automation.generation, [obj("a.mp4", "v2")])
    await database.write(retrying.retry_file, file.job_id, str(file.id))
    known = await database.read(ledger.list_recorded, automation.scope_id, ["a.mp4"])
    assert known == [("a.mp4", "v2")]


async def test_a_paused_automation_finds_it_later(database: Database, clock: FakeClock) -> None:
    _, file = await failed_file(database, clock)
    await database.write(automations.pause_import, "idx_main", paused=True)
    jobs_of(database).take(Kind.SCAN)
    assert not (await database.write(retrying.retry_file, file.job_id, str(file.id))).scanning
    assert jobs_of(database).take(Kind.SCAN) == []


async def test_only_what_ended_badly_is_retried(database: Database, clock: FakeClock) -> None:
    _, file = await failed_file(database, clock)
    await database.write(lambda tx: tx.update(import_files, file.id, status=FileStatus.IMPORTED))
    with pytest.raises(Conflict, match="is imported"):
        await database.write(retrying.retry_file, file.job_id, str(file.id))
    with pytest.raises(NotFound, match="no import file"):
        await database.write(retrying.retry_file, file.job_id, "99")
    with pytest.raises(NotFound, match="no import job"):
        await database.write(retrying.retry_file, "job_none", str(file.id))


async def test_a_file_of_a_cancelled_job_is_retried_before_it_was_told(
    database: Database, clock: FakeClock
) -> None:
    automation = await database.write(_prepared)
    await database.write(windows.accept_objects, automation.id, automation.generation, [obj("a.mp4")])
    clock.advance(300)
    await database.write(windows.close_due, jobs_of(database).take(Kind.WINDOW)[0])
    file = await database.read(lambda tx: tx.execute(sa.select(import_files)).one())
    await database.write(cancellation.cancel, file.job_id)
    assert (await database.write(retrying.retry_file, file.job_id, str(file.id))).scanning
    [job] = jobs_of(database).take(Kind.IMPORT_JOB)
    assert await database.write(cancellation.skip_files, job) == 1
    again = await database.write(windows.accept_objects, automation.id, automation.generation, [obj("a.mp4")])
    assert again.count == 1


async def test_nothing_is_new_to_an_index_that_was_deleted(database: Database, clock: FakeClock) -> None:
    automation, file = await failed_file(database, clock)

    def delete(tx: Tx) -> None:
        tx.update(indexes, automation.index_id, declared=False)
        tx.update(import_automations, automation.id, declared=False)
        deletions.delete_index(tx, automation.index_id)

    await database.write(delete)
    with pytest.raises(NotFound, match="no index"):
        await database.write(retrying.retry_file, file.job_id, str(file.id))
