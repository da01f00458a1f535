"""Pausing, resuming and editing an import automation: at once, with nothing lost and nothing twice."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.api.story import CONNECTOR, INDEX, Story
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import jobs_of
from vvwatch.ports import Hint, Job, Kind
from vvwatch.store.db.database import Database
from vvwatch.store.schema import import_files, import_jobs
from vvwatch.store.schema import windows as windows_table
from vvwatch.store.watching import automations, windows
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watching.watcher import Watcher

pytestmark = pytest.mark.anyio

PATH = f"/indexes/{INDEX}/automations/import"
BODY: dict[str, Any] = {
    "connector_id": CONNECTOR,
    "debounce_interval": "5m",
    "prompt_preset": {"prompt_id": "prompt_technical"},
}


@pytest.fixture
def watcher(database: Database, clock: FakeClock, storage: FakeStorage) -> Watcher:
    return Watcher(database, clock, Telemetry("test"), lambda _: storage, lambda: 0.5)


async def scan(database: Database, watcher: Watcher) -> None:
    """Run the latest scan job there is, which must be due now."""
    job = jobs_of(database).take(Kind.SCAN)[-1]
    assert job.run_at <= database.clock.now()
    await watcher.scan(job)


async def waiting(database: Database) -> list[str]:
    """The keys in the open window."""
    gathered = windows_table.c.import_job_id == import_files.c.job_id, windows_table.c.state == "open"
    query = sa.select(import_files.c.key).where(*gathered)
    return sorted(row.key for row in await database.read(lambda tx: tx.all(query)))


async def due_window(database: Database, clock: FakeClock) -> windows.ClosedWindow | None:
    """Run the latest job of the window there is, if it is due."""
    job = jobs_of(database).take(Kind.WINDOW)[-1]
    return await database.write(windows.close_due, job) if job.run_at <= clock.now() else None


async def test_filter_widened(
    api: Api, story: Story, storage: FakeStorage, database: Database, watcher: Watcher
) -> None:
    """Trap 38: widening the filter brings in what now matches, at once and once; narrowing forgets nothing."""
    await api.put(PATH, {**BODY, "file_pattern": "*.mp4"})
    for key in ("old.mov", "old.mp4"):
        storage.put(key, b"x")
    await scan(database, watcher)
    assert await waiting(database) == ["old.mp4"]
    for pattern in ("*.{mp4,mov}", "*.mp4", "*.{mp4,mov}"):
        foretold = await api.put(f"{PATH}?dry_run=true", {**BODY, "file_pattern": pattern})
        before = await waiting(database)
        await api.put(PATH, {**BODY, "file_pattern": pattern})
        await scan(database, watcher)
        assert sorted([*before, *foretold["new_keys"]]) == await waiting(database) == ["old.mov", "old.mp4"]


async def test_what_is_left_out_no_longer_is_brought_in(
    api: Api, story: Story, storage: FakeStorage, database: Database, watcher: Watcher
) -> None:
    for key, size in (("a.mp4", 50), ("proxies/b.mp4", 50), ("tiny.mp4", 5), ("huge.mp4", 500)):
        storage.put(key, b"x" * size)
    left_out = {"exclude": ["proxies/**"], "min_size_bytes": 10, "max_size_bytes": 100}
    await api.put(PATH, {**BODY, **left_out})
    await scan(database, watcher)
    assert await waiting(database) == ["a.mp4"]
    expected = ["a.mp4"]
    for name, key in (
        ("exclude", "proxies/b.mp4"),
        ("min_size_bytes", "tiny.mp4"),
        ("max_size_bytes", "huge.mp4"),
    ):
        del left_out[name]
        await api.put(PATH, {**BODY, **left_out})
        await scan(database, watcher)
        expected = sorted([*expected, key])
        assert await waiting(database) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"source_prefix": "deep/"},
        {"file_pattern": "*.mov"},
        {"recursive": False},
        {"exclude": ["late*"]},
        {"min_size_bytes": 2},
        {"max_size_bytes": 1},
    ],
)
async def test_what_is_watched_changes_at_once(
    api: Api,
    story: Story,
    storage: FakeStorage,
    database: Database,
    watcher: Watcher,
    change: dict[str, Any],
) -> None:
    await api.put(PATH, BODY)
    jobs_of(database).take(Kind.SCAN)
    old = await database.read(automations.get_import, INDEX)
    await api.put(PATH, {**BODY, **change})
    late = [storage.put("late.mp4", b"x")]
    assert (
        await database.write(windows.accept_objects, old.id, old.generation, late) == windows.NOTHING_ACCEPTED
    )
    await scan(database, watcher)
    still = next(iter(change)) in ("recursive", "max_size_bytes")
    assert await waiting(database) == (["late.mp4"] if still else [])


@pytest.mark.parametrize(
    ("state", "change"), [("paused", {"paused": True}), ("disabled", {"enabled": False})]
)
async def test_one_that_stands_still_does_nothing_and_finds_all_when_it_goes_on(
    api: Api,
    story: Story,
    storage: FakeStorage,
    database: Database,
    watcher: Watcher,
    clock: FakeClock,
    state: str,
    change: dict[str, bool],
) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(windows.accept_objects, row.id, row.generation, [storage.put("before.mp4", b"x")])
    stale = Job(Kind.SCAN, row.id, row.revision, clock.now())
    assert (await api.put(PATH, {**BODY, **change}))["status"] == state
    missed = storage.put("meanwhile.mp4", b"x")
    for job in (stale, *jobs_of(database).take(Kind.SCAN)):
        await watcher.scan(job)
    await watcher.notice(row.id, Hint(objects=(missed,)))
    clock.advance(10_000)
    assert await due_window(database, clock) is None
    assert await waiting(database) == ["before.mp4"]
    assert jobs_of(database).take(Kind.SCAN) == []
    await api.put(PATH, BODY)
    await scan(database, watcher)
    assert await waiting(database) == ["before.mp4", "meanwhile.mp4"]


async def test_a_resumed_one_closes_what_was_overdue(
    api: Api, story: Story, storage: FakeStorage, database: Database, clock: FakeClock
) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(windows.accept_objects, row.id, row.generation, [storage.put("a2.mp4", b"x")])
    await api.post(f"{PATH}/pause")
    clock.advance(10_000)
    await api.put(PATH, {**BODY, "debounce_interval": "10m"})
    closed = await due_window(database, clock)
    assert closed is not None
    assert closed.reason == "resumed"


async def test_a_new_interval_is_the_open_windows_too(
    api: Api, story: Story, storage: FakeStorage, database: Database, clock: FakeClock
) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(windows.accept_objects, row.id, row.generation, [storage.put("d.mp4", b"x")])
    for interval, due_in in (("1h", 3_600), ("10m", 600), ("5m", 300)):
        saved = await api.put(PATH, {**BODY, "debounce_interval": interval})
        assert saved["next_run_at"] == (await api.get(f"{PATH}/window"))["window"]["due_at"]
        assert await due_window(database, clock) is None
        row = await database.read(automations.get_import, INDEX)
        window = await database.write(windows.find_open_window, row.id)
        assert window is not None
        assert (window.due_at, window.next_at) == (clock.now() + due_in, clock.now() + due_in)


async def test_another_connector_takes_nothing_that_gathered_for_the_first(
    api: Api, story: Story, storage: FakeStorage, database: Database, watcher: Watcher
) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(windows.accept_objects, row.id, row.generation, [storage.put("d.mp4", b"x")])
    await api.post(f"{PATH}/window/hold")
    jobs_of(database).jobs.clear()
    other = await api.connector("import", name="other")
    await api.put(PATH, {**BODY, "connector_id": other})
    [job] = await database.read(
        lambda tx: tx.all(import_jobs.select().where(import_jobs.c.id != story.job_id))
    )
    assert (job.connector_id, job.total_files, job.status) == (CONNECTOR, 1, "importing")
    assert len(jobs_of(database).take(Kind.IMPORT_FILE)) == 1
    await scan(database, watcher)
    assert await waiting(database) == ["a.mp4", "b.mp4", "d.mp4"], "another connector has its own ledger"
    assert (await api.put(PATH, {**BODY, "connector_id": other}))["connector_id"] == other
    assert await waiting(database) == ["a.mp4", "b.mp4", "d.mp4"]
    await api.put(PATH, BODY)
    await scan(database, watcher)
    assert await waiting(database) == [], "the first one's ledger was kept"
