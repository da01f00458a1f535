from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.pipeline import count, jobs_of, obj, prepare
from vvwatch.core.filters import Reason
from vvwatch.core.selection import SkippedObject
from vvwatch.core.windows import CloseReason, WindowPolicy
from vvwatch.ports import Kind
from vvwatch.store.db.database import Database
from vvwatch.store.schema import import_files, import_jobs, objects
from vvwatch.store.schema import windows as table
from vvwatch.store.watching import automations, ledger, windows

pytestmark = pytest.mark.anyio


async def test_objects_join_one_window_and_become_one_job(database: Database, clock: FakeClock) -> None:
    row = await database.write(prepare)
    first = await database.write(windows.accept_objects, row.id, row.generation, [obj("a.mp4"), obj("b.mp4")])
    clock.advance(200)
    second = await database.write(windows.accept_objects, row.id, row.generation, [obj("c.mp4")])
    assert (first.opened, second.opened) == (True, False)
    assert first.window_id == second.window_id
    assert second.due_at == clock.now() + 300
    clock.advance(300)
    [job] = jobs_of(database).take(Kind.WINDOW)
    closed = await database.write(windows.close_due, job)
    assert closed is not None
    assert (closed.reason, closed.object_count) == (CloseReason.QUIET, 3)
    assert len(jobs_of(database).take(Kind.IMPORT_FILE)) == 3
    [made] = await database.read(lambda tx: tx.all(sa.select(import_jobs)))
    assert (made.id, made.total_files, made.status) == (closed.import_job_id, 3, "importing")


async def test_the_same_version_is_taken_once(database: Database) -> None:
    row = await database.write(prepare)
    assert (await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4")])).count == 1
    assert await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4")]) == windows.NOTHING_ACCEPTED
    assert await database.read(count, objects) == 1


async def test_overwrite_while_the_window_is_open_takes_the_newest(database: Database) -> None:
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4", "v1", 10)])
    await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4", "v2", 30), obj("b.mp4")])
    files = await database.read(lambda tx: tx.all(sa.select(import_files).order_by(import_files.c.key)))
    assert [(file.key, file.version) for file in files] == [("a.mp4", "v2"), ("b.mp4", "v1")]
    [window] = await database.read(lambda tx: tx.all(sa.select(table)))
    assert (window.object_count, window.size_bytes) == (2, 130)


async def test_overwrite_after_the_window_closed_is_a_new_unit(database: Database, clock: FakeClock) -> None:
    """Trap 5, overwrite_while_processing: the new version has a window of its own."""
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4", "v1")])
    clock.advance(300)
    await database.write(windows.close_due, jobs_of(database).take(Kind.WINDOW)[0])
    again = await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4", "v2")])
    assert again.opened
    assert await database.read(count, table) == 2


async def test_a_full_window_closes_at_once_and_none_is_overfull(database: Database) -> None:
    row = await database.write(prepare, WindowPolicy(300, 1800, 3))
    await database.write(windows.accept_objects, row.id, 0, [obj(f"{n}.mp4") for n in range(2)])
    accepted = await database.write(
        windows.accept_objects, row.id, 0, [obj(f"more-{n}.mp4") for n in range(5)]
    )
    assert accepted.count == 5
    assert [(c.reason, c.object_count) for c in accepted.closed] == [(CloseReason.FULL, 3)] * 2
    assert len(jobs_of(database).take(Kind.IMPORT_FILE)) == 6
    rows = await database.read(lambda tx: tx.all(sa.select(table).order_by(table.c.seq)))
    assert [(window.state, window.object_count) for window in rows] == [
        ("closed", 3),
        ("closed", 3),
        ("open", 1),
    ]


async def test_constant_arrivals_fires(database: Database, clock: FakeClock) -> None:
    """Trap 24: a window that is extended for ever closes at its ceiling."""
    row = await database.write(prepare)
    closed = None
    for number in range(100):
        await database.write(windows.accept_objects, row.id, 0, [obj(f"{number}.mp4")])
        clock.advance(60)
        due = [job for job in jobs_of(database).jobs if job.kind is Kind.WINDOW and job.run_at <= clock.now()]
        for job in due:
            jobs_of(database).jobs.remove(job)
            closed = await database.write(windows.close_due, job)
        if closed is not None:
            break
    assert closed is not None
    assert closed.reason is CloseReason.MAX_WAIT
    assert clock.now() - closed.opened_at <= 1800 + 60


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
async def test_clock_jump(database: Database, clock: FakeClock, seconds: float) -> None:
    """Trap 25: whatever the wall clock does, the window fires once and no later than its ceiling from now."""
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4")])
    clock.jump(seconds)
    fired = []
    for _ in range(60):
        for job in jobs_of(database).take(Kind.WINDOW):
            closed = await database.write(windows.close_due, job)
            fired += [closed] if closed else []
        clock.advance(60)
    assert len(fired) == 1


async def test_kill9_inside_window(database: Database, clock: FakeClock) -> None:
    """Trap 25: the deadline is absolute and stored; when it has passed, the window fires at once, once."""
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4")])
    [job] = jobs_of(database).take(Kind.WINDOW)
    clock.advance(86_400)
    assert await database.write(windows.close_due, job) is not None
    assert await database.write(windows.close_due, job) is None


async def test_a_stale_job_closes_nothing(database: Database, clock: FakeClock) -> None:
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4")])
    [job] = jobs_of(database).take(Kind.WINDOW)
    assert await database.write(windows.close_due, job) is None
    [again] = jobs_of(database).take(Kind.WINDOW)
    clock.advance(300)
    assert await database.write(windows.close_due, job) is None
    assert await database.write(windows.close_due, again) is not None


async def test_paused_keeps_the_window_and_resume_closes_it(database: Database, clock: FakeClock) -> None:
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4")])
    await database.write(automations.pause_import, "idx_main", paused=True)
    assert await database.write(windows.accept_objects, row.id, 0, [obj("b.mp4")]) == windows.NOTHING_ACCEPTED
    clock.advance(10_000)
    [job] = jobs_of(database).take(Kind.WINDOW)
    assert await database.write(windows.close_due, job) is None
    await database.write(automations.pause_import, "idx_main", paused=False)
    [job] = jobs_of(database).take(Kind.WINDOW)
    closed = await database.write(windows.close_due, job)
    assert closed is not None
    assert closed.reason is CloseReason.RESUMED


async def test_editing_what_is_watched_never_forgets_what_was_imported(database: Database) -> None:
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4")])
    edited = await database.write(prepare, file_pattern="*.mp4")
    assert edited.generation == row.generation + 1
    assert edited.scope_id == row.scope_id
    assert (
        await database.write(windows.accept_objects, row.id, row.generation, [obj("b.mp4")])
        == windows.NOTHING_ACCEPTED
    )
    assert (
        await database.write(windows.accept_objects, row.id, edited.generation, [obj("a.mp4")])
        == windows.NOTHING_ACCEPTED
    )


async def test_a_refused_object_is_reported_once_per_version(database: Database, clock: FakeClock) -> None:
    row = await database.write(prepare)
    seen = SkippedObject("e.mp4", "v1", 0, Reason.ZERO_BYTE, "it is empty")
    assert await database.write(ledger.record_observations, row.id, [seen]) == [seen]
    assert await database.write(ledger.record_observations, row.id, [seen]) == []
    for version in ("v1", "v2"):
        await database.write(windows.accept_objects, row.id, 0, [obj("a.mp4", version)])
        clock.advance(300)
        await database.write(windows.close_due, jobs_of(database).take(Kind.WINDOW)[0])
    jobs = await database.read(lambda tx: tx.all(sa.select(import_jobs).order_by(import_jobs.c.id)))
    assert [(job.total_files, job.skipped) for job in jobs] == [(2, 1), (1, 0)]


async def test_two_sources_one_db(database: Database) -> None:
    """Trap 20: the same key and version of another connector is another object."""
    first = await database.write(ledger.ensure_scope, "idx_main", "conn_a")
    second = await database.write(ledger.ensure_scope, "idx_main", "conn_b")
    await database.write(ledger.record_versions, first, [obj("a.mp4")], 1)
    assert await database.read(ledger.list_recorded, second, ["a.mp4"]) == []
    assert await database.read(ledger.list_recorded, first, ["a.mp4"]) == [("a.mp4", "v1")]
