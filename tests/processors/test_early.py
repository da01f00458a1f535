"""Small pictures are measured at the probe; their run gets exactly what it would have found itself."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import samples
from tests.clock import FakeClock
from tests.processors.conftest import PROMPT, Shelf, Technical, opened
from tests.processors.picture_drafts import draft_in
from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.errors import MediaUnreadable
from vvwatch.processors.media import asking
from vvwatch.processors.technical import processor as technical_processor
from vvwatch.processors.technical.early import EarlyResults
from vvwatch.processors.technical.processor import TechnicalProcessor

pytestmark = pytest.mark.anyio


@dataclass
class Desk:
    """A processor that keeps what its probes measure, and the tasks that its children got."""

    folder: Path
    clock: FakeClock = field(default_factory=FakeClock)
    tasks: list[str] = field(default_factory=list)
    pictures: tuple[int, int] | None = (320, 8 << 20)

    def __post_init__(self) -> None:
        self.early = EarlyResults(self.clock, self.folder, self.pictures)

    async def process(
        self, technical: Technical, path: Path, **settings: Any
    ) -> tuple[ProcessingResult, bytes]:
        """Probe, then process with pictures; the result, and its pack."""
        processor = TechnicalProcessor(limits=technical.limits, work_dir=self.folder, early=self.early)
        with opened(path) as fd, draft_in(self.folder.parent) as draft:
            await processor.probe(fd)
            result = await processor.measure(fd, PROMPT, RunSettings(**settings), lambda _: None, draft)
            return result, os.pread(draft.fd, 1 << 20, 0)


@pytest.fixture
def desk(technical: Technical, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made, ask_child = Desk(technical.work_dir), asking.ask_child

    async def counted(task: Any, *args: Any, **how: Any) -> Any:
        made.tasks.append(task["task"])
        return await ask_child(task, *args, **how)

    monkeypatch.setattr(technical_processor, "ask_child", counted)
    return made


@pytest.mark.parametrize("extension", ["jpg", "png", "gif", "webp", "bmp", "tiff"])
async def test_the_run_of_a_probed_picture_needs_no_process(
    technical: Technical, desk: Desk, shelf: Shelf, extension: str
) -> None:
    path = shelf.usual(extension)
    other = Desk(technical.work_dir)
    other.early = EarlyResults(other.clock, Path("/"), None)  # all that there is lies below that folder

    found, pack = await desk.process(
        technical, path, video_segmentation_type="fixed", video_segment_duration=5
    )
    assert desk.tasks == ["probe"]
    expected, expected_pack = await other.process(technical, path)
    assert desk.tasks == ["probe", "probe", "process"]
    assert (found, pack) == (expected, expected_pack)
    assert found.pictures is not None
    assert pack


async def test_a_video_is_processed_by_its_run(technical: Technical, desk: Desk, shelf: Shelf) -> None:
    await desk.process(technical, shelf.usual("mp4"))

    assert desk.tasks == ["probe", "process"]


@pytest.mark.parametrize("written", [7, OSError(errno.ENOSPC, "no space left")], ids=["short", "refused"])
async def test_a_run_whose_disk_takes_no_early_pictures_measures_as_any_other(
    technical: Technical, desk: Desk, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, written: int | OSError
) -> None:
    expected = await desk.process(technical, shelf.usual("jpg"))
    real = os.pwrite

    def write_a_part(fd: int, data: bytes, place: int) -> int:
        if isinstance(written, OSError):
            raise written
        return real(fd, data[:written], place)

    monkeypatch.setattr(os, "pwrite", write_a_part)
    assert await desk.process(technical, shelf.usual("jpg")) == expected
    assert desk.tasks == ["probe", "probe", "process"]


async def test_a_result_serves_one_run(technical: Technical, desk: Desk, shelf: Shelf) -> None:
    path = shelf.usual("jpg")
    await desk.process(technical, path)
    with opened(path) as fd:
        assert desk.early.take(desk.early.identify(fd) or ()) is None


async def test_a_file_that_changed_is_measured_again(
    technical: Technical, desk: Desk, tmp_path: Path
) -> None:
    path = samples.image(tmp_path / "one.png", (64, 64))
    with opened(path) as fd:
        before = desk.early.identify(fd)
        os.utime(path)
        assert desk.early.identify(fd) not in (before, None)


async def test_pictures_of_another_size_are_made_by_the_run(
    technical: Technical, desk: Desk, shelf: Shelf
) -> None:
    desk.early = EarlyResults(desk.clock, technical.work_dir, (200, 8 << 20))

    result, _ = await desk.process(technical, shelf.usual("jpg"))

    assert desk.tasks == ["probe", "process"]
    assert result.pictures is not None


async def test_what_is_damaged_is_no_early_result(technical: Technical, desk: Desk, tmp_path: Path) -> None:
    whole = samples.image(tmp_path / "whole.jpg", (320, 200)).read_bytes()
    path = tmp_path / "half.jpg"
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(MediaUnreadable):
        await desk.process(technical, path)
    assert desk.tasks == ["probe"]


async def test_files_of_the_spool_and_large_ones_are_none(desk: Desk, tmp_path: Path) -> None:
    spooled, large, small = desk.folder / "spooled", tmp_path / "large", tmp_path / "small"
    for path, size in ((spooled, 10), (large, 5 << 20), (small, 10)):
        path.write_bytes(bytes(size))
    for path in (spooled, large, small):
        with opened(path) as fd:
            assert (desk.early.identify(fd) is not None) == (path == small)
    with opened(small) as fd:
        small.unlink()
        assert desk.early.identify(fd) is None
    spooled.unlink()


async def test_what_nobody_asks_for_is_dropped_and_no_longer_made(
    technical: Technical, desk: Desk, shelf: Shelf
) -> None:
    with opened(shelf.usual("jpg")) as fd, desk.early.draft() as draft:
        os.write(draft.fd if draft else -1, bytes(200_000))
        answer: Any = object()
        for number in range(40):
            desk.early.put((number,), answer, draft)
        assert desk.early.are_wanted
        desk.clock.mono += 3_600
        assert not desk.early.are_wanted
        assert desk.early.take(desk.early.identify(fd) or ()) is None
        assert desk.early.are_wanted, "a run could have used one"
        for number in range(200):
            desk.early.put((number,), answer, draft)
        assert not desk.early.are_wanted, "32 MiB are full"
        for number in range(200):
            desk.early.take((number,))
        assert desk.early.are_wanted
