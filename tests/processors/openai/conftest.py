"""A processor over a stub endpoint, an item whose segments are given, and a clock that passes as it is slept on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chat_endpoint import Answering, ChatEndpoint
from tests.processing import MemoryJournal, OpenLimiter, item_of
from vvwatch.config import Secret
from vvwatch.config.processors import OpenAIProcessor as Table
from vvwatch.core.media import Plan, ProcessingResult, RunSettings
from vvwatch.ports import Clock
from vvwatch.ports.processing import Item, Limiter, Prompt
from vvwatch.processors.media.cutting import Cutter, Extract, ExtractSettings, Frame
from vvwatch.processors.openai.processor import OpenAIProcessor

SCHEMA = {
    "type": "object",
    "properties": {
        "summary": {"type": "string"},
        "people": {"type": "integer", "minimum": 0},
        "mood": {"type": "string", "enum": ["calm", "tense"]},
    },
    "required": ["summary", "people"],
    "additionalProperties": False,
}
WHOLE_SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
}
PROMPT = Prompt("Say what is seen.", SCHEMA, None)
WITH_WHOLE = Prompt(
    "Say what is seen.", SCHEMA, {"instructions_text": "Name the film.", "json_schema": WHOLE_SCHEMA}
)
GOOD = {"summary": "a boat", "people": 2}
JPEG = b"\xff\xd8picture"


@dataclass
class QuickClock:
    """Sleeping takes no time and is remembered."""

    mono: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return 1_790_000_000.0 + self.mono

    def monotonic(self) -> float:
        return self.mono

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.mono += seconds


class GivenExtracts:
    def __init__(self, extracts: Sequence[Extract]) -> None:
        self.extracts = extracts
        self.released: list[int] = []

    async def __aiter__(self) -> AsyncIterator[Extract]:
        for extract in self.extracts:
            yield extract

    async def release(self, extract: Extract) -> None:
        self.released.append(extract.ordinal)


@dataclass
class GivenCutter:
    """Stands for the cutter: ten seconds a segment, each with the same pictures."""

    folder: Path
    segments: int = 1
    wanted: list[ExtractSettings] = field(default_factory=list)

    async def plan(
        self, fd: int, settings: RunSettings, progress: Callable[[float], None], draft: object = None
    ) -> Plan:
        return Plan(tuple((10.0 * n, 10.0 * n + 10) for n in range(self.segments)))

    @asynccontextmanager
    async def extract(
        self, fd: int, spans: Mapping[int, tuple[float, float]], wanted: ExtractSettings, **_: Any
    ) -> AsyncIterator[GivenExtracts]:
        self.wanted.append(wanted)
        picture, sound = self.folder / "picture.jpg", self.folder / "sound.wav"
        picture.write_bytes(JPEG)
        sound.write_bytes(b"RIFF" + bytes(320))
        frames = tuple(Frame(1.0 + n, picture) for n in range(wanted.frames))
        yield GivenExtracts(
            [
                Extract(ordinal, start, end, frames, sound if wanted.sound else None)
                for ordinal, (start, end) in spans.items()
            ]
        )


@dataclass
class Rig:
    """`result` processes an item; the journal is kept from one to the next, as over a restart."""

    endpoint: ChatEndpoint
    processor: OpenAIProcessor
    item: Item
    journal: MemoryJournal
    limiter: OpenLimiter
    clock: QuickClock
    cutter: GivenCutter

    async def result(self) -> ProcessingResult:
        return await self.processor.process(self.item)


class Rigs:
    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack

    async def __call__(
        self,
        answers: Answering,
        prompt: Prompt = PROMPT,
        *,
        segments: int = 1,
        key: str | None = None,
        journal: MemoryJournal | None = None,
        title: str = "film.mp4",
        media_type: str = "video",
        clock: Clock | None = None,
        limiter: Limiter | None = None,
        cutter: Cutter | None = None,
        path: Path | None = None,
        settings: RunSettings | None = None,
        **table: Any,
    ) -> Rig:
        endpoint = await self._stack.enter_async_context(ChatEndpoint(answers).running())
        quick, open_limiter, journal = QuickClock(), OpenLimiter(), journal or MemoryJournal()
        given: Any = GivenCutter(self._folder, segments)
        told = {"base_url": endpoint.url, "model": "model-1", "frames_per_segment": 2, **table}
        processor = OpenAIProcessor(
            "gpt",
            Table.model_validate({"type": "openai", **told}),
            None if key is None else Secret(key),
            cutter=cutter or given,
            limiter=limiter or open_limiter,
            clock=clock or quick,
            sample=lambda: 0.5,
        )
        self._stack.push_async_callback(processor.aclose)
        if path is None:
            path = self._folder / "film.mp4"
            path.write_bytes(b"film")
        item = item_of(path, prompt, settings, journal=journal, title=title, media_type=media_type)
        return Rig(endpoint, processor, item, journal, open_limiter, quick, given)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rigs]:
    async with AsyncExitStack() as stack:
        yield Rigs(tmp_path, stack)
