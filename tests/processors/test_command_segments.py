"""A program that is asked about each segment, and about the whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.processors.commanding import PROMPT, WORDS, Bench
from tests.processors.conftest import Shelf
from vvwatch.core.media import Plan, ProcessingResult, RunSettings
from vvwatch.core.money import CallStatus, Workload
from vvwatch.errors import ProcessorPaused, ProcessorUnavailable
from vvwatch.ports.processing import Item, Prompt

pytestmark = pytest.mark.anyio

EVERY_SECOND = RunSettings(video_segmentation_type="fixed", video_segment_duration=1)
VIDEO = replace(PROMPT, video_level={"instructions_text": "All?", "json_schema": WORDS})
HEAD = (
    "said = json.load(sys.stdin)\n"
    "index = said['segment']['index'] if 'segment' in said else None\n"
    "open(sys.argv[0] + '.asked', 'a').write(f'{index} ')\n"
    "answer = {'metadata': {'words': [f'word{index}']}}\n"
)
TAIL = "\nprint(json.dumps(answer))"


class SegmentBench(Bench):
    """A bench whose item is a clip of four seconds."""

    clip: Path

    def item(self, prompt: Prompt = PROMPT, **fields: Any) -> Item:
        item = super().item(prompt, settings=EVERY_SECOND, **fields)
        (self.folder / "Clip One.MP4").write_bytes(self.clip.read_bytes())
        return item

    async def ask(self, code: str, prompt: Prompt = PROMPT, **options: Any) -> ProcessingResult:
        given = {"level": "segment", "frames": 0, "concurrency": 1, **options}
        return await self.process(HEAD + code + TAIL, prompt, **given)

    @property
    def asked(self) -> list[str]:
        return (self.folder / "program.py.asked").read_text().split()


@pytest.fixture
def bench(tmp_path: Path, shelf: Shelf) -> SegmentBench:
    made = SegmentBench(tmp_path)
    made.clip = shelf.usual("mp4")
    made.journal.kept_plan = Plan(tuple((float(start), start + 1.0) for start in range(4)))
    return made


async def test_each_segment_is_asked_about_and_then_the_whole(bench: SegmentBench) -> None:
    code = (
        "if index is None:\n"
        "    said['previous'][0]['level'] = said['level']\n"
        "    json.dump(said['previous'], open(sys.argv[0] + '.json', 'w'))\n"
        "answer['warnings'] = ['dark'] if index == 1 else []"
    )

    result = await bench.ask(code, VIDEO)

    assert [segment.metadata["words"] for segment in result.segments] == [[f"word{n}"] for n in range(4)]
    assert [segment.warning for segment in result.segments] == [None, "dark", None, None]
    assert (result.metadata, result.metadata_text) == ({"words": ["wordNone"]}, "wordNone")
    assert bench.asked == ["0", "1", "2", "3", "None"]
    told = json.loads((bench.folder / "program.py.json").read_text())
    assert told[0] == {
        "level": "video",
        "start_time": 0.0,
        "end_time": 1.0,
        "metadata": {"words": ["word0"]},
        "metadata_text": "word0",
    }
    assert [status for _, status, _ in bench.journal.ended] == [CallStatus.COMPLETED] * 5
    assert bench.left() == []


async def test_pictures_and_sound_of_the_segment_come_as_files(bench: SegmentBench) -> None:
    code = (
        "frames = said['segment']['frames']\n"
        "heads = [open(frame['path'], 'rb').read(2).hex() for frame in frames]\n"
        "heads.append(open(said['segment']['audio_path'], 'rb').read(4).decode())\n"
        "heads.append(str(0 <= frames[0]['at_seconds'] - said['segment']['start_time'] <= 1))\n"
        "heads.append(os.environ['VVWATCH_SEGMENT_INDEX'])\n"
        "answer['metadata']['words'] = heads"
    )

    bench.journal.kept_plan = None

    result = await bench.ask(code, frames=1, frame_width=160, audio=True, concurrency=2)

    assert [segment.metadata["words"] for segment in result.segments][:4] == [
        ["ffd8", "RIFF", "True", str(index)] for index in range(4)
    ]
    assert bench.left() == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (
            "sys.stderr.write('upside down'); sys.exit(65)",
            "the program refuses this (exit status 65): upside down",
        ),
        ("answer = []", "its answer cannot be used: no JSON object but an array"),
        (
            "answer['metadata'] = {}",
            'the `metadata` of the answer does not fit the schema: $: "words" is a required property',
        ),
        ("os.abort()", "the program died by SIGABRT"),
        ("print('x' * 2_000_000)", "it wrote more than 1,000,000 bytes"),
    ],
)
async def test_a_segment_that_fails_harms_no_neighbour(bench: SegmentBench, code: str, error: str) -> None:
    result = await bench.ask(f"if index == 1:\n    {code}", stdout_bytes=1_000_000)

    assert [segment.error for segment in result.segments] == [None, error, None, None]
    assert bench.journal.kept[1].error == error


async def test_a_segment_that_crashes_is_tried_three_times_with_growing_pauses(bench: SegmentBench) -> None:
    code = "answer['metadata']['words'] = [os.environ['VVWATCH_ATTEMPT']]\nif index == 2: sys.exit(1)"

    result = await bench.ask(code)

    assert [segment.error for segment in result.segments] == [
        None,
        None,
        "the program ended with status 1",
        None,
    ]
    assert bench.asked == ["0", "1", "2", "2", "2", "3"]
    assert bench.clock.slept == [1.0, 2.0]


async def test_a_crash_that_does_not_recur_is_none(bench: SegmentBench) -> None:
    result = await bench.ask("if os.environ['VVWATCH_ATTEMPT'] == '1': os.abort()")

    assert [segment.error for segment in result.segments] == [None] * 4
    keys = [key for key, _, _ in bench.journal.ended]
    assert keys == [f"{ordinal}:command:0:" for ordinal in range(4) for _ in range(2)]


async def test_a_skipped_segment_is_no_failure(bench: SegmentBench) -> None:
    result = await bench.ask("if index == 3: sys.exit('black') if False else sys.exit(77)")

    assert result.segments[3].error is None
    assert result.segments[3].warning == "skipped by the program: it does not say why"


async def test_an_item_goes_on_at_the_segment_where_it_stopped(bench: SegmentBench) -> None:
    with pytest.raises(ProcessorUnavailable):
        await bench.ask("if index == 2: sys.exit(75)")
    with pytest.raises(ProcessorPaused):
        await bench.ask("if index == 3: sys.exit(78)")
    result = await bench.ask("pass")

    assert bench.asked == ["0", "1", "2", "2", "3", "3"]
    assert len(result.segments) == 4


async def test_a_whole_that_fails_is_said_and_keeps_the_segments(bench: SegmentBench) -> None:
    result = await bench.ask("if index is None: sys.exit(65)", VIDEO)

    assert len(result.segments) == 4
    assert result.metadata == {}
    assert (result.whole_error, result.warnings) == ("the program refuses this (exit status 65)", ())


async def test_one_segment_is_tried_again_alone(bench: SegmentBench) -> None:
    await bench.ask("if index == 1: sys.exit(65)")
    bench.journal.kept.pop(1)

    result = await bench.ask("pass", item={"only": 1, "generation": "retry_1"})

    assert [segment.error for segment in result.segments] == [None] * 4
    assert bench.asked == ["0", "1", "2", "3", "1"]


def test_each_segment_and_each_whole_is_counted_beforehand(bench: SegmentBench) -> None:
    work = Workload("video", 3, 30.0, 3, 9)
    processor = bench.processor(["x"], level="segment", prices={"words": {"usd_per_call": 0.5}})

    assert processor.forecast(work, PROMPT, EVERY_SECOND).cost_usd == 4.5
    assert processor.forecast(work, VIDEO, EVERY_SECOND).calls == 12
