"""A shortage of this machine fails no file: all wait, are not blamed, and go on by themselves when it is over."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.processing import FakeProcessor
from tests.store.footage import items, run_of, shot, started
from tests.store.pipeline import PROBE, jobs_of, prepare
from tests.workflow.conftest import Told
from tests.workflow.pipeline.test_import_retries import BOUND, LOST, Place
from vvwatch.core import shortages
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.media import Probe, ProcessingResult
from vvwatch.core.runs import RunStatus
from vvwatch.errors import MachineShortage, MediaUnreadable, ProcessorCrashed, SpoolFull
from vvwatch.ports import Kind
from vvwatch.store.admin import shortages as queries
from vvwatch.store.admin.shortages import WaitingWork
from vvwatch.store.db.database import Database
from vvwatch.store.runs import segment_retries
from vvwatch.store.schema import import_files, run_items
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.pipeline.runs import Runs
from vvwatch.workflow.upkeep.findings import shortage_finding

pytestmark = pytest.mark.anyio

NO_PROCESS = shortages.start_failed(BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "python")
FILES = tuple(f"{number:02}.mp4" for number in range(20))


class Prober:
    """Comes to what `comes_to` says, else finds every file sound; `asked` counts."""

    def __init__(self, comes_to: Callable[[], Exception | None]) -> None:
        self.comes_to = comes_to
        self.asked = 0

    async def probe(self, fd: int) -> Probe:
        self.asked += 1
        error = self.comes_to()
        if error is not None:
            raise error
        return PROBE


@pytest.fixture
async def place(database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage) -> Place:
    await database.write(prepare)
    return Place(database, clock, telemetry, storage)


def probing(place: Place, comes_to: Callable[[], Exception | None]) -> Prober:
    prober = Prober(comes_to)
    object.__setattr__(place.reading, "prober", prober)
    return prober


async def waiting(place: Place) -> list[WaitingWork]:
    return list(await place.database.read(queries.list_waiting))


@pytest.mark.parametrize(
    "error",
    [
        NO_PROCESS,
        SpoolFull("the spool is full"),
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("can't start new thread"),
        MemoryError(),
    ],
)
async def test_twenty_good_files_outlive_a_minute_without(
    place: Place, clock: FakeClock, told: Told, error: Exception
) -> None:
    until = clock.now() + 10_000
    probing(place, lambda: error if clock.now() < until else None)
    await place.drop(*FILES)
    until = clock.now() + 60

    await place.work(50)
    [lack] = await waiting(place)
    finding = shortage_finding(lack)
    await place.work(75)

    assert {status for _, status, _ in await place.files()} == {"imported"}
    rows = await place.rows(import_files)
    assert {row.attempts - row.waits for row in rows} == {1}
    assert (lack.count, lack.code) == (20, error.code if isinstance(error, SpoolFull) else "machine_shortage")
    assert clock.now() - 150 < lack.since < lack.next_at
    assert (finding.state, finding.fix != "") == ("problem", True)
    assert "20 files wait" in finding.detail
    assert await waiting(place) == []
    assert "machine.shortage" in told.names()
    assert "import.file_failed" not in told.names()
    await place.check()


async def test_of_a_large_job_no_more_than_a_share_is_tried_meanwhile(place: Place) -> None:
    prober = probing(place, lambda: NO_PROCESS)
    await place.drop(*(f"{number:03}.mp4" for number in range(300)))

    await place.work(600)

    [lack] = await waiting(place)
    assert lack.count <= 32
    assert prober.asked < 32 * 20  # the pauses grow to a minute


async def test_a_shortage_leaves_the_files_own_attempts_alone(place: Place) -> None:
    came = iter([NO_PROCESS] * 5 + [ProcessorCrashed("x")] + [NO_PROCESS] + [ProcessorCrashed("x"), None])
    probing(place, lambda: next(came))

    await place.drop("a.mp4")
    await place.work(600)

    assert await place.imported() == ["a.mp4"]
    [row] = await place.rows(import_files)
    assert (row.attempts, row.waits) == (9, 6)


async def test_bad_files_fail_beside_it_as_ever(place: Place) -> None:
    came = iter([NO_PROCESS, MediaUnreadable("not media")])
    probing(place, lambda: next(came))

    await place.drop("a.mp4")
    await place.work(60)

    assert await place.files() == [("a.mp4", "failed", "media_unreadable")]


async def test_a_file_whose_process_is_ended_for_memory_is_given_up_after_an_hour_of_that(
    place: Place, clock: FakeClock
) -> None:
    prober = probing(place, shortages.report_killed)

    await place.drop("a.mp4")
    await place.work(3_500)
    assert await place.files() == [("a.mp4", "pending", "machine_shortage")]
    await place.work(500)

    assert await place.files() == [("a.mp4", "failed", "media_limit")]
    assert prober.asked < 30


async def test_who_was_ended_for_memory_by_anothers_greed_is_imported(place: Place, clock: FakeClock) -> None:
    came = iter([shortages.report_killed()] * 5 + [NO_PROCESS] + [shortages.report_killed()] * 4 + [None])
    probing(place, lambda: next(came))

    await place.drop("a.mp4")
    await place.work(7_200)

    assert await place.imported() == ["a.mp4"]


async def test_a_shortage_is_no_part_of_how_long_an_object_was_not_given(
    place: Place, clock: FakeClock
) -> None:
    """Its store has as long as ever to give it, whatever this machine was short of before."""
    until = clock.now() + 10_000
    probing(place, lambda: NO_PROCESS if clock.now() < until else None)
    await place.drop("a.mp4", "b.mp4")
    await place.work(600)
    until = clock.now()
    place.storage.refused["b.mp4"] = LOST
    await place.work(BOUND.seconds)
    assert (await place.files())[1] == ("b.mp4", "pending", None)
    await place.work(120)
    assert (await place.files())[1] == ("b.mp4", "failed", "object_unavailable")


@pytest.fixture
def processor() -> FakeProcessor:
    return FakeProcessor()


@pytest.fixture
def handling(
    database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage, processor: FakeProcessor
) -> Runs:
    reading = Reading(clock, lambda _: storage, processor, {"technical": processor}, 3, lambda: 0.5)
    return Runs(database, telemetry, reading)


async def test_an_item_of_a_run_waits_too_and_so_does_what_is_tried_again(
    database: Database, storage: FakeStorage, handling: Runs, processor: FakeProcessor, told: Told
) -> None:
    [video] = await shot(database, 1)
    obj = storage.put(f"{video}.mp4", b"mp4")
    await database.write(lambda tx: tx.update(run_items.metadata.tables["media"], video, version=obj.version))
    run_id = await started(database)
    good, processor.result = processor.result, NO_PROCESS
    for _ in range(5):
        [item] = items(database)
        await handling.item(item)

    [lack] = await database.read(queries.list_waiting)
    assert (lack.count, lack.code) == (1, MachineShortage.code)
    assert told.names()[-5:] == ["machine.shortage"] * 5

    processor.result = MediaUnreadable("not media")
    [item] = items(database)
    await handling.item(item)
    await database.write(segment_retries.request, run_id, video, segment_id(int(item.ref), WHOLE))
    for answer in (NO_PROCESS, NO_PROCESS, NO_PROCESS, NO_PROCESS, good):
        processor.result = answer
        [job] = jobs_of(database).take(Kind.SEGMENT_RETRY)
        await handling.retry(job)

    assert isinstance(good, ProcessingResult)
    assert (await run_of(database, run_id)).status == RunStatus.COMPLETED
