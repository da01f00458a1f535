"""What handlers do for runs: they lead them, and try again what failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.processing import FakeProcessor
from tests.store.footage import GOOD, HALF, items, run_of, shot, started
from tests.store.pipeline import jobs_of
from tests.workflow.conftest import Told
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.core.runs import RunStatus
from vvwatch.errors import AccessDenied, MediaUnreadable, StorageUnavailable
from vvwatch.ports import Kind
from vvwatch.store.db.database import Database, requeue_overdue
from vvwatch.store.runs import batches, course, segment_retries
from vvwatch.store.schema import media
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.pipeline.runs import Runs

pytestmark = pytest.mark.anyio

MENDED = ProcessingResult((GOOD, Segment(2.0, 4.0, {}, "a cat")), {}, "")


@pytest.fixture
def processor() -> FakeProcessor:
    return FakeProcessor(result=HALF)


@pytest.fixture
def handling(
    database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage, processor: FakeProcessor
) -> Runs:
    reading = Reading(clock, lambda _: storage, processor, {"technical": processor}, 3, lambda: 0.5)
    return Runs(database, telemetry, reading)


@pytest.fixture
async def retry(database: Database, storage: FakeStorage, handling: Runs, processor: FakeProcessor) -> Retry:
    [video] = await shot(database, 1)
    obj = storage.put(f"{video}.mp4", b"mp4")
    await database.write(lambda tx: tx.update(media, video, version=obj.version))
    return Retry(database, handling, processor, storage, await started(database))


class Retry:
    """A run of one item, and what is tried again of it."""

    def __init__(
        self, database: Database, handling: Runs, processor: FakeProcessor, storage: FakeStorage, run_id: str
    ) -> None:
        self.database = database
        self.handling = handling
        self.processor = processor
        self.storage = storage
        self.key = next(iter(storage._objects))
        self.video = self.key.removesuffix(".mp4")
        self.run_id = run_id

    def lose_object(self) -> None:
        self.storage.remove(self.key)

    async def of(self, ordinal: int, before: ProcessingResult | Exception) -> None:
        """The item comes to `before`, and this segment of it is asked for again."""
        self.processor.result = before
        [item] = items(self.database)
        await self.handling.item(item)
        name = segment_id(int(item.ref), ordinal)
        await self.database.write(segment_retries.request, self.run_id, self.video, name)

    async def made(self, answer: ProcessingResult | Exception) -> str:
        """How the run stands when the retry was made."""
        self.processor.result = answer
        [job] = jobs_of(self.database).take(Kind.SEGMENT_RETRY)
        jobs_of(self.database).take(Kind.EXPORT)
        await self.handling.retry(job)
        return str((await run_of(self.database, self.run_id)).status)


async def test_a_segment_is_processed_again(retry: Retry, told: Told) -> None:
    await retry.of(1, HALF)
    assert await retry.made(MENDED) == RunStatus.COMPLETED
    assert told.names()[-2:] == ["run.segment_retried", "run.finished"]


async def test_an_item_is_processed_again(retry: Retry) -> None:
    await retry.of(WHOLE, MediaUnreadable("moov atom not found"))
    assert await retry.made(MENDED) == RunStatus.COMPLETED


async def test_what_fails_for_good_ends_the_retry(retry: Retry, told: Told) -> None:
    await retry.of(1, HALF)
    retry.lose_object()
    assert await retry.made(MENDED) == RunStatus.COMPLETED_WITH_FAILURES
    name, fields = told[-1]
    assert (name, "no object" in str(fields["message"])) == ("run.segment_retried", True)
    assert jobs_of(retry.database).take(Kind.SEGMENT_RETRY) == []


async def test_a_storage_that_is_away_is_waited_for(retry: Retry, clock: FakeClock) -> None:
    await retry.of(1, HALF)
    assert await retry.made(StorageUnavailable("it is away")) == RunStatus.COMPLETED_WITH_FAILURES
    assert jobs_of(retry.database).jobs[-1].run_at > clock.now()
    assert await retry.made(MENDED) == RunStatus.COMPLETED


@pytest.mark.parametrize("attempt", [0, 6])
async def test_a_result_that_cannot_be_stored_does_not_hold_up_its_run_for_ever(
    retry: Retry, attempt: int
) -> None:
    retry.processor.result = ProcessingResult((GOOD,), {}, "half a character: \ud800")
    [item] = items(retry.database)
    if attempt == 0:
        with pytest.raises(Exception, match="surrogates"):
            await retry.handling.item(item)
    else:
        await retry.handling.item(replace(item, attempt=attempt))
    run = await run_of(retry.database, retry.run_id)
    assert run.status == (RunStatus.FAILED if attempt else RunStatus.PROCESSING)


async def test_a_run_is_called_off_to_its_end(
    database: Database, handling: Runs, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shot(database, 9)
    run_id = await started(database, concurrency=1)
    monkeypatch.setattr(batches, "AT_ONCE", 3)
    await database.write(course.cancel, run_id, "key_1")
    while jobs := jobs_of(database).take(Kind.RUN):
        assert told.names() == []
        for job in jobs:
            await handling.course(job)
    assert told == [("run.finished", {"run": run_id, "status": "cancelled"})]


async def after(retry: Retry, clock: FakeClock, seconds: float) -> None:
    """Items that are due are processed, for so long."""
    until = clock.now() + seconds
    while clock.now() < until:
        for job in jobs_of(retry.database).take(Kind.RUN_ITEM):
            if job.run_at <= clock.now():
                await retry.handling.item(job)
            else:
                jobs_of(retry.database).jobs.append(job)
        clock.advance(1)


async def test_an_item_whose_object_is_not_given_fails_alone_and_is_processed_by_itself_when_it_is(
    retry: Retry, clock: FakeClock, told: Told
) -> None:
    retry.storage.put("another.mp4", b"x")
    retry.processor.result = MENDED
    retry.storage.refused[retry.key] = StorageUnavailable("500")
    await after(retry, clock, 20)
    assert (await run_of(retry.database, retry.run_id)).status == RunStatus.PROCESSING
    await after(retry, clock, 40)
    assert (await run_of(retry.database, retry.run_id)).status == RunStatus.FAILED
    [(_, warned)] = [each for each in told if each[0] == "run.item_failed"]
    assert warned["object_key"] == retry.key
    for pause in (30, 60, 120):
        [job] = jobs_of(retry.database).take(Kind.SEGMENT_RETRY)
        await retry.handling.retry(job)
        assert jobs_of(retry.database).jobs[-1].run_at == clock.now() + pause
    retry.storage.refused.clear()
    assert await retry.made(MENDED) == RunStatus.COMPLETED
    assert jobs_of(retry.database).take(Kind.SEGMENT_RETRY) == []


async def test_an_item_of_which_a_segment_failed_is_warned_of_with_the_reason(
    retry: Retry, told: Told
) -> None:
    [item] = items(retry.database)
    await retry.handling.item(item)
    [(_, warned)] = [each for each in told if each[0] == "run.item_partial"]
    assert warned["object_key"] == retry.key
    assert warned["message"] == "1 of 2 segments failed, the first: the answer was cut off"


async def test_a_person_need_not_wait_for_what_would_be_tried_later_by_itself(
    retry: Retry, clock: FakeClock
) -> None:
    retry.processor.result = MENDED
    retry.storage.refused[retry.key] = AccessDenied("no right to")
    [item] = items(retry.database)
    await retry.handling.item(item)
    [planned] = jobs_of(retry.database).take(Kind.SEGMENT_RETRY)
    assert planned.run_at == clock.now() + 15
    retry.storage.refused.clear()
    name = segment_id(int(item.ref), WHOLE)
    row = await retry.database.write(segment_retries.request, retry.run_id, retry.video, name)
    assert (row.id, row.next_at) == (planned.ref, clock.now())
    assert await retry.made(MENDED) == RunStatus.COMPLETED
    await retry.handling.retry(planned)
    assert (await run_of(retry.database, retry.run_id)).completed_items == 1


async def test_a_clock_that_was_set_back_delays_no_planned_retry_and_hastens_none(
    retry: Retry, clock: FakeClock
) -> None:
    retry.storage.refused[retry.key] = AccessDenied("no right to")
    [item] = items(retry.database)
    await retry.handling.item(item)
    for seconds, due in ((0, []), (-3_600, [0.0])):
        clock.jump(seconds)
        jobs_of(retry.database).jobs.clear()
        await retry.database.write(requeue_overdue, jobs_of(retry.database), 5.0)
        found = jobs_of(retry.database).take(Kind.SEGMENT_RETRY)
        assert [job.run_at - clock.now() for job in found] == due
