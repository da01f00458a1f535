"""A person holds, releases and fires the open window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.pipeline import count, jobs_of, obj, prepare
from vvwatch.core.windows import CloseReason, WindowPolicy
from vvwatch.errors import Conflict
from vvwatch.ports import Kind, Priority
from vvwatch.store.admin import invariants
from vvwatch.store.db.database import Database, Tx, requeue_overdue
from vvwatch.store.imports import imports
from vvwatch.store.schema import import_files, import_jobs
from vvwatch.store.schema import windows as table
from vvwatch.store.watching import automations, windows

pytestmark = pytest.mark.anyio


async def gathering(database: Database, *keys: str, policy: WindowPolicy | None = None) -> str:
    """The id of an automation whose window has these objects."""
    row = await database.write(prepare, policy) if policy else await database.write(prepare)
    await database.write(windows.accept_objects, row.id, row.generation, [obj(key) for key in keys])
    return str(row.id)


async def look(database: Database, clock: FakeClock) -> list[windows.ClosedWindow]:
    """Run what is due of windows now."""
    sink = jobs_of(database)
    due = [job for job in sink.jobs if job.kind is Kind.WINDOW and job.run_at <= clock.now()]
    sink.jobs = [job for job in sink.jobs if job not in due]
    closed = [await database.write(windows.close_due, job) for job in due]
    return [each for each in closed if each is not None]


async def the_window(database: Database) -> sa.Row[tuple[object, ...]]:
    return await database.read(lambda tx: tx.execute(sa.select(table)).one())


async def test_a_held_window_closes_neither_by_quiet_nor_by_its_ceiling(
    database: Database, clock: FakeClock
) -> None:
    held = await gathering(database, "a.mp4")
    assert await database.write(windows.hold_window, held)
    for _ in range(200):
        clock.advance(300)
        assert await look(database, clock) == []
    assert (await the_window(database)).state == "open"


async def test_a_held_window_takes_more_than_fits_and_loses_nothing(
    database: Database, clock: FakeClock
) -> None:
    held = await gathering(database, "a.mp4", policy=WindowPolicy(300, 1800, 3))
    await database.write(windows.hold_window, held)
    more = await database.write(windows.accept_objects, held, 0, [obj(f"{n}.mp4") for n in range(10)])
    assert (more.count, more.closed) == (10, ())
    assert (await the_window(database)).object_count == 11
    await database.write(windows.release_window, held)
    assert [(each.reason, each.object_count) for each in await look(database, clock)] == [
        (CloseReason.FULL, 11)
    ]
    assert len(jobs_of(database).take(Kind.IMPORT_FILE)) == await database.read(count, import_files) == 11


async def test_a_released_window_keeps_its_deadline(database: Database, clock: FakeClock) -> None:
    held = await gathering(database, "a.mp4")
    await database.write(windows.hold_window, held)
    clock.advance(200)
    assert await database.write(windows.release_window, held)
    assert await look(database, clock) == []
    clock.advance(99)
    assert await look(database, clock) == []
    clock.advance(1)
    assert [each.reason for each in await look(database, clock)] == [CloseReason.QUIET]


async def test_an_overdue_window_closes_at_once_when_it_is_released(
    database: Database, clock: FakeClock
) -> None:
    held = await gathering(database, "a.mp4")
    await database.write(windows.hold_window, held)
    clock.advance(10_000)
    await look(database, clock)
    await database.write(windows.release_window, held)
    job = jobs_of(database).take(Kind.WINDOW)[-1]
    assert (job.run_at, job.priority) == (clock.now(), Priority.MANUAL)
    closed = await database.write(windows.close_due, job)
    assert closed is not None
    assert closed.reason is CloseReason.QUIET


async def test_whoever_was_about_to_close_it_comes_too_late(database: Database, clock: FakeClock) -> None:
    held = await gathering(database, "a.mp4")
    clock.advance(300)
    [job] = jobs_of(database).take(Kind.WINDOW)
    await database.write(windows.hold_window, held)
    assert await database.write(windows.close_due, job) is None
    assert (await the_window(database)).state == "open"


async def test_saying_it_again_changes_nothing(database: Database) -> None:
    held = await gathering(database, "a.mp4")
    assert await database.write(windows.hold_window, held)
    assert not await database.write(windows.hold_window, held)
    assert await database.write(windows.release_window, held)
    assert not await database.write(windows.release_window, held)


async def test_a_hold_survives_a_restart_a_pause_and_an_edit(database: Database, clock: FakeClock) -> None:
    held = await gathering(database, "a.mp4")
    await database.write(windows.hold_window, held)
    await database.write(automations.pause_import, "idx_main", paused=True)
    await look(database, clock)
    await database.write(automations.pause_import, "idx_main", paused=False)
    await database.write(prepare, file_pattern="*.mp4")
    clock.advance(10_000)
    jobs_of(database).take(Kind.WINDOW)
    assert database.sink is not None
    await database.write(requeue_overdue, database.sink, 0)
    assert await look(database, clock) == []
    assert (await the_window(database)).held


async def test_a_hold_breaks_no_promise_of_the_database(database: Database, clock: FakeClock) -> None:
    held = await gathering(database, "a.mp4")
    await database.write(windows.hold_window, held)
    clock.advance(10_000)
    await look(database, clock)
    assert [each.name for each in await database.read(invariants.findings) if each.count] == []


@pytest.mark.parametrize("held", [False, True])
async def test_a_window_is_fired_by_hand_once(database: Database, held: bool) -> None:
    automation = await gathering(database, "a.mp4")
    if held:
        await database.write(windows.hold_window, automation)
    closed = await database.write(windows.fire_open_window, automation)
    assert (closed.reason, closed.object_count) == (CloseReason.MANUAL, 1)
    [made] = await database.read(lambda tx: tx.all(sa.select(import_jobs)))
    assert (made.id, made.priority) == (closed.import_job_id, Priority.MANUAL)
    with pytest.raises(Conflict, match="no window"):
        await database.write(windows.fire_open_window, automation)


async def test_the_window_after_a_held_one_is_not_held(database: Database, clock: FakeClock) -> None:
    automation = await gathering(database, "a.mp4")
    await database.write(windows.hold_window, automation)
    await database.write(windows.fire_open_window, automation)
    await database.write(windows.accept_objects, automation, 0, [obj("b.mp4")])
    clock.advance(300)
    assert [each.object_count for each in await look(database, clock)] == [1]


@pytest.mark.parametrize(
    ("state", "change"), [("paused", {"paused": True}), ("disabled", {"enabled": False})]
)
async def test_an_automation_that_stands_still_fires_nothing(
    database: Database, state: str, change: dict[str, Any]
) -> None:
    automation = await gathering(database, "a.mp4")
    await database.write(lambda tx: prepare(tx, **change))
    with pytest.raises(Conflict, match=state):
        await database.write(windows.fire_open_window, automation)
    assert await database.write(windows.hold_window, automation)
    assert await database.write(windows.release_window, automation)


@pytest.mark.parametrize("steer", [windows.fire_open_window, windows.hold_window, windows.release_window])
async def test_without_an_open_window_there_is_nothing_to_steer(
    database: Database, steer: Callable[[Tx, str], object]
) -> None:
    row = await database.write(prepare)
    with pytest.raises(Conflict, match="no window"):
        await database.write(steer, row.id)


async def test_an_edited_interval_moves_the_open_windows_deadline(
    database: Database, clock: FakeClock
) -> None:
    automation = await gathering(database, "a.mp4")
    jobs_of(database).take(Kind.WINDOW)
    clock.advance(100)
    for quiet, due_in in ((1000.0, 900.0), (50.0, 0.0)):
        await database.write(prepare, WindowPolicy(quiet, 6 * quiet, 10))
        await database.write(windows.reschedule_window, automation)
        assert (await the_window(database)).due_at == clock.now() + due_in
    assert [each.reason for each in await look(database, clock)] == [CloseReason.QUIET]


async def test_an_edit_of_the_file_moves_it_as_soon_as_somebody_looks(
    database: Database, clock: FakeClock
) -> None:
    await gathering(database, "a.mp4")
    clock.advance(100)
    await database.write(prepare, WindowPolicy(1000, 6000, 10))
    assert await look(database, clock) == []
    assert (await the_window(database)).due_at == clock.now() + 900
    await database.write(prepare, WindowPolicy(50, 300, 10))
    assert [each.reason for each in await look(database, clock)] == [CloseReason.QUIET]


async def test_what_has_gathered_stays_with_the_connector_that_is_left(database: Database) -> None:
    automation = await gathering(database, "a.mp4")
    await database.write(windows.hold_window, automation)
    await database.write(automations.pause_import, "idx_main", paused=True)
    closed = await database.write(windows.close_before_move, automation)
    assert closed is not None
    [made] = await database.read(lambda tx: tx.all(sa.select(import_jobs)))
    assert (made.connector_id, made.total_files) == ("conn_in", 1)
    assert await database.write(windows.close_before_move, automation) is None


async def test_a_manual_close_imports_each_file_once(database: Database) -> None:
    automation = await gathering(database, "a.mp4", "b.mp4")
    await database.write(windows.fire_open_window, automation)
    begun = [
        await database.write(imports.begin_file, job) for job in jobs_of(database).take(Kind.IMPORT_FILE)
    ]
    assert len([each for each in begun if each is not None]) == 2
    again = await database.write(windows.accept_objects, automation, 0, [obj("a.mp4"), obj("b.mp4")])
    assert again == windows.NOTHING_ACCEPTED
