"""The way through an item segment by segment: what is asked, what is kept, what stops it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from tests.processing import MemoryJournal, item_of
from tests.processors.conftest import Shelf, is_decoder
from vvwatch.core.media import Plan, Probe, ProcessingResult, RunSettings, Segment
from vvwatch.errors import (
    BudgetReached,
    MediaUnreadable,
    ProcessorPaused,
    ProcessorRefused,
    ProcessorUnavailable,
    RunStopped,
    StorageUnavailable,
    Superseded,
    VvwatchError,
)
from vvwatch.ports.processing import Item, Prompt
from vvwatch.processors.media.cutting import Cutter, Extract, ExtractSettings
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.segmenting import Whole, process_by_segments

pytestmark = pytest.mark.anyio

PROMPT = Prompt("Name what is seen.", {"type": "object"}, {"json_schema": {"type": "object"}})
NO_WHOLE = replace(PROMPT, video_level=None)
EVERY_SECOND = RunSettings(video_segmentation_type="fixed", video_segment_duration=1)
FRAMES = ExtractSettings(frames=1, width=80)


class Asker:
    """Answers each segment with its frames; `trouble` by ordinal is raised or, as text, is the segment's error."""

    def __init__(self, **trouble: Any) -> None:
        self.trouble: dict[int, Any] = {}
        self.asked: list[int] = []
        self.wholes: list[Sequence[Segment]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.before: Callable[[Extract], Any] | None = None

    async def ask_segment(self, item: Item, plan: Plan, extract: Extract) -> Segment:
        self.asked.append(extract.ordinal)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.before is not None:
                await self.before(extract)
            trouble = self.trouble.get(extract.ordinal)
            if isinstance(trouble, Exception):
                raise trouble
            found = {"frames": [frame.path.read_bytes() for frame in extract.frames]}
            segment = Segment(extract.start_time, extract.end_time, found, "", extract.warning, trouble)
            await item.journal.keep_segment(extract.ordinal, segment)
            return segment
        finally:
            self.at_once -= 1

    async def ask_whole(self, item: Item, plan: Plan, segments: Sequence[Segment]) -> Whole:
        self.wholes.append(segments)
        return Whole({"segments": len(segments)}, "All.", ("a word",))


@dataclass
class Desk:
    """An item of six seconds in six segments, and who works on it; `lives` share the journal."""

    path: Path
    work_dir: Path
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    asker: Asker = field(default_factory=Asker)
    progress: list[float] = field(default_factory=list)
    opened: int = 0

    async def work(
        self,
        wanted: ExtractSettings = FRAMES,
        in_flight: int = 2,
        prompt: Prompt = PROMPT,
        settings: RunSettings = EVERY_SECOND,
        **fields: Any,
    ) -> ProcessingResult:
        item = item_of(
            self.path, prompt, settings, journal=self.journal, progress=self.progress.append, **fields
        )
        opens = item.open

        def counted() -> Any:
            self.opened += 1
            return opens()

        cutter = Cutter(limits=Limits(), work_dir=self.work_dir)
        return await process_by_segments(replace(item, open=counted), cutter, wanted, self.asker, in_flight)


@pytest.fixture
def desk(shelf: Shelf, tmp_path: Path) -> Iterator[Desk]:
    """However the work ends, no process, no folder and no descriptor is left."""
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    path = shelf.video("six.mp4", seconds=6, audio=False)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    yield Desk(path, work_dir)
    assert list(work_dir.iterdir()) == []
    assert [child for child in psutil.Process().children() if is_decoder(child)] == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def ordinals(result: ProcessingResult) -> list[float]:
    return [segment.start_time for segment in result.segments]


async def test_each_segment_is_asked_about_and_then_the_whole(desk: Desk) -> None:
    result = await desk.work()

    assert sorted(desk.asker.asked) == [0, 1, 2, 3, 4, 5]
    assert ordinals(result) == [0, 1, 2, 3, 4, 5]
    assert all(len(segment.metadata["frames"]) == 1 for segment in result.segments)
    assert desk.asker.wholes == [result.segments]
    assert (result.metadata, result.metadata_text, result.warnings) == ({"segments": 6}, "All.", ("a word",))
    assert (result.probe and result.probe.duration_seconds, result.damage) == (6, ())
    assert desk.progress[-7:] == pytest.approx([*(n / 6 for n in range(1, 7)), 1])
    assert desk.opened == 2


async def test_a_prompt_without_a_video_level_asks_nothing_of_the_whole(desk: Desk) -> None:
    result = await desk.work(prompt=NO_WHOLE)

    assert (desk.asker.wholes, result.metadata, result.metadata_text) == ([], {}, "")


async def test_where_no_segment_is_good_nothing_is_asked_of_the_whole(desk: Desk) -> None:
    desk.asker.trouble = dict.fromkeys(range(6), "no answer fits")

    result = await desk.work()

    assert (desk.asker.wholes, len(result.segments)) == ([], 6)


@pytest.mark.parametrize("in_flight", [1, 3])
async def test_so_many_are_asked_about_at_a_time(desk: Desk, in_flight: int) -> None:
    full = anyio.Event()

    async def wait(_: Extract) -> None:
        if desk.asker.at_once == in_flight:
            full.set()
        with anyio.fail_after(30):
            await full.wait()

    desk.asker.before = wait
    await desk.work(in_flight=in_flight)

    assert desk.asker.most_at_once == in_flight


async def test_the_next_life_does_what_is_missing(desk: Desk) -> None:
    desk.asker.trouble = {3: ProcessorUnavailable("away", "wait")}
    with pytest.raises(ProcessorUnavailable):
        await desk.work(in_flight=1)
    assert desk.journal.kept.keys() == {0, 1, 2}
    desk.asker.trouble, desk.asker.asked = {}, []
    desk.progress.clear()

    result = await desk.work(in_flight=1)

    assert desk.asker.asked == [3, 4, 5]
    assert ordinals(result) == [0, 1, 2, 3, 4, 5]
    assert desk.progress == pytest.approx([4 / 6, 5 / 6, 1, 1])


async def test_the_same_frames_are_shown_in_each_life(desk: Desk) -> None:
    first = await desk.work()
    missing = {ordinal: desk.journal.kept.pop(ordinal) for ordinal in (1, 4)}

    second = await desk.work(in_flight=1)

    assert missing
    assert first.segments == second.segments


async def test_where_all_segments_are_there_nothing_is_opened(desk: Desk) -> None:
    await desk.work()
    desk.opened, desk.asker.wholes, desk.asker.asked = 0, [], []

    result = await desk.work()

    assert (desk.opened, desk.asker.asked) == (0, [])
    assert desk.asker.wholes == [result.segments]


@pytest.mark.parametrize(
    ("wanted", "media_type"),
    [
        (ExtractSettings(), "video"),
        (ExtractSettings(frames=3), "audio"),
        (ExtractSettings(sound=True), "image"),
    ],
)
async def test_where_nothing_is_to_be_extracted_nothing_is_opened(
    desk: Desk, wanted: ExtractSettings, media_type: str
) -> None:
    desk.journal.kept_plan = Plan(((0, 1), (1, 2)), probe=Probe(media_type, "x", 2.0))

    result = await desk.work(wanted)

    assert (desk.opened, ordinals(result)) == (0, [0, 1])


@pytest.mark.parametrize(
    "error",
    [
        ProcessorUnavailable("away", "wait"),
        ProcessorPaused("paused", "resume it"),
        BudgetReached("no money", "raise it"),
        RunStopped("cancelled", ""),
        ProcessorRefused("never", "not this"),
        StorageUnavailable("gone", "wait"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_stops_new_segments_and_those_in_flight_are_kept(
    desk: Desk, error: VvwatchError
) -> None:
    failed = anyio.Event()

    async def wait(extract: Extract) -> None:
        if extract.ordinal == 1:
            failed.set()
        else:
            await failed.wait()
            await anyio.wait_all_tasks_blocked()

    desk.asker.before, desk.asker.trouble = wait, {1: error}

    with pytest.raises(type(error)) as raised:
        await desk.work(in_flight=2)

    assert raised.value is error
    assert desk.journal.kept.keys() == {0}
    assert sorted(desk.asker.asked) == [0, 1]


async def test_the_first_error_is_the_one_that_is_raised(desk: Desk) -> None:
    failed = anyio.Event()

    async def wait(extract: Extract) -> None:
        if extract.ordinal == 0:
            await failed.wait()
            await anyio.wait_all_tasks_blocked()
        failed.set()

    desk.asker.before = wait
    desk.asker.trouble = {0: ProcessorUnavailable("away", ""), 1: BudgetReached("no money", "")}

    with pytest.raises(BudgetReached):
        await desk.work(in_flight=2)


async def test_who_is_superseded_stops_at_once(desk: Desk) -> None:
    async def wait(extract: Extract) -> None:
        if extract.ordinal != 1:
            await anyio.sleep_forever()

    desk.asker.before, desk.asker.trouble = wait, {1: Superseded("taken over", "")}

    with pytest.raises(Superseded):
        await desk.work(in_flight=2)

    assert desk.journal.kept == {}


async def test_an_error_of_ours_stops_at_once(desk: Desk) -> None:
    desk.asker.trouble = {0: LookupError("a bug")}

    with pytest.raises(LookupError):
        await desk.work()


async def test_cancelling_leaves_nothing(desk: Desk) -> None:
    with anyio.CancelScope() as scope:

        async def cancel(_: Extract) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        desk.asker.before = cancel
        await desk.work()

    assert scope.cancelled_caught


async def test_media_that_cannot_be_read_says_so(desk: Desk, tmp_path: Path) -> None:
    desk.path = tmp_path / "none.mp4"
    desk.path.write_bytes(b"nothing")

    with pytest.raises(MediaUnreadable):
        await desk.work()

    assert desk.journal.kept_plan is None


async def test_a_file_that_can_no_longer_be_read_keeps_what_was_done(desk: Desk, tmp_path: Path) -> None:
    await desk.work()
    for ordinal in (4, 5):
        del desk.journal.kept[ordinal]
    desk.path = tmp_path / "none.mp4"
    desk.path.write_bytes(b"nothing")

    with pytest.raises(MediaUnreadable):
        await desk.work()

    assert desk.journal.kept.keys() == {0, 1, 2, 3}


async def test_the_retry_of_a_segment_works_on_that_one_only(desk: Desk) -> None:
    desk.asker.trouble = {2: "no answer fits"}
    await desk.work()
    desk.asker.trouble, desk.asker.asked, desk.asker.wholes = {}, [], []
    del desk.journal.kept[2]

    result = await desk.work(only=2, generation="retry_1")

    assert desk.asker.asked == [2]
    assert (desk.asker.wholes, result.metadata) == ([], {})
    assert [segment.error for segment in result.segments] == [None] * 6


async def test_the_retry_of_a_segment_asks_of_the_whole_where_nobody_has(desk: Desk) -> None:
    desk.asker.trouble = dict.fromkeys(range(6), "no answer fits")
    await desk.work()
    desk.asker.trouble = {}
    del desk.journal.kept[2]

    result = await desk.work(only=2, generation="retry_1")

    assert (len(desk.asker.wholes), result.metadata) == (1, {"segments": 6})


async def test_the_retry_of_a_segment_that_is_not_there_is_refused(desk: Desk) -> None:
    await desk.work()

    with pytest.raises(ProcessorRefused, match="no segment 6"):
        await desk.work(only=6, generation="retry_1")


async def test_a_picture_is_one_segment(desk: Desk, shelf: Shelf) -> None:
    desk.path = shelf.usual("jpg")

    result = await desk.work(media_type="image")

    [segment] = result.segments
    assert (segment.start_time, segment.end_time, len(segment.metadata["frames"])) == (0, 0, 1)


async def test_extraction_does_not_run_far_ahead(desk: Desk) -> None:
    """Of the six segments four at most lie there, however long an answer takes."""
    seen: list[int] = []

    async def wait(extract: Extract) -> None:
        folder = extract.frames[0].path.parent
        with anyio.fail_after(30):
            while len(seen) < 20:
                found = len(list(folder.iterdir()))
                seen.extend([found] if found > 3 else [])
                await anyio.sleep(0.02)

    desk.asker.before = wait
    await desk.work(in_flight=2)

    assert max(seen) == 4
