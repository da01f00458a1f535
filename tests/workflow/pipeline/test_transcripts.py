"""Where the transcript of an item comes from, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.processing import FakeProcessor, item_of
from tests.store.footage import GOOD, HALF, items, run_of, shot, started
from tests.store.pipeline import jobs_of
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.media import ProcessingResult
from vvwatch.core.processors import Transcription
from vvwatch.core.runs import ItemStatus
from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource, Word
from vvwatch.core.words import parse_query
from vvwatch.errors import MediaUnreadable, ProcessorUnavailable, StorageUnavailable, VvwatchError
from vvwatch.ports import Job, Kind, Storage
from vvwatch.ports.processing import Item, Prompt
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.runs import result_queries, run_queries, segment_retries
from vvwatch.store.runs import runs as store_runs
from vvwatch.store.runs.lexical_queries import find_ranked
from vvwatch.store.runs.search_queries import SearchScope
from vvwatch.store.runs.transcripts import load_said, load_transcript
from vvwatch.store.schema import media, run_items
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.pipeline.runs import Runs
from vvwatch.workflow.pipeline.transcripts import EmbeddedCaptions, Transcriber

pytestmark = pytest.mark.anyio

WHOLE_RESULT = ProcessingResult((GOOD,), {}, "")
SAID = Transcript(
    TranscriptSource.SIDECAR,
    "a.srt",
    "en",
    (Cue(0.0, 1.0, "one", (Word(0.0, 1.0, "one"),)), Cue(3.0, 4.0, "two")),
)


@dataclass
class Answers:
    """Implements `Source`: answers in turn, the last one for ever, and counts how often it was asked."""

    name: TranscriptSource
    answers: list[Transcript | str | VvwatchError]
    asked: int = 0
    reads: bool = False

    async def find(self, item: Item, storage: Storage) -> Transcript | str:
        self.asked += 1
        if self.reads:
            async with item.open():
                pass
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Listening(FakeProcessor):
    """Remembers the items that it was given."""

    def __init__(self) -> None:
        super().__init__(result=WHOLE_RESULT)
        self.given: list[Item] = []

    async def process(self, item: Item) -> ProcessingResult:
        self.given.append(item)
        return await super().process(item)


@dataclass
class Desk:
    """A run of one video whose transcript comes from `sources`."""

    database: Database
    clock: FakeClock
    telemetry: Telemetry
    storage: FakeStorage
    processor: Listening = field(default_factory=Listening)
    run_id: str = ""
    video: str = ""

    async def start(self) -> Job:
        [self.video] = await shot(self.database, 1)
        obj = self.storage.put(f"{self.video}.mp4", b"mp4")
        await self.database.write(lambda tx: tx.update(media, self.video, version=obj.version))
        self.run_id = await started(self.database)
        [job] = items(self.database)
        return job

    def handling(self, *sources: Answers) -> Runs:
        reading = Reading(
            self.clock, lambda _: self.storage, self.processor, {"technical": self.processor}, 3, lambda: 0.5
        )
        transcriber = Transcriber(self.database, sources)
        return Runs(self.database, self.telemetry, reading, transcriber=transcriber)

    async def status(self) -> str:
        return await self.database.read(
            lambda tx: str(tx.execute(sa.select(run_items.c.status)).scalar_one())
        )

    async def error(self, job: Job) -> str | None:
        row = await self.database.read(load_transcript, int(job.ref))
        assert row is not None
        return row.error

    async def search(self, text: str) -> list[int]:
        """The segments that are found by a word."""

        def find(tx: Tx) -> list[int]:
            ranked = find_ranked(tx, parse_query(text), SearchScope(), "segment", slice(0, 50))
            return [hit.segment.ordinal for hit in ranked.hits if hit.segment is not None]

        return await self.database.read(find)

    async def tally(self) -> tuple[int, int]:
        view = await self.database.read(run_queries.get_view, self.run_id)
        return view.tally.transcribed, view.tally.untranscribed


@pytest.fixture
def desk(database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage) -> Desk:
    return Desk(database, clock, telemetry, storage)


async def test_the_first_source_that_has_it_wins(desk: Desk) -> None:
    job = await desk.start()
    embedded = Answers(TranscriptSource.EMBEDDED, ["no caption track"])
    sidecar = Answers(TranscriptSource.SIDECAR, [SAID])
    speech = Answers(TranscriptSource.SPEECH, [replace(SAID, source=TranscriptSource.SPEECH)])

    await desk.handling(embedded, sidecar, speech).item(job)

    assert [item.transcript for item in desk.processor.given] == [SAID]
    assert (embedded.asked, sidecar.asked, speech.asked) == (1, 1, 0)
    said = (await desk.database.read(load_said, [int(job.ref)]))[int(job.ref)]
    assert said.transcript == SAID
    assert said.outcome == Transcription(succeeded=True)
    assert await desk.tally() == (1, 0)


async def test_the_reason_for_none_names_each_source_and_fails_nothing(desk: Desk) -> None:
    job = await desk.start()
    embedded = Answers(TranscriptSource.EMBEDDED, [MediaUnreadable("damaged", "upload it again")])
    await desk.handling(embedded, Answers(TranscriptSource.SIDECAR, ["no file a.srt"])).item(job)
    assert await desk.status() == ItemStatus.COMPLETED
    assert await desk.error(job) == (
        "embedded: damaged; sidecar: no file a.srt; "
        "nothing transcribes speech: [transcription] has neither an endpoint nor a speech model"
    )
    assert desk.processor.given[0].transcript is None
    assert await desk.tally() == (0, 1)
    found = await desk.database.read(result_queries.list_failures, desk.run_id, 0, 10)
    assert (found.items, found.untranscribed) == ([], 1)


@pytest.mark.parametrize(
    "away", [ProcessorUnavailable("it is down", "start it"), StorageUnavailable("away", "")]
)
async def test_a_source_that_is_away_makes_the_item_wait(desk: Desk, away: VvwatchError) -> None:
    job = await desk.start()
    source = Answers(TranscriptSource.ENDPOINT, [away, SAID])
    await desk.handling(source).item(job)
    assert (await desk.status(), desk.processor.given) == (ItemStatus.PENDING, [])
    assert await desk.database.read(load_transcript, int(job.ref)) is None
    [again] = items(desk.database)
    await desk.handling(source).item(again)
    assert (await desk.status(), desk.processor.given[0].transcript) == (ItemStatus.COMPLETED, SAID)


@pytest.mark.parametrize("answer", [SAID, "nothing is said"])
async def test_after_a_restart_it_is_found_and_not_made_again(desk: Desk, answer: Transcript | str) -> None:
    job = await desk.start()
    source = Answers(TranscriptSource.ENDPOINT, [answer])
    desk.processor.result = StorageUnavailable("away", "")
    await desk.handling(source).item(job)
    [again] = items(desk.database)
    desk.processor.result = WHOLE_RESULT
    await desk.handling(source).item(again)
    assert (await desk.status(), source.asked) == (ItemStatus.COMPLETED, 1)
    assert [item.transcript for item in desk.processor.given] == [SAID if answer is SAID else None] * 2


async def test_a_worker_that_lost_the_item_stores_nothing(desk: Desk) -> None:
    job = await desk.start()

    class Slow(Answers):
        async def find(self, item: Item, storage: Storage) -> Transcript | str:
            await desk.database.write(store_runs.begin_item, job)  # another node begins it
            return await super().find(item, storage)

    await desk.handling(Slow(TranscriptSource.SPEECH, [SAID])).item(job)
    assert desk.processor.given == []
    assert await desk.database.read(load_transcript, int(job.ref)) is None


async def test_a_retry_looks_again_where_there_was_none(desk: Desk) -> None:
    desk.processor.result = HALF
    job = await desk.start()
    source = Answers(TranscriptSource.SIDECAR, ["no file", SAID])
    await desk.handling(source).item(job)
    assert await desk.tally() == (0, 1)
    name = segment_id(int(job.ref), 1)
    await desk.database.write(segment_retries.request, desk.run_id, desk.video, name)
    [retry] = jobs_of(desk.database).take(Kind.SEGMENT_RETRY)
    jobs_of(desk.database).take(Kind.EXPORT)
    await desk.handling(source).retry(retry)
    assert (await desk.tally(), source.asked) == ((1, 0), 2)
    assert await desk.search("one") == [0], "the segment that did not fail is found by what is said in it"


async def test_a_failed_item_counts_once_it_is_retried(desk: Desk) -> None:
    desk.storage.refused["x"] = StorageUnavailable("", "")
    job = await desk.start()
    source = Answers(TranscriptSource.SIDECAR, [SAID])
    desk.processor.result = MediaUnreadable("damaged", "")
    await desk.handling(source).item(job)
    assert await desk.tally() == (1, 0)
    await desk.database.write(
        segment_retries.request, desk.run_id, desk.video, segment_id(int(job.ref), WHOLE)
    )
    [retry] = jobs_of(desk.database).take(Kind.SEGMENT_RETRY)
    desk.processor.result = WHOLE_RESULT
    await desk.handling(source).retry(retry)
    assert (await desk.tally(), source.asked) == ((1, 0), 1)
    assert (await run_of(desk.database, desk.run_id)).completed_items == 1


async def test_nobody_looks_where_nobody_asked(desk: Desk) -> None:
    job = await desk.start()
    source = Answers(TranscriptSource.SIDECAR, [SAID])
    handling = desk.handling(source)
    desk.processor.info = replace(desk.processor.info, transcribes=True)
    await handling.item(job)
    assert (source.asked, await desk.tally()) == (0, (0, 0))


async def test_media_are_opened_once_for_the_transcript_and_the_processor(desk: Desk) -> None:
    job = await desk.start()
    source = Answers(TranscriptSource.EMBEDDED, ["none"], reads=True)
    other = Answers(TranscriptSource.SPEECH, ["none"], reads=True)
    await desk.handling(source, other).item(job)
    assert desk.storage.reads[f"{desk.video}.mp4"] == 1


class Reader:
    """Implements `CaptionReader`."""

    async def captions(self, fd: int, duration_seconds: float | None) -> Transcript | str:
        return SAID


async def test_a_file_without_caption_tracks_is_not_opened(tmp_path: Path, storage: FakeStorage) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    source, prompt = EmbeddedCaptions(Reader()), Prompt("", {}, None)
    assert await source.find(item_of(path, prompt, probe={"caption_tracks": 1}), storage) == SAID
    assert await source.find(item_of(path, prompt), storage) == SAID, "imported before tracks were counted"
    counted = item_of(path, prompt, probe={"caption_tracks": 0})
    path.unlink()
    assert await source.find(counted, storage) == "no caption track"
