"""What handlers do for runs: they lead them, and try again what failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.footage import GOOD, HALF, items, run_of, shot, started
from tests.store.pipeline import PROBE, jobs_of
from tests.workflow.conftest import Told
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.media import Probe, ProcessingResult, RunSettings, Segment
from vvwatch.core.runs import RunStatus
from vvwatch.errors import MediaUnreadable, ObjectNotFound, StorageUnavailable
from vvwatch.ports import Kind, Prompt
from vvwatch.store import run_course, run_pieces, segment_retries
from vvwatch.store.database import Database
from vvwatch.store.schema import media
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.reading import Reading
from vvwatch.workflow.runs import Runs

pytestmark = pytest.mark.anyio

MENDED = ProcessingResult((GOOD, Segment(2.0, 4.0, {}, "a cat")), {}, "")


class Answering:
    """A processor that gives what it is told to."""

    name = "technical"

    def __init__(self) -> None:
        self.answer: ProcessingResult | Exception = HALF

    def check_prompt(self, prompt: Prompt) -> None: ...

    async def probe(self, fd: int) -> Probe:
        return PROBE

    async def process(
        self, fd: int, prompt: Prompt, settings: RunSettings, progress: Callable[[float], None]
    ) -> ProcessingResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def processor() -> Answering:
    return Answering()


@pytest.fixture
def handling(
    database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage, processor: Answering
) -> Runs:
    reading = Reading(clock, lambda _: storage, {"technical": processor}, "technical", 3, lambda: 0.5)
    return Runs(database, telemetry, reading)


@pytest.fixture
async def retry(database: Database, storage: FakeStorage, handling: Runs, processor: Answering) -> Retry:
    [video] = await shot(database, 1)
    obj = storage.put(f"{video}.mp4", b"mp4")
    await database.write(lambda tx: tx.update(media, video, version=obj.version))
    return Retry(database, handling, processor, video, await started(database))


class Retry:
    """A run of one item, and what is tried again of it."""

    def __init__(
        self, database: Database, handling: Runs, processor: Answering, video: str, run_id: str
    ) -> None:
        self.database = database
        self.handling = handling
        self.processor = processor
        self.video = video
        self.run_id = run_id

    async def of(self, ordinal: int, before: ProcessingResult | Exception) -> None:
        """The item comes to `before`, and this segment of it is asked for again."""
        self.processor.answer = before
        [item] = items(self.database)
        await self.handling.item(item)
        name = segment_id(int(item.ref), ordinal)
        await self.database.write(segment_retries.request, self.run_id, self.video, name)

    async def made(self, answer: ProcessingResult | Exception) -> str:
        """How the run stands when the retry was made."""
        self.processor.answer = answer
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
    assert await retry.made(ObjectNotFound("it is gone")) == RunStatus.COMPLETED_WITH_FAILURES
    name, fields = told[-1]
    assert (name, fields["message"]) == ("run.segment_retried", "it is gone")
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
    retry.processor.answer = ProcessingResult((GOOD,), {}, "half a character: \ud800")
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
    monkeypatch.setattr(run_pieces, "AT_ONCE", 3)
    await database.write(run_course.cancel, run_id, "key_1")
    while jobs := jobs_of(database).take(Kind.RUN):
        assert told.names() == []
        for job in jobs:
            await handling.course(job)
    assert told == [("run.finished", {"run": run_id, "status": "cancelled"})]
