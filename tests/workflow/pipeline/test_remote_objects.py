"""What a watcher knows of objects at a distance: archives, and clocks of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import jobs_of, prepare
from vvwatch.core.imports import FileStatus
from vvwatch.core.media import Probe
from vvwatch.errors import MediaUnreadable, ObjectArchived, ObjectTooLarge, StorageThrottled
from vvwatch.ports import Excerpt, Kind
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec
from vvwatch.store.db.database import Database
from vvwatch.store.models.catalog import Connector
from vvwatch.store.schema import import_files, import_jobs, observations, troubles
from vvwatch.store.watching import automations, windows
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.imports import Imports
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.watching.watcher import Watcher

pytestmark = pytest.mark.anyio

HOUR = 3600.0


def freeze(storage: FakeStorage, key: str) -> None:
    """Move the object at `key` to an archive; a listing says so."""
    found, data = storage._objects[key]
    storage._objects[key] = (found._replace(archived=True), data)


async def scan(database: Database, watcher: Watcher) -> None:
    await watcher.scan(jobs_of(database).take(Kind.SCAN)[-1])


async def rows(database: Database, table: sa.Table) -> list[sa.Row[Any]]:
    return list(await database.read(lambda tx: tx.all(sa.select(table).order_by(table.c.key))))


async def picked(database: Database) -> list[str]:
    waiting = [row for row in await rows(database, import_files) if row.status == FileStatus.PENDING]
    return [row.key for row in waiting]


async def gather(
    database: Database, watcher: Watcher, storage: FakeStorage, clock: FakeClock, *names: str
) -> None:
    """Objects of these names are found, and their window closes."""
    await database.write(prepare)
    for name in names:
        storage.put(name, b"x")
    await scan(database, watcher)
    clock.advance(300)
    await database.write(windows.close_due, jobs_of(database).take(Kind.WINDOW)[-1])


class Prober:
    """Says of every object what it is told to."""

    def __init__(self, *answers: Probe | Exception) -> None:
        self.answers = list(answers)

    async def probe(self, fd: int) -> Probe:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


SOUND = Probe("video", "mp4", 4.0)
DAMAGED = Probe("video", "mp4", 4.0, damage=("cut short",))


def importing(
    database: Database,
    clock: FakeClock,
    telemetry: Telemetry,
    storage: FakeStorage,
    *answers: Probe | Exception,
) -> Imports:
    prober: Any = Prober(*answers)
    reading = Reading(clock, lambda _: storage, prober, {}, 3, lambda: 0.5)
    return Imports(database, telemetry, reading)


async def import_all(database: Database, imports: Imports) -> None:
    for job in jobs_of(database).take(Kind.IMPORT_FILE):
        await imports.file(job)


async def test_glacier_then_restored(
    database: Database, watcher: Watcher, storage: FakeStorage, clock: FakeClock
) -> None:
    """Trap 12: an archived object waits, is reported with the reason, and comes when it can be read: once."""
    await database.write(prepare)
    storage.put("cold.mp4", b"x")
    freeze(storage, "cold.mp4")
    await scan(database, watcher)
    assert await picked(database) == []
    [waiting] = await rows(database, observations)
    assert (waiting.key, waiting.reason) == ("cold.mp4", "archived")
    storage.thawed = {"cold.mp4"}
    for _ in range(2):
        await scan(database, watcher)
    assert await picked(database) == ["cold.mp4"]
    assert await rows(database, observations) == []


async def test_of_many_archived_objects_few_are_asked_about_at_once_and_all_in_time(
    database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage
) -> None:
    asked: list[int] = []
    honest = storage.restored

    async def restored(keys: Any) -> set[str]:
        asked.append(len(keys))
        return await honest(keys)

    storage.restored = restored  # type: ignore[method-assign]
    samples = iter([*(step / 10 for step in range(10))] * 10)
    watcher = Watcher(database, clock, telemetry, lambda _: storage, lambda: next(samples))
    await database.write(prepare)
    for number in range(60):
        storage.put(f"{number:02}.mp4", b"x")
        freeze(storage, f"{number:02}.mp4")
    storage.put("warm.mp4", b"x")
    await scan(database, watcher)
    assert await picked(database) == ["warm.mp4"]
    storage.thawed = {f"{number:02}.mp4" for number in range(60)}
    for _ in range(20):
        await scan(database, watcher)
    assert max(asked) == 16
    assert len(await picked(database)) == 61


async def test_an_object_that_proves_to_be_archived_at_its_import_waits_and_holds_up_nobody(
    database: Database, watcher: Watcher, storage: FakeStorage, clock: FakeClock, telemetry: Telemetry
) -> None:
    await gather(database, watcher, storage, clock, "cold.mp4", "warm.mp4")
    archived = ObjectArchived("'cold.mp4' is archived", "restore it")
    await import_all(database, importing(database, clock, telemetry, storage, archived, SOUND))
    [cold, warm] = await rows(database, import_files)
    assert (cold.status, cold.reason, warm.status) == ("skipped", "object_archived", "imported")
    [job] = await database.read(lambda tx: tx.all(sa.select(import_jobs)))
    assert job.status == "completed"
    await scan(database, watcher)
    assert await picked(database) == []
    storage.thawed = {"cold.mp4"}
    await scan(database, watcher)
    assert await picked(database) == ["cold.mp4"]


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 0.0])
async def test_skew_plus_minus_1h(
    database: Database, watcher: Watcher, storage: FakeStorage, clock: FakeClock, ahead: float
) -> None:
    """Trap 14: a store dates its objects by its own clock, whatever ours says."""
    storage.clock_ahead_seconds = ahead
    storage.moment = clock.now() + ahead - 60
    storage.put("before.mp4", b"x")
    await database.write(prepare, process_existing=False)
    storage.moment = float(int(clock.now() + ahead))  # stores cut the fraction off
    storage.put("at once.mp4", b"x")
    await scan(database, watcher)
    storage.moment = clock.now() - 10 * HOUR
    storage.put("later, with an old date.mp4", b"x")
    await scan(database, watcher)
    assert await picked(database) == ["at once.mp4", "later, with an old date.mp4"]


async def test_old_lastmodified_new_object(
    database: Database, watcher: Watcher, storage: FakeStorage
) -> None:
    """Traps 1 to 3: neither the order of keys nor that of dates says what was there before."""
    await database.write(prepare)
    storage.put("m.mp4", b"x")
    await scan(database, watcher)
    storage.moment = 1.0
    for key in ("a.mp4", "z.mp4"):
        storage.put(key, b"x")
    await scan(database, watcher)
    assert await picked(database) == ["a.mp4", "m.mp4", "z.mp4"]


async def test_an_edited_connector_is_opened_anew(
    database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage
) -> None:
    opened: list[str] = []

    def open_storage(connector: Connector) -> FakeStorage:
        opened.append(connector.settings["root"])
        return storage

    watcher = Watcher(database, clock, telemetry, open_storage, lambda: 0.5)
    row = await database.write(prepare)
    await scan(database, watcher)
    await scan(database, watcher)
    clock.advance(1)
    moved = ConnectorSpec("in", "local", {"root": "/moved"}, ("import", "export"))
    await database.write(catalog.declare_connector, row.connector_id, moved)
    await database.write(automations.scan_now, row.id)
    await scan(database, watcher)
    assert opened == ["/in", "/moved"]


@pytest.fixture
def partial(storage: FakeStorage, monkeypatch: pytest.MonkeyPatch) -> FakeStorage:
    """A storage whose excerpts have gaps."""

    @asynccontextmanager
    async def excerpt(key: str, version: str) -> AsyncIterator[Excerpt]:
        async with storage.descriptor(key, version) as file:
            yield Excerpt(file, whole=False)

    monkeypatch.setattr(storage, "excerpt", excerpt)
    return storage


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([SOUND], "imported"),
        ([DAMAGED, SOUND], "imported"),
        ([DAMAGED, DAMAGED], "failed"),
        ([MediaUnreadable("gaps"), SOUND], "imported"),
        ([MediaUnreadable("gaps"), MediaUnreadable("really")], "failed"),
    ],
)
async def test_an_excerpt_may_pass_an_object_and_only_the_whole_may_fail_it(
    database: Database,
    watcher: Watcher,
    partial: FakeStorage,
    clock: FakeClock,
    telemetry: Telemetry,
    answers: list[Probe | Exception],
    status: str,
) -> None:
    await gather(database, watcher, partial, clock, "a.mp4")
    imports = importing(database, clock, telemetry, partial, *answers)
    await import_all(database, imports)
    [file] = await rows(database, import_files)
    assert file.status == status


async def test_an_object_too_large_fails_with_a_hint_and_one_that_has_to_wait_for_long_holds_up_nobody(
    database: Database, watcher: Watcher, storage: FakeStorage, clock: FakeClock, telemetry: Telemetry
) -> None:
    await gather(database, watcher, storage, clock, "huge.mp4", "throttled.mp4")
    too_large = ObjectTooLarge("the object has 9 bytes, and the spool takes 8 at most", "raise spool_bytes")
    throttled = StorageThrottled("slow down", retry_after_seconds=700.0)
    await import_all(database, importing(database, clock, telemetry, storage, too_large, throttled))
    [huge, later] = await rows(database, import_files)
    assert (huge.status, huge.reason) == ("failed", "object_too_large")
    assert "spool" in huge.message
    assert (later.status, later.reason) == ("failed", "object_unavailable")
    [trouble] = await rows(database, troubles)
    assert (trouble.key, trouble.retry_at) == ("throttled.mp4", clock.now() + 700)
