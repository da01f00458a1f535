"""A technical processor, samples that are made once per session, and a way to ask about a path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import samples
from vvwatch.core.media import Probe, ProcessingResult, RunSettings
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.ports.processing import Prompt
from vvwatch.processors.media import opening, probing, stills, survey
from vvwatch.processors.media.complaints import COMPLAINTS
from vvwatch.processors.media.forking import Template
from vvwatch.processors.technical import report
from vvwatch.processors.technical.processor import TECHNICAL_PROMPT, Limits, TechnicalProcessor

PROMPT = Prompt(
    TECHNICAL_PROMPT["prompt_text"], TECHNICAL_PROMPT["json_schema"], TECHNICAL_PROMPT["video_level"]
)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@dataclass(frozen=True)
class Technical:
    """A technical processor that is asked about paths."""

    work_dir: Path
    limits: Limits
    template: Template | None = None

    def limited(self, **limits: Any) -> Technical:
        return replace(self, limits=replace(self.limits, **limits))

    def processor(self) -> TechnicalProcessor:
        return TechnicalProcessor(limits=self.limits, work_dir=self.work_dir, template=self.template)

    async def probe(self, path: Path) -> Probe:
        with opened(path) as fd:
            return await self.processor().probe(fd)

    async def process(
        self, path: Path, progress: Callable[[float], None] = lambda _: None, **settings: Any
    ) -> ProcessingResult:
        with opened(path) as fd:
            return await self.processor().measure(fd, PROMPT, RunSettings(**settings), progress)


@pytest.fixture
def technical(tmp_path: Path) -> Iterator[Technical]:
    """However its items end, no process and no folder of theirs is left."""
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    yield Technical(work_dir, Limits())
    assert list(work_dir.iterdir()) == []
    assert [child for child in psutil.Process().children() if is_decoder(child)] == []


def is_decoder(process: psutil.Process) -> bool:
    try:
        ours = "vvwatch.processors.media.child", "vvwatch.processors.media.template"
        return any(argument in ours for argument in process.cmdline())
    except psutil.ZombieProcess:
        return True
    except psutil.NoSuchProcess:
        return False


class Shelf:
    """Samples by name, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def video(self, name: str, **wanted: Any) -> Path:
        return self._made(name, samples.video, wanted)

    def audio(self, name: str, **wanted: Any) -> Path:
        return self._made(name, samples.audio, wanted)

    def image(self, name: str, **wanted: Any) -> Path:
        return self._made(name, samples.image, wanted)

    def usual(self, extension: str) -> Path:
        """Four seconds with a cut after two, a tone with a pause from one to two, or a picture."""
        if MEDIA_TYPES[extension] == "video":
            # A program stream begins with the sound that leads: a little more, or the second shot is too short.
            seconds = 4.08 if extension in ("mpg", "mpeg", "vob") else 4
            return self.video(f"usual.{extension}", seconds=seconds, cuts=(2.0,), pauses=((1.0, 2.0),))
        if MEDIA_TYPES[extension] == "audio":
            return self.audio(f"usual.{extension}", silences=((1.0, 2.0),))
        return self.image(f"usual.{extension}")

    def _made(self, name: str, make: Callable[..., Path], wanted: dict[str, Any]) -> Path:
        path = self._folder / name
        return path if path.exists() else make(path, **wanted)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="session")
def survey_of() -> Callable[[Path], ProcessingResult]:
    """What the child would answer about a path, found in this process."""

    def surveyed(path: Path) -> ProcessingResult:
        bounds = opening.Bounds(max_pixels=200_000_000, max_seconds=1e6)
        COMPLAINTS.count = COMPLAINTS.skips = 0  # an item has a process of its own
        with opened(path) as fd, opening.open_media(fd, bounds) as medium:
            if medium.media_type == "image":
                found = stills.survey_picture(medium, bounds)
            else:
                found = survey.survey_medium(medium, bounds, lambda _: None)
            probe = probing.probe_from_survey(medium, found)
            return report.build_result(probe, found, RunSettings(), medium.warnings)

    return surveyed
