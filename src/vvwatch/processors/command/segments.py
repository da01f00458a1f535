"""A program that is asked about each segment of an item, and then about the whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from vvwatch.core.media import Plan, ProcessingResult, RunSettings, Segment
from vvwatch.core.money import Forecast, Workload
from vvwatch.core.processors import ProcessorInfo
from vvwatch.core.transcripts import describe_said
from vvwatch.errors import ProcessorError
from vvwatch.ports.processing import Item, Processor, Prompt
from vvwatch.processors.command.client import ProgramClient, Question, Reply, require_answer
from vvwatch.processors.command.protocol import (
    bounded_warnings,
    check_metadata,
    check_prompt,
    describe_segments,
    search_text,
    skip_warning,
    to_segment,
)
from vvwatch.processors.media.cutting import Cutter, Extract, ExtractSettings
from vvwatch.processors.segmenting import Asker, Whole, process_by_segments
from vvwatch.processors.validation import call_in_thread

_ATTEMPTS: Final = 3


class SegmentCommand:
    """Implements `Processor` by a program that is asked about each segment; after a crash up to three times."""

    def __init__(
        self,
        info: ProcessorInfo,
        client: ProgramClient,
        cutter: Cutter,
        wanted: ExtractSettings,
        in_flight: int,
    ) -> None:
        self.info = info
        self._client = client
        self._cutter = cutter
        self._wanted = wanted
        self._in_flight = in_flight

    def check_prompt(self, prompt: Prompt) -> None:
        """Raise InvalidInput if answers cannot be validated against the prompt's schemas."""
        check_prompt(prompt)

    def forecast(self, workload: Workload, prompt: Prompt, settings: RunSettings) -> Forecast:  # noqa: ARG002
        """Return a call for each segment and each whole; that costs nothing without a price."""
        calls = workload.segments_at_most + (workload.items if prompt.video_level is not None else 0)
        return Forecast(calls, cost_usd=calls * self._client.usd_per_call)

    async def process(self, item: Item) -> ProcessingResult:
        """Return the program's results; raises as `Processor.process`."""
        async with item.open() as fd:

            @asynccontextmanager
            async def open_again() -> AsyncIterator[int]:
                yield fd

            # The program may read the item at any time, so one descriptor serves the cutter and all requests.
            asker = _CommandAsker(self._client, fd)
            shared = replace(item, open=open_again)
            return await process_by_segments(shared, self._cutter, self._wanted, asker, self._in_flight)

    async def examine(self) -> tuple[ProcessorError, ...]:
        """Return why the program cannot be started; empty if it can."""
        return self._client.examine()

    async def aclose(self) -> None:
        """End all processes."""
        await self._client.aclose()


_: type[Processor] = SegmentCommand


@dataclass(frozen=True, slots=True)
class _CommandAsker:
    client: ProgramClient
    fd: int

    async def ask_segment(self, item: Item, plan: Plan, extract: Extract) -> Segment:  # noqa: ARG002  # the port's
        """Return the segment; as `Asker.ask_segment`."""
        times = extract.start_time, extract.end_time
        question = Question(
            "segment", extract.ordinal, *times, more={"segment": _describe_extract(item, extract)}
        )
        reply = await self.client.ask(item, self.fd, question, _ATTEMPTS)
        segment = await call_in_thread(len(reply.text or ""), _reply_to_segment, reply, item, extract)
        await self.client.end(item, reply, reason=segment.error or "", segment=(extract.ordinal, segment))
        return segment

    async def ask_whole(self, item: Item, plan: Plan, segments: Sequence[Segment]) -> Whole:  # noqa: ARG002
        """Return the whole; as `Asker.ask_whole`."""
        question = Question("video", more={"previous": describe_segments(segments)})
        reply = await self.client.ask(item, self.fd, question, _ATTEMPTS)
        whole, reason = await call_in_thread(len(reply.text or ""), _reply_to_whole, reply, item)
        await self.client.end(item, reply, reason=reason)
        return whole


_asks: type[Asker] = _CommandAsker


def _describe_extract(item: Item, extract: Extract) -> dict[str, Any]:
    said = item.transcript and describe_said(item.transcript, extract.start_time, extract.end_time)
    return {
        "index": extract.ordinal,
        "start_time": extract.start_time,
        "end_time": extract.end_time,
        "frames": [{"at_seconds": frame.at_seconds, "path": str(frame.path)} for frame in extract.frames],
        "audio_path": None if extract.sound is None else str(extract.sound),
        "transcript": said,
    }


def _reply_to_segment(reply: Reply, item: Item, extract: Extract) -> Segment:
    times = extract.start_time, extract.end_time
    try:
        segment = to_segment(require_answer(reply), item.prompt, *times)
    except ValueError as error:
        segment = Segment(*times, {}, "", error=str(error))
    warnings = [each for each in (extract.warning, segment.warning) if each]
    return replace(segment, warning="; ".join(warnings) or None)


def _reply_to_whole(reply: Reply, item: Item) -> tuple[Whole, str]:
    try:
        answer = require_answer(reply)
        if answer.skipped is not None:
            return Whole({}, "", (skip_warning(answer.skipped),)), ""
        metadata = check_metadata((item.prompt.video_level or {}).get("json_schema", {}), answer.metadata)
    except ValueError as error:
        return Whole({}, "", error=str(error)), str(error)
    return Whole(metadata, search_text(answer), bounded_warnings(answer)), ""
