"""One object's trouble is its own: it fails alone, within a bound, and comes by itself when its store gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import PROBE, RecordingSink, jobs_of, prepare
from tests.workflow.conftest import Told
from vvwatch.core.media import Probe
from vvwatch.core.retries import Bound, Patience
from vvwatch.errors import (
    AccessDenied,
    CredentialsRefused,
    ObjectNotFound,
    SpoolFull,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
)
from vvwatch.ports import Hint, Kind
from vvwatch.store.admin import attention, invariants
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.imports import one_time, retrying
from vvwatch.store.imports import unreadable as store
from vvwatch.store.imports.one_time import OneTimeSpec
from vvwatch.store.schema import import_files, import_jobs, media, objects, prompt_runs, troubles
from vvwatch.store.watching import automations, windows
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.import_retries import AT_ONCE, ImportRetries
from vvwatch.workflow.pipeline.imports import Imports
from vvwatch.workflow.pipeline.liveness import StoreState
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.watching.one_time import OneTimeImports
from vvwatch.workflow.watching.watcher import Watcher

pytestmark = pytest.mark.anyio

LOST = StorageUnavailable("the store answered 500 InternalError")
DENIED = AccessDenied("no right to")
CONNECTOR: Any = None
BOUND, PATIENCE = Bound(3, 45.0), Patience(15.0, 86_400.0)


class Prober:
    """A processor that finds every file sound."""

    async def probe(self, fd: int) -> Probe:
        return PROBE


class Place:
    """A bucket, and a daemon's parts that import from it; `restart` makes them anew."""

    def __init__(
        self, database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage
    ) -> None:
        self.database, self.clock, self.telemetry, self.storage = database, clock, telemetry, storage
        self.restart()

    def restart(self) -> None:
        prober: Any = Prober()
        self.reading = Reading(
            self.clock, lambda _: self.storage, prober, {}, 3, lambda: 0.5, BOUND, PATIENCE
        )
        self.watcher = Watcher(self.database, self.clock, self.telemetry, lambda _: self.storage, lambda: 0.5)
        self.imports = Imports(self.database, self.telemetry, self.reading)
        self.one_time = OneTimeImports(self.database, self.clock, self.telemetry, self.reading)
        self.troubles = self.node("")

    def node(self, name: str) -> ImportRetries:
        return ImportRetries(self.database, self.telemetry, self.reading, self.watcher.notice, name)

    @property
    def sink(self) -> RecordingSink:
        return jobs_of(self.database)

    async def drop(self, *keys: str) -> None:
        """Objects come, are found, and their window closes."""
        for key in keys:
            self.storage.put(key, b"mp4")
        await self.scan()
        await self.close()

    async def scan(self) -> None:
        await self.watcher.scan(self.sink.take(Kind.SCAN)[-1])

    async def close(self) -> None:
        if jobs := self.sink.take(Kind.WINDOW):
            self.clock.advance(300)
            await self.database.write(windows.close_due, jobs[-1])

    async def work(self, seconds: float) -> None:
        """What is due is imported, for so long."""
        until = self.clock.now() + seconds
        while True:
            for job in self.sink.take(Kind.IMPORT_FILE):
                if job.run_at <= self.clock.now():
                    await self.imports.file(job)
                else:
                    self.sink.jobs.append(job)
            if self.clock.now() >= until:
                return
            self.clock.advance(1)

    async def pass_time(self, seconds: float, step: float = 1) -> None:
        """Rounds are made for so long, as often as it takes."""
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            while await self.troubles.run_round():
                pass

    async def rows(self, table: sa.Table) -> Sequence[sa.Row[Any]]:
        return await self.database.read(lambda tx: tx.all(sa.select(table).order_by(*table.primary_key)))

    async def files(self) -> list[tuple[str, str, str | None]]:
        return [(row.key, row.status, row.reason) for row in await self.rows(import_files)]

    async def imported(self) -> list[str]:
        return sorted(row.key for row in await self.rows(media))

    async def check(self) -> None:
        found = await self.database.read(invariants.findings)
        assert [finding for finding in found if finding.count] == []


@pytest.fixture
async def place(database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage) -> Place:
    await database.write(prepare)
    return Place(database, clock, telemetry, storage)


async def test_a_lost_object_fails_alone_and_its_neighbours_have_their_run(place: Place, told: Told) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4", "c.mp4")
    await place.work(60)
    assert await place.files() == [
        ("a.mp4", "imported", None),
        ("b.mp4", "failed", "object_unavailable"),
        ("c.mp4", "imported", None),
    ]
    [job] = await place.rows(import_jobs)
    assert (job.status, job.imported, job.failed) == ("completed", 2, 1)
    [run] = await place.rows(prompt_runs)
    assert run.total_items == 2
    [(_, warned)] = [each for each in told if each[0] == "import.file_failed"]
    assert (warned["object_key"], warned["reason"], warned["import_job"]) == (
        "b.mp4",
        "object_unavailable",
        job.id,
    )
    assert "500 InternalError" in str(warned["message"])
    await place.check()


async def test_what_the_store_does_not_give_comes_by_itself_once_when_it_does(place: Place) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    await place.pass_time(110)
    [trouble] = await place.rows(troubles)
    assert trouble.tries == 3  # after 15, 30 and 60 s; then after 120 s
    del place.storage.refused["b.mp4"]
    await place.pass_time(121)
    await place.close()
    await place.work(1)
    assert await place.imported() == ["a.mp4", "b.mp4"]
    await place.pass_time(1_000, step=5)
    await place.scan()
    await place.close()
    await place.work(1)
    assert await place.imported() == ["a.mp4", "b.mp4"]
    assert len(await place.rows(import_jobs)) == 2
    assert [row.total_items for row in await place.rows(prompt_runs)] == [1, 1]
    await place.check()


async def test_the_pauses_grow_to_a_longest_one(place: Place) -> None:
    assert [PATIENCE.delay(tries) for tries in (0, 1, 2, 12, 13, 1_000)] == [
        15.0,
        30.0,
        60.0,
        61_440.0,
        86_400.0,
        86_400.0,
    ]
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    asked = place.storage.reads["b.mp4"]
    await place.pass_time(3_600, step=6)
    assert place.storage.reads["b.mp4"] - asked <= 8


async def test_a_store_that_is_away_as_a_whole_is_waited_for_without_end(place: Place) -> None:
    await place.drop("a.mp4", "b.mp4")
    place.storage.broken = LOST
    await place.work(4_000)
    assert {status for _, status, _ in await place.files()} == {"pending"}
    place.storage.broken = None
    await place.work(400)
    assert await place.imported() == ["a.mp4", "b.mp4"]
    assert await place.rows(troubles) == []


async def test_a_store_that_lists_and_gives_nothing_is_away(place: Place) -> None:
    names = [f"{number}.mp4" for number in range(5)]
    await place.drop(*names)
    place.storage.refused = dict.fromkeys(names, LOST)
    await place.work(1_000)
    assert {status for _, status, _ in await place.files()} == {"pending"}


@pytest.mark.parametrize("lost", ["day/lost", "a", "z"])
@pytest.mark.parametrize("restarts", [False, True])
async def test_a_folder_that_is_lost_as_a_whole_fails_alone(
    place: Place, lost: str, *, restarts: bool
) -> None:
    gone = [f"{lost}/{number}.mp4" for number in range(3)]
    place.storage.refused = dict.fromkeys(gone, LOST)
    await place.drop("day/good/1.mp4", *gone, "m/2.mp4")
    await place.work(4)
    if restarts:
        place.restart()
    await place.work(90)
    assert {key for key, status, _ in await place.files() if status == "failed"} == set(gone)
    assert await place.imported() == ["day/good/1.mp4", "m/2.mp4"]
    [job] = await place.rows(import_jobs)
    assert job.status == "completed"
    place.storage.refused = {}
    await place.pass_time(200)
    await place.close()
    await place.work(1)
    assert await place.imported() == sorted(["day/good/1.mp4", "m/2.mp4", *gone])
    await place.check()


async def test_a_lost_folder_that_fills_the_first_pages_hides_no_other(place: Place) -> None:
    await place.drop("b/good.mp4")
    await place.work(1)
    gone = [f"a/{number}.mp4" for number in range(5_000)]
    place.storage.capabilities = replace(place.storage.capabilities, start_after=True)
    for key in gone:
        place.storage.put(key, b"mp4")
    place.storage.refused = dict.fromkeys(gone, LOST)
    standing = await place.reading.liveness.find_state(
        "in", gone[0], place.clock.monotonic, lambda: place.reading.storage(CONNECTOR), 0.5, reads=True
    )
    assert standing is StoreState.ANSWERS


@pytest.mark.parametrize("error", [CredentialsRefused("unknown key"), SpoolFull("no room")])
async def test_what_is_no_objects_trouble_is_waited_for(place: Place, error: Exception) -> None:
    await place.drop("a.mp4", "b.mp4")
    if isinstance(error, SpoolFull):
        place.storage.refused["a.mp4"] = error
    else:
        place.storage.broken = error
    await place.work(1_000)
    reason = error.code if isinstance(error, SpoolFull) else None
    assert (await place.files())[0] == ("a.mp4", "pending", reason)


async def test_an_outage_before_does_not_count_against_the_object(place: Place) -> None:
    await place.drop("a.mp4", "b.mp4")
    place.storage.broken = LOST
    await place.work(1_000)
    place.storage.broken = None
    place.storage.refused["b.mp4"] = LOST
    await place.work(310)
    [row] = [row for row in await place.rows(import_files) if row.key == "b.mp4"]
    assert row.status == "pending" or row.failing_since > 0
    del place.storage.refused["b.mp4"]
    await place.work(40)
    assert "a.mp4" in await place.imported()


async def test_the_bound_counts_across_a_restart(place: Place) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(25)
    assert (await place.files())[1][1] == "pending"
    place.restart()
    await place.work(30)
    assert (await place.files())[1] == ("b.mp4", "failed", "object_unavailable")


@pytest.mark.parametrize("error", [DENIED, StorageError("400 KMS.DisabledException")])
async def test_what_is_refused_for_good_fails_at_once_and_comes_later(place: Place, error: Exception) -> None:
    place.storage.refused["b.mp4"] = error
    await place.drop("a.mp4", "b.mp4")
    await place.work(0)
    assert (await place.files())[1][1] == "failed"
    del place.storage.refused["b.mp4"]
    await place.pass_time(20)
    await place.close()
    await place.work(0)
    assert await place.imported() == ["a.mp4", "b.mp4"]


async def test_what_is_denied_for_long_is_asked_for_about_as_often_as_it_is_scanned_for(place: Place) -> None:
    place.storage.refused["b.mp4"] = DENIED
    await place.drop("a.mp4", "b.mp4")
    await place.work(0)
    await place.pass_time(3_600, step=6)
    asked = place.storage.reads["b.mp4"]
    del place.storage.refused["b.mp4"]
    await place.pass_time(61)
    await place.close()
    await place.work(0)
    assert await place.imported() == ["a.mp4", "b.mp4"]
    assert asked <= 3_600 / 60 + 4


async def test_credentials_that_may_not_even_list_any_more_are_waited_for(place: Place) -> None:
    await place.drop("a.mp4", "b.mp4")
    place.storage.broken = DENIED
    await place.work(1_000)
    assert {status for _, status, _ in await place.files()} == {"pending"}


async def test_many_denied_objects_cost_a_few_requests_a_round_and_come_together_when_granted(
    place: Place,
) -> None:
    names = [f"{number:03}.mp4" for number in range(100)]
    place.storage.refused = dict.fromkeys(names, DENIED)
    await place.drop("good.mp4", *names)
    while any(status == "pending" for _, status, _ in await place.files()):
        await place.work(1)
    place.storage.reads.clear()
    place.clock.advance(1_000)
    await place.troubles.run_round()
    assert sum(place.storage.reads[name] for name in names) <= AT_ONCE
    place.storage.refused.clear()
    await place.pass_time(40)
    await place.close()
    for _ in range(20):
        await place.work(1)
    assert len(await place.imported()) == 101
    await place.check()


async def test_an_object_deleted_before_its_import_is_gone_and_no_failure(place: Place, told: Told) -> None:
    await place.drop("a.mp4", "b.mp4")
    place.storage.remove("b.mp4")
    await place.work(0)
    assert await place.files() == [("a.mp4", "imported", None), ("b.mp4", "skipped", "gone")]
    [job] = await place.rows(import_jobs)
    assert (job.status, job.failed, job.skipped) == ("completed", 0, 1)
    assert "import.file_failed" not in told.names()
    assert await place.rows(troubles) == []


async def test_what_is_listed_and_said_not_to_be_there_has_a_bound(place: Place) -> None:
    """Else it were found and lost again for ever."""
    place.storage.refused["b.mp4"] = ObjectNotFound("404")
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    assert (await place.files())[1] == ("b.mp4", "failed", "object_unavailable")


async def test_a_version_that_is_replaced_or_deleted_is_in_no_trouble_any_more(place: Place) -> None:
    place.storage.refused = dict.fromkeys(("b.mp4", "c.mp4"), LOST)
    await place.drop("a.mp4", "b.mp4", "c.mp4")
    await place.work(60)
    place.storage.refused.clear()
    place.storage.put("b.mp4", b"new")
    place.storage.remove("c.mp4")
    await place.pass_time(20)
    assert await place.rows(troubles) == []
    await place.scan()
    await place.close()
    await place.work(0)
    assert await place.imported() == ["a.mp4", "b.mp4"]


async def test_what_a_person_tries_again_is_imported_once(place: Place) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    del place.storage.refused["b.mp4"]
    [job] = await place.rows(import_jobs)
    [failed] = [row for row in await place.rows(import_files) if row.status == "failed"]
    await place.database.write(retrying.retry_file, job.id, str(failed.id))
    await place.scan()
    await place.close()
    await place.work(0)
    await place.pass_time(2_000, step=5)
    await place.close()
    await place.work(0)
    assert await place.imported() == ["a.mp4", "b.mp4"]


async def test_of_two_nodes_that_try_at_once_one_takes_it_up(place: Place) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    del place.storage.refused["b.mp4"]
    place.clock.advance(20)
    async with anyio.create_task_group() as tasks:
        for name in ("one", "two"):
            tasks.start_soon(place.node(name).run_round)
    await place.close()
    await place.work(0)
    assert await place.imported() == ["a.mp4", "b.mp4"]
    await place.check()


@pytest.mark.parametrize("step", ["begin", "begin and start", "take_up"])
async def test_a_try_that_a_crash_cuts_short_is_made_again(place: Place, step: str) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    del place.storage.refused["b.mp4"]
    place.clock.advance(20)
    [trouble] = await place.rows(troubles)
    due = await place.database.write(store.begin_try, trouble.scope_id, trouble.key, trouble.version, "one")
    assert due is not None
    if step == "take_up":
        await place.database.write(retrying.take_up, due.trouble)
        await place.scan()
    else:
        assert await place.troubles.run_round() == 0
        if step == "begin":
            await place.pass_time(store.LEASE_SECONDS + 1)
        else:
            await place.database.write(store.give_back, "one")
            assert await place.troubles.run_round() == 1
    await place.close()
    await place.work(0)
    assert await place.imported() == ["a.mp4", "b.mp4"]
    assert await place.database.write(retrying.take_up, due.trouble) is None


async def test_nothing_is_tried_for_an_automation_that_stands_still(place: Place) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    del place.storage.refused["b.mp4"]
    await place.database.write(automations.pause_import, "idx_main", paused=True)
    await place.pass_time(100)
    assert await place.imported() == ["a.mp4"]
    await place.database.write(automations.pause_import, "idx_main", paused=False)
    await place.pass_time(3)
    await place.close()
    await place.work(0)
    assert await place.imported() == ["a.mp4", "b.mp4"]


async def test_a_clock_that_was_set_back_holds_no_try_up(place: Place) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    del place.storage.refused["b.mp4"]
    place.clock.jump(-86_400)
    assert await place.troubles.run_round() == 1


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_looking_for_what_is_due_reads_nothing_that_waits(database: Database) -> None:
    """However many objects wait for their next try, a round that finds none due costs next to nothing."""
    assert isinstance(database, SqliteDatabase)
    said: list[tuple[str, Any]] = []

    def listen(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    sa.event.listen(database._reader, "before_cursor_execute", listen)
    await database.read(store.list_due, "node", 16)
    sa.event.remove(database._reader, "before_cursor_execute", listen)
    [(text, given)] = [each for each in said if "troubles" in each[0]]

    def steps(tx: Tx) -> list[str]:
        return [row.detail for row in tx.conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given)]

    found = [step for step in await database.read(steps) if "troubles" in step]
    assert found == [
        "SEARCH troubles USING INDEX troubles_due (retry_at<?)",
        "SEARCH troubles USING INDEX troubles_planned (failed_at>?)",
    ]


async def test_a_store_that_is_away_counts_no_try(place: Place) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    place.storage.broken = LOST
    await place.pass_time(600, step=5)
    [trouble] = await place.rows(troubles)
    assert trouble.tries == 0


async def test_a_file_of_a_one_time_job_comes_by_itself_in_a_job_of_its_own(place: Place) -> None:
    place.storage.put("a.mp4", b"x")
    place.storage.put("b.mp4", b"x")
    place.storage.refused["b.mp4"] = LOST
    place.sink.take(Kind.SCAN)
    await place.database.write(one_time.create, OneTimeSpec("conn_in", "idx_main"))
    await place.one_time.advance(place.sink.take(Kind.IMPORT_JOB)[-1])
    await place.work(60)
    assert await place.imported() == ["a.mp4"]
    del place.storage.refused["b.mp4"]
    await place.pass_time(20)
    await place.work(0)
    await place.pass_time(1_000, step=5)
    await place.work(0)
    assert await place.imported() == ["a.mp4", "b.mp4"]
    await place.check()


async def test_a_store_that_asks_for_long_patience_is_not_asked_sooner(place: Place) -> None:
    place.storage.refused["b.mp4"] = StorageThrottled("slow down", retry_after_seconds=500.0)
    await place.drop("a.mp4", "b.mp4")
    await place.work(0)
    asked = place.storage.reads["b.mp4"]
    assert (await place.files())[1][1] == "failed"
    await place.pass_time(499)
    assert place.storage.reads["b.mp4"] == asked


async def test_what_was_taken_up_or_is_watched_no_more_is_dropped_in_time(place: Place) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    assert await place.database.write(store.prune) == 0
    del place.storage.refused["b.mp4"]
    await place.pass_time(20)
    place.clock.advance(8 * 86_400)
    assert await place.database.write(store.prune) == 1
    assert await place.rows(troubles) == []


async def test_a_hint_of_an_object_in_trouble_takes_it_no_second_time(place: Place) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    del place.storage.refused["b.mp4"]
    [automation] = await place.database.read(lambda tx: tx.all(sa.text("select id from import_automations")))
    await place.watcher.notice(automation.id, Hint(keys=("b.mp4",)))
    await place.pass_time(20)
    await place.watcher.notice(automation.id, Hint(keys=("b.mp4",)))
    await place.close()
    await place.work(0)
    assert await place.imported() == ["a.mp4", "b.mp4"]
    assert len(await place.rows(objects)) == 2


async def test_a_failure_needs_attention_until_its_object_is_taken_up(place: Place) -> None:
    place.storage.refused["b.mp4"] = LOST
    await place.drop("a.mp4", "b.mp4")
    await place.work(60)
    since = place.clock.now() - 3_600
    [trouble] = await place.rows(troubles)
    [failure] = (await place.database.read(attention.list_failures, since)).found
    assert (failure.state, failure.failed, failure.next_try_at) == ("failed", 1, trouble.retry_at)
    del place.storage.refused["b.mp4"]
    await place.pass_time(20)
    assert (await place.database.read(attention.list_failures, since)).found == []
