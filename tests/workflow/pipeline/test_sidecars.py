"""Captions beside media: found with it, or replacing its transcript when they come later."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.processing import FakeProcessor
from tests.store.footage import GOOD, items, shot, started
from tests.store.pipeline import jobs_of
from tests.workflow.conftest import Told
from vvwatch.core.media import ProcessingResult
from vvwatch.core.outputs import Written
from vvwatch.core.sidecars import MOST_BYTES
from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource
from vvwatch.errors import StorageUnavailable
from vvwatch.ports import Hint, Job, Kind, Storage
from vvwatch.ports.processing import Item
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.runs import run_queries
from vvwatch.store.runs.transcripts import load_said
from vvwatch.store.schema import exports, import_automations, media, outputs
from vvwatch.store.watching import own_files
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.pipeline.runs import Runs
from vvwatch.workflow.pipeline.transcripts import SidecarCaptions, Source, Transcriber
from vvwatch.workflow.watching.watcher import Watcher

pytestmark = pytest.mark.anyio

SRT = b"1\n00:00:01,000 --> 00:00:02,000\none\n"
NEW = SRT.replace(b"one", b"two")


@dataclass
class Speech:
    """Implements `Source`: what a model hears."""

    name: TranscriptSource = TranscriptSource.SPEECH
    text: str = "heard"

    async def find(self, item: Item, storage: Storage) -> Transcript | str:
        return Transcript(self.name, "model", None, (Cue(0.0, 1.0, self.text),))


@dataclass
class Desk:
    database: Database
    clock: FakeClock
    telemetry: Telemetry
    storage: FakeStorage
    watcher: Watcher
    told: Told
    last: SidecarCaptions | None = None
    sources: list[Source] = field(default_factory=list)
    run_id: str = ""
    video: str = ""
    item: int = 0

    async def start(self) -> Job:
        [self.video] = await shot(self.database, 1)
        obj = self.storage.put(f"in/{self.video}.mp4", b"mp4")
        place = {"version": obj.version, "key": obj.key}
        await self.database.write(lambda tx: tx.update(media, self.video, **place))
        self.run_id = await started(self.database)
        [job] = items(self.database)
        self.item = int(job.ref)
        return job

    def handling(self) -> Runs:
        processor = FakeProcessor(result=ProcessingResult((GOOD,), {}, ""))
        reading = Reading(
            self.clock, lambda _: self.storage, processor, {"technical": processor}, 3, lambda: 0.5
        )
        sources: list[Source] = [*self.sources, self.last or SidecarCaptions(self.database)]
        return Runs(self.database, self.telemetry, reading, transcriber=Transcriber(self.database, sources))

    async def process(self, job: Job) -> None:
        await self.handling().item(job)

    def put(self, ending: str, data: bytes = SRT) -> str:
        return self.storage.put(f"in/{self.video}{ending}", data).key

    async def said(self) -> tuple[str, list[str]] | str | None:
        found = (await self.database.read(load_said, [self.item]))[self.item]
        if found.transcript is None:
            return found.outcome.error if found.outcome else None
        return found.transcript.source.value, [cue.text for cue in found.transcript.cues]

    async def look(self) -> None:
        """The watcher lists everything."""
        chosen = sa.select(import_automations.c.id)
        automation = await self.database.read(lambda tx: str(tx.execute(chosen).scalar_one()))
        assert await self.watcher.notice(automation, Hint(rescan=("",)))

    async def retry(self) -> int:
        """Make the retries that are planned; returns how many."""
        jobs = jobs_of(self.database).take(Kind.SEGMENT_RETRY)
        for job in jobs:
            await self.handling().retry(job)
        return len(jobs)

    async def exported(self) -> int:
        jobs_of(self.database).take(Kind.EXPORT)
        chosen = sa.select(sa.func.count()).select_from(exports)
        return await self.database.read(lambda tx: int(tx.execute(chosen).scalar_one()))


@pytest.fixture
def desk(
    database: Database,
    clock: FakeClock,
    telemetry: Telemetry,
    storage: FakeStorage,
    watcher: Watcher,
    told: Told,
) -> Desk:
    return Desk(database, clock, telemetry, storage, watcher, told)


def begin_exports(tx: Tx) -> None:
    """The exports that wait are delivered."""
    tx.execute(sa.update(exports).values(status="completed", attempts=1))


@pytest.mark.parametrize("ending", [".srt", ".SRT", ".mp4.srt", ".en.srt"])
@pytest.mark.parametrize("lists", [True, False])
async def test_captions_beside_the_media_are_found(desk: Desk, ending: str, lists: bool) -> None:
    desk.storage.capabilities = type(desk.storage.capabilities)(atomic_writes=True, start_after=lists)
    job = await desk.start()
    desk.put(ending)
    await desk.process(job)
    found = await desk.said()
    if lists or ending in {".srt", ".mp4.srt"}:
        assert found == ("sidecar", ["one"])
    else:
        assert "no captions beside it" in str(found)


async def test_a_sidecar_of_100_mb_is_refused_unread(desk: Desk) -> None:
    job = await desk.start()
    key = desk.put(".srt")
    obj, data = desk.storage._objects[key]
    desk.storage._objects[key] = (obj._replace(size_bytes=100 << 20), data)
    await desk.process(job)
    assert f"has 104,857,600 bytes, and captions have {MOST_BYTES:,} at most" in str(await desk.said())
    assert desk.storage.reads[key] <= 2


async def test_a_file_without_captions_gives_way_to_the_next(desk: Desk) -> None:
    job = await desk.start()
    desk.put(".vtt", b"WEBVTT\n")
    desk.put(".srt")
    await desk.process(job)
    assert await desk.said() == ("sidecar", ["one"])


async def test_our_own_captions_are_no_source(desk: Desk) -> None:
    job = await desk.start()
    uri = desk.storage.uri(desk.put(".srt"))
    await desk.database.write(lambda tx: tx.insert(outputs, uri=uri, export_id="exp_1", created_at=0.0))
    await desk.process(job)
    assert "no captions beside it" in str(await desk.said())


async def test_our_own_captions_are_no_source_where_people_had_theirs_before(desk: Desk) -> None:
    job = await desk.start()
    uri = desk.storage.uri(desk.put(".srt"))
    await desk.look()
    await desk.database.write(lambda tx: tx.insert(outputs, uri=uri, export_id="exp_1", created_at=0.0))
    await desk.process(job)
    assert "no captions beside it" in str(await desk.said())


async def claim(desk: Desk, ending: str, data: bytes = SRT) -> str:
    """An export wrote this file beside the media."""
    key = desk.put(ending, data)
    content = Written(len(data), hashlib.sha256(data).hexdigest())
    await desk.database.write(own_files.claim_file, desk.storage.uri(key), "exp_1", content)
    return key


@pytest.mark.parametrize("edited", [NEW, SRT + b"\n2\n00:00:03,000 --> 00:00:04,000\nmore\n"])
@pytest.mark.parametrize("later", [False, True])
async def test_our_captions_that_a_person_edited_are_theirs(desk: Desk, edited: bytes, later: bool) -> None:
    job = await desk.start()
    key = await claim(desk, ".srt")
    if later:
        await desk.look()
        await desk.process(job)
        assert "no captions beside it" in str(await desk.said())
        assert await desk.retry() == 0, "ours are none"
        await desk.exported()
        await desk.database.write(begin_exports)
    desk.storage.put(key, edited)
    await desk.look()
    if not later:
        await desk.process(job)
    assert await desk.retry() == 1
    said = await desk.said()
    assert isinstance(said, tuple)
    assert said[0] == "sidecar"
    assert said[1][0] == ("two" if edited == NEW else "one")
    reads = desk.storage.reads[key]
    await desk.look()
    assert desk.storage.reads[key] == reads, "it is known"
    desk.storage.put(key, SRT)
    await desk.look()
    assert await desk.retry() == 0, "it is ours again"


async def test_our_captions_are_read_once_by_watchers(desk: Desk) -> None:
    await desk.start()
    key = await claim(desk, ".srt")
    await desk.look()
    reads = desk.storage.reads[key]
    await desk.look()
    assert desk.storage.reads[key] == reads
    assert [name for name, _ in desk.told if name == "change.skipped"] == []


async def test_captions_that_come_later_replace_what_was_there_and_are_exported_once(desk: Desk) -> None:
    desk.sources = []
    await desk.process(await desk.start())
    assert "no captions beside it" in str(await desk.said())
    assert await desk.exported() == 1
    await desk.database.write(begin_exports)
    desk.put(".srt")
    await desk.look()
    assert await desk.retry() == 1
    assert (await desk.said(), await desk.exported()) == (("sidecar", ["one"]), 2)
    view = await desk.database.read(run_queries.get_view, desk.run_id)
    assert (view.tally.transcribed, view.tally.untranscribed) == (1, 0)
    await desk.database.write(begin_exports)
    await desk.look()
    assert await desk.retry() == 0, "nothing is new"
    desk.put(".srt", NEW)
    await desk.look()
    assert await desk.retry() == 1
    assert (await desk.said(), await desk.exported()) == (("sidecar", ["two"]), 3)
    names = [name for name, _ in desk.told]
    assert "change.accepted" not in [
        name for name, fields in desk.told if str(fields.get("object_key", "")).endswith(".srt")
    ]
    assert "change.skipped" not in names


async def test_captions_that_come_later_and_cannot_be_read_say_why(desk: Desk) -> None:
    await desk.process(await desk.start())
    before = str(await desk.said())
    await desk.database.write(begin_exports)
    for ending, data, reason in [
        (".vtt", b"WEBVTT\n", f"{desk.video}.vtt holds no captions"),
        (".srt", b"; speech: x", f"{desk.video}.vtt holds no captions; {desk.video}.srt holds no captions"),
    ]:
        desk.put(ending, data)
        await desk.look()
        assert await desk.retry() == 1
        assert await desk.said() == before.replace("no captions beside it", reason)
    assert await desk.exported() == 1


async def test_the_captions_in_the_file_are_better(desk: Desk) -> None:
    desk.sources = [Speech(TranscriptSource.EMBEDDED, "embedded")]
    await desk.process(await desk.start())
    desk.put(".srt")
    await desk.look()
    assert await desk.retry() == 1
    assert (await desk.said(), await desk.exported()) == (("embedded", ["embedded"]), 1)


async def test_what_a_model_heard_is_worse(desk: Desk) -> None:
    job = await desk.start()
    desk.sources = [Speech()]
    await desk.process(job)
    desk.put(".en.vtt", SRT)
    await desk.look()
    await desk.retry()
    assert await desk.said() == ("sidecar", ["one"])
    assert await desk.exported() == 1, "the export had not begun, so it has the captions"


async def test_captions_without_media_wait_and_captions_of_an_item_under_way_wait_for_it(desk: Desk) -> None:
    job = await desk.start()
    desk.storage.put("in/alone.srt", SRT)
    await desk.look()
    assert await desk.retry() == 0
    desk.put(".de.srt")
    await desk.look()
    assert (await desk.retry(), await desk.retry()) == (1, 1), "the item is not processed yet"
    await desk.process(job)
    assert await desk.said() == ("sidecar", ["one"])
    assert await desk.retry() == 1
    assert await desk.exported() == 1, "it had them already"


async def test_captions_that_change_meanwhile_are_read_again(desk: Desk) -> None:
    await desk.process(await desk.start())
    await desk.database.write(begin_exports)
    desk.put(".srt")
    await desk.look()

    class Changing(SidecarCaptions):
        async def find(self, item: Item, storage: Storage) -> Transcript | str:
            said = await super().find(item, storage)
            desk.clock.advance(1.0)
            desk.put(".srt", NEW)
            await desk.look()
            return said

    desk.last = Changing(desk.database)
    assert await desk.retry() == 1
    desk.last = None
    assert await desk.retry() == 1
    assert (await desk.said(), await desk.exported()) == (("sidecar", ["two"]), 2)


async def test_a_store_that_is_away_is_waited_for(desk: Desk) -> None:
    await desk.process(await desk.start())
    key = desk.put(".srt")
    await desk.look()
    desk.storage.refused[key] = StorageUnavailable("away", "")
    assert await desk.retry() == 1
    del desk.storage.refused[key]
    assert await desk.retry() == 1
    assert await desk.said() == ("sidecar", ["one"])
