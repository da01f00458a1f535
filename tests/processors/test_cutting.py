"""What is taken out of media for a model or a command: the plan, the pictures, the sound."""

from __future__ import annotations

import io
import sys
import wave
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import av
import psutil
import pytest

from tests.processors.conftest import Shelf, is_decoder, opened
from vvwatch.core.media import Plan, Probe, RunSettings
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.errors import MediaLimit, ProcessorCrashed
from vvwatch.processors.media import asking
from vvwatch.processors.media.cutting import Cutter, ExtractSettings
from vvwatch.processors.media.isolation import Limits

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Taken:
    """What was extracted for one segment, read before it was released."""

    moments: list[float]
    frames: list[bytes]
    sound: bytes | None
    warning: str | None

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [size_of(frame) for frame in self.frames]

    @property
    def seconds(self) -> float:
        with wave.open(io.BytesIO(self.sound or b"")) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16_000, 1, 2)
            frames: int = sound.getnframes()
        return frames / 16_000


@dataclass(frozen=True)
class Scissors:
    """A cutter that is asked about paths."""

    work_dir: Path
    limits: Limits

    def limited(self, **limits: Any) -> Scissors:
        return replace(self, limits=replace(self.limits, **limits))

    @property
    def cutter(self) -> Cutter:
        return Cutter(limits=self.limits, work_dir=self.work_dir)

    async def plan(self, path: Path, **settings: Any) -> Plan:
        with opened(path) as fd:
            return await self.cutter.plan(fd, RunSettings(**settings), lambda _: None)

    async def take(self, path: Path, plan: Plan, *ordinals: int, **wanted: Any) -> dict[int, Taken]:
        spans = {number: plan.spans[number] for number in ordinals or range(len(plan.spans))}
        more: Any = {"shots": plan.shots, "sound_track": plan.sound_track}
        taken = {}
        with opened(path) as fd:
            async with self.cutter.extract(fd, spans, ExtractSettings(**wanted), **more) as extracts:
                async for extract in extracts:
                    taken[extract.ordinal] = Taken(
                        [frame.at_seconds for frame in extract.frames],
                        [frame.path.read_bytes() for frame in extract.frames],
                        extract.sound.read_bytes() if extract.sound else None,
                        extract.warning,
                    )
                    await extracts.release(extract)
        return taken


def size_of(jpeg: bytes) -> tuple[int, int]:
    with av.open(io.BytesIO(jpeg), "r") as container:
        frame = next(container.decode(video=0))
    return frame.width, frame.height


@pytest.fixture
def scissors(tmp_path: Path) -> Iterator[Scissors]:
    """However its items end, no process, no folder and no descriptor of theirs is left."""
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    yield Scissors(work_dir, Limits())
    assert list(work_dir.iterdir()) == []
    assert [child for child in psutil.Process().children() if is_decoder(child)] == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


VIDEO = [name for name, kind in MEDIA_TYPES.items() if kind == "video"]
AUDIO = [name for name, kind in MEDIA_TYPES.items() if kind == "audio"]
IMAGE = ["jpg", "png", "webp", "gif", "bmp", "tiff"]


@pytest.mark.parametrize("extension", VIDEO)
async def test_a_video_gives_frames_and_sound_of_each_segment(
    scissors: Scissors, shelf: Shelf, extension: str
) -> None:
    path = shelf.usual(extension)
    plan = await scissors.plan(path)
    taken = await scissors.take(path, plan, frames=3, width=80, sound=True)

    assert [start for start, _ in plan.spans] == pytest.approx([0, 2], abs=0.1)
    assert plan.shots == pytest.approx([2], abs=0.1)
    for (start, end), one in zip(plan.spans, taken.values(), strict=True):
        assert one.moments == pytest.approx(
            [start + (end - start) * part for part in (1 / 6, 0.5, 5 / 6)], abs=0.05
        )
        assert one.sizes == [(80, 45)] * 3
        assert one.seconds == pytest.approx(end - start, abs=0.15)
        assert one.warning is None


@pytest.mark.parametrize("extension", AUDIO)
async def test_sound_has_no_frames(scissors: Scissors, shelf: Shelf, extension: str) -> None:
    path = shelf.usual(extension)
    plan = await scissors.plan(path)
    taken = await scissors.take(path, plan, frames=3, sound=True)

    assert sum(one.seconds for one in taken.values()) == pytest.approx(4, abs=0.1)
    assert all((one.frames, one.warning) == ([], None) for one in taken.values())


@pytest.mark.parametrize("extension", IMAGE)
async def test_a_picture_is_one_segment_of_one_frame(
    scissors: Scissors, shelf: Shelf, extension: str
) -> None:
    path = shelf.usual(extension)
    plan = await scissors.plan(path)
    taken = await scissors.take(path, plan, frames=3, sound=True)

    assert (plan.spans, plan.shots, plan.sound_track) == (((0, 0),), (), None)
    assert (taken[0].moments, taken[0].sizes, taken[0].sound) == ([0], [(160, 90)], None)


async def test_the_plan_is_cut_as_the_technical_processor_cuts(scissors: Scissors, shelf: Shelf) -> None:
    path = shelf.usual("mp4")

    fixed = await scissors.plan(path, video_segmentation_type="fixed", video_segment_duration=1)
    by_sound = await scissors.plan(path, video_segmentation_type="content_aware")

    assert [start for start, _ in fixed.spans][:4] == [0, 1, 2, 3]
    assert [start for start, _ in by_sound.spans] == pytest.approx([0, 2], abs=0.05)


PLAN = Plan(((0.0, 1.0), (1.0, 2.0)), probe=Probe("video", "mp4", 2.0))
GOOD = '{"extract": {"ordinal": %d, "frames": [0.5], "sound": false, "warning": null}}'


def answering(monkeypatch: pytest.MonkeyPatch, *lines: str, code: str = "") -> None:
    """Put a child in place of the real one that leaves `0-0.jpg` and `1-0.jpg`, and writes `lines`."""
    begins = "print('{\"progress\": 0.0}', flush=True)\n"
    start = "import os, sys; [open(f'{n}-0.jpg', 'wb').write(b'x' * 2000) for n in (0, 1)]\n"
    says = f"print(*{lines!r}, sep='\\n', flush=True)\n"
    monkeypatch.setattr(asking, "COMMAND", (sys.executable, "-I", "-c", begins + start + code + says))


async def test_an_obedient_child_is_believed(
    scissors: Scissors, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, GOOD % 1, '{"progress": 0.5}', GOOD % 0)

    taken = await scissors.take(shelf.usual("png"), PLAN, frames=1, sound=True)

    assert [(ordinal, one.moments) for ordinal, one in taken.items()] == [(1, [0.5]), (0, [0.5])]


@pytest.mark.parametrize(
    "lines",
    [
        ["nonsense"],
        [GOOD % 7],
        [GOOD % 0, GOOD % 0],
        [(GOOD % 0).replace("[0.5]", "[0.5, 0.6]")],
        [(GOOD % 0).replace("[0.5]", "[1e999]")],
        [(GOOD % 0).replace("[0.5]", '["late"]')],
        [(GOOD % 0).replace("false", "true")],
        [(GOOD % 0).replace("null", '"\\ud800"')],
        ['{"extract": 5}'],
        ['{"plan": {}}'],
        [GOOD % 0],
        [],
    ],
)
async def test_what_a_child_says_is_believed_as_far_as_it_makes_sense(
    scissors: Scissors, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    answering(monkeypatch, *lines)

    with pytest.raises(ProcessorCrashed):
        await scissors.take(shelf.usual("png"), PLAN, frames=1, sound=True)


@pytest.mark.parametrize(
    "code",
    [
        "os.remove('0-0.jpg'); os.symlink('/etc/passwd', '0-0.jpg')\n",
        "os.remove('0-0.jpg'); os.mkfifo('0-0.jpg')\n",
        "os.remove('0-0.jpg'); os.mkdir('0-0.jpg')\n",
        "os.remove('0-0.jpg')\n",
        "os.mkdir('more')\n",
    ],
)
async def test_only_files_are_taken_from_a_child(
    scissors: Scissors, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    answering(monkeypatch, GOOD % 0, GOOD % 1, code=code)

    with pytest.raises(ProcessorCrashed, match="something else"):
        await scissors.take(shelf.usual("png"), PLAN, frames=1)


async def test_files_have_a_limit_of_size_and_number(
    scissors: Scissors, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, GOOD % 0, GOOD % 1)
    with pytest.raises(MediaLimit, match="pictures and sounds exceed"):
        await scissors.limited(extracted_bytes=3999).take(shelf.usual("png"), PLAN, frames=1)

    answering(monkeypatch, GOOD % 0, code="[open(f'more{n}', 'wb') for n in range(30)]\n")
    with pytest.raises(ProcessorCrashed, match="more than 8 files"):
        await scissors.take(shelf.usual("png"), PLAN, frames=1)


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        ("[open(f'more{n}', 'wb') for n in range(30)]\n", {}),
        ("open('more', 'wb').write(bytes(5000))\n", {"extracted_bytes": 4999}),
    ],
)
async def test_a_child_that_fills_the_disk_and_says_nothing_of_it_is_ended(
    scissors: Scissors, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, code: str, limits: dict[str, int]
) -> None:
    answering(monkeypatch, '{"progress": 0.5}', code=f"{code}import time; time.sleep(600)\n")

    with pytest.raises(MediaLimit, match="or are more than asked for"):
        await scissors.limited(**limits).take(shelf.usual("png"), PLAN, frames=1)


async def test_a_frame_that_is_too_large_is_left_out_and_said(scissors: Scissors, shelf: Shelf) -> None:
    path = shelf.usual("mp4")

    taken = await scissors.limited(file_bytes=1000).take(path, PLAN, 0, frames=1)

    assert (taken[0].frames, taken[0].warning) == (
        [],
        "no picture could be decoded between 0.0 s and 1.0 s",
    )


async def test_a_child_that_dies_hangs_or_talks_without_end_is_told_apart(
    scissors: Scissors, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shelf.usual("png")

    answering(monkeypatch, code="os.kill(os.getpid(), 11)\n")
    with pytest.raises(ProcessorCrashed, match="died by SIGSEGV"):
        await scissors.take(path, PLAN, frames=1)

    answering(monkeypatch, code="import time; time.sleep(600)\n")
    with pytest.raises(ProcessorCrashed, match="no sign of progress"):
        await scissors.limited(silent_seconds=0.5).take(path, PLAN, frames=1)

    answering(monkeypatch, code="while True: print('{\"progress\": 0}')\n")
    with pytest.raises(MediaLimit, match="results exceed"):
        await scissors.limited(stdout_bytes=10_000).take(path, PLAN, frames=1)


async def test_a_child_that_waits_for_us_is_not_silent(scissors: Scissors, shelf: Shelf) -> None:
    """However long an answer takes: what counts is the time that we wait for the child."""
    path, spans = shelf.usual("mp4"), dict(enumerate(((0.0, 1.0), (1.0, 2.0), (2.0, 3.0))))
    patient = scissors.limited(silent_seconds=30, wall_seconds=30)
    seen = []

    with opened(path) as fd:
        async with patient.cutter.extract(fd, spans, ExtractSettings(frames=1), ahead=1) as extracts:
            extracts._talk._patience = 20
            async for one in extracts:
                left = extracts._talk._patience
                await anyio.sleep(0.5)
                assert extracts._talk._patience == left
                seen.append(one.ordinal)
                await extracts.release(one)

    assert seen == [0, 1, 2]


async def test_the_child_that_extracts_is_confined(scissors: Scissors, shelf: Shelf) -> None:
    path = shelf.usual("mp4")

    with opened(path) as fd:
        async with scissors.cutter.extract(
            fd, {0: (0.0, 1.0), 1: (1.0, 2.0)}, ExtractSettings(frames=1), ahead=1
        ) as all_of_it:
            async for one in all_of_it:
                [child] = [child for child in psutil.Process().children() if is_decoder(child)]
                if one.ordinal == 0:
                    assert child.rlimit(psutil.RLIMIT_AS)[0] == 1 << 30
                    assert child.rlimit(psutil.RLIMIT_FSIZE)[0] == 32 << 20
                    assert child.rlimit(psutil.RLIMIT_NOFILE)[0] == 64
                    assert child.environ() == {}
                    assert Path(child.cwd()) == one.frames[0].path.parent
                    assert one.frames[0].path.parent.stat().st_mode & 0o077 == 0
                await all_of_it.release(one)


async def test_leaving_early_ends_the_child(scissors: Scissors, shelf: Shelf) -> None:
    with opened(shelf.usual("mp4")) as fd:
        spans = {n: (n / 10, n / 10 + 0.1) for n in range(40)}
        async with scissors.cutter.extract(fd, spans, ExtractSettings(frames=1)) as extracts:
            async for _ in extracts:
                break
