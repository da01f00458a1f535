"""What a processor is given, without a daemon: an item over a path, a journal in memory, an open limiter."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vvwatch.core.media import Plan, Probe, ProcessingResult, RunSettings, Segment
from vvwatch.core.money import CallStatus, Forecast, Usage, Workload
from vvwatch.core.processors import ProcessorInfo
from vvwatch.errors import InvalidInput
from vvwatch.ports.processing import Call, CallIntent, Item, Journal, Limiter, Prober, Processor, Prompt

NO_PROBE = Probe(media_type="video", container="mp4", duration_seconds=4.0)


@dataclass
class MemoryJournal:
    """Implements `Journal` in memory: what one life keeps the next one finds, when it is handed the same journal.

    `ended` lists each call that ended: key, status, usage. `refuse` is raised by the next call that begins.
    """

    kept_plan: Plan | None = None
    kept: dict[int, Segment] = field(default_factory=dict)
    calls: dict[tuple[int, str, int], dict[str, Any]] = field(default_factory=dict)
    ended: list[tuple[str, CallStatus, Usage]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    refuse: Exception | None = None

    async def plan(self) -> Plan | None:
        return self.kept_plan

    async def keep_plan(self, plan: Plan) -> None:
        self.kept_plan = plan

    async def segments(self) -> Mapping[int, Segment]:
        return dict(self.kept)

    async def keep_segment(self, ordinal: int, segment: Segment) -> None:
        self.kept[ordinal] = segment

    async def begin_call(self, intent: CallIntent) -> Call:
        if self.refuse is not None:
            raise self.refuse
        key = f"{intent.ordinal}:{intent.purpose}:{intent.step}:{intent.variant}"
        row = self.calls.setdefault(
            (intent.ordinal, intent.purpose, intent.step), {"answer": None, "intents": []}
        )
        row["intents"].append(intent)
        return Call(f"call_{len(self.calls)}", key, row["answer"])

    async def end_call(
        self,
        call: Call,
        status: CallStatus,
        usage: Usage,
        *,
        answer: str | None = None,
        error: str | None = None,
        model: str | None = None,
        segment: tuple[int, Segment] | None = None,
    ) -> None:
        self.ended.append((call.key, status, usage))
        ordinal, purpose, step, _ = call.key.split(":", 3)
        self.calls[int(ordinal), purpose, int(step)]["answer"] = answer
        if segment is not None:
            self.kept[segment[0]] = segment[1]

    async def note(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)

    async def noted(self) -> Mapping[str, Any]:
        return self.state


@dataclass
class OpenLimiter:
    """Implements `Limiter`: everybody passes at once; what was asked of it is remembered."""

    held_back: list[float] = field(default_factory=list)
    paused: list[Exception] = field(default_factory=list)

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[None]:
        yield

    def hold_back(self, seconds: float) -> None:
        self.held_back.append(seconds)

    async def pause(self, error: Exception) -> None:
        self.paused.append(error)


_journal: type[Journal] = MemoryJournal
_limiter: type[Limiter] = OpenLimiter


def item_of(
    path: Path,
    prompt: Prompt,
    settings: RunSettings | None = None,
    *,
    journal: Journal | None = None,
    progress: Callable[[float], None] = lambda _: None,
    **fields: Any,
) -> Item:
    """An item over the file at `path`; `fields` replace what it says of itself."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[int]:
        fd = os.open(path, os.O_RDONLY)
        try:
            yield fd
        finally:
            os.close(fd)

    said: dict[str, Any] = {
        "run_id": "run_1",
        "media_id": "vid_1",
        "generation": "",
        "only": None,
        "connector_id": "conn_1",
        "key": path.name,
        "title": path.name,
        "uri": path.as_uri(),
        "media_type": "video",
        "size_bytes": path.stat().st_size,
        "duration_seconds": None,
        "probe": {},
        **fields,
    }
    return Item(
        prompt=prompt,
        settings=settings or RunSettings(),
        journal=journal or MemoryJournal(),
        open=opened,
        progress=progress,
        **said,
    )


class FakeProcessor:
    """Implements `Processor` and `Prober`: fills any schema but one that asks for a `mood`, always with `result`.

    It raises `result` where that is an error.
    """

    def __init__(
        self,
        name: str = "technical",
        result: ProcessingResult | Exception | None = None,
        probe: Probe = NO_PROBE,
        models: tuple[str, ...] = (),
    ) -> None:
        self.info = ProcessorInfo(name, "technical", models)
        self.result = result or ProcessingResult((), {}, "")
        self.found = probe

    def check_prompt(self, prompt: Prompt) -> None:
        if "mood" in prompt.json_schema.get("properties", {}):
            raise InvalidInput("no field 'mood' can be filled", "name a model as processing_model")

    def forecast(self, workload: Workload, prompt: Prompt, settings: RunSettings) -> Forecast:
        return Forecast()

    async def probe(self, fd: int) -> Probe:
        return self.found

    async def process(self, item: Item) -> ProcessingResult:
        async with item.open():
            if isinstance(self.result, Exception):
                raise self.result
            return self.result

    async def aclose(self) -> None: ...


_processor: type[Processor] = FakeProcessor
_prober: type[Prober] = FakeProcessor
