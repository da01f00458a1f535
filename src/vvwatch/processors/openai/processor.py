"""The processor that asks a model behind an endpoint with OpenAI's chat protocol."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from vvwatch.config import Secret
from vvwatch.config.processors import OpenAIProcessor as Table
from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.core.money import Forecast, Workload
from vvwatch.core.processors import ProcessorInfo
from vvwatch.errors import InvalidInput, ProcessorError
from vvwatch.ports import Clock
from vvwatch.ports.processing import Examinable, Item, Limiter, Processor, Prompt
from vvwatch.processors.media.cutting import Cutter, ExtractSettings
from vvwatch.processors.openai import examination
from vvwatch.processors.openai.asker import ItemAsker, ModelInputs, no_sound_error
from vvwatch.processors.openai.calls import Caller
from vvwatch.processors.openai.costs import forecast_run
from vvwatch.processors.openai.dialect import Dialect
from vvwatch.processors.openai.endpoint import Address, Endpoint
from vvwatch.processors.registry import Resources, open_cutter
from vvwatch.processors.segmenting import process_by_segments
from vvwatch.processors.validation import check_schema

_SPARE_SEGMENTS: Final = 4
"""Segments in progress beyond the calls in flight: they wait for the journal."""


class OpenAIProcessor:
    """Implements `Processor`: sends each segment's pictures and sound to a model, checks answers by the schema."""

    def __init__(
        self,
        name: str,
        table: Table,
        api_key: Secret | None,
        *,
        cutter: Cutter,
        limiter: Limiter,
        clock: Clock,
        sample: Callable[[], float] = random.random,
    ) -> None:
        """Raise InvalidInput for an unusable key or certificate file."""
        self.info = ProcessorInfo(name, table.type, table.models)
        self._table = table
        self._cutter = cutter
        self._limiter = limiter
        self._clock = clock
        self._sample = sample
        self._dialect = Dialect()
        self._senses = ModelInputs(clock.monotonic)
        address = Address(table.base_url, api_key, table.timeout_seconds, table.proxy, table.ca_file)
        self._endpoint = Endpoint(address, clock)

    def check_prompt(self, prompt: Prompt) -> None:
        """Raise InvalidInput for schemas that answers cannot be validated against."""
        if not prompt.prompt_text.strip():
            raise InvalidInput("the prompt has no text", "say in prompt_text what the model is to find out")
        check_schema(prompt.json_schema)
        if prompt.video_level:
            check_schema(prompt.video_level.get("json_schema") or {})

    def forecast(self, workload: Workload, prompt: Prompt, settings: RunSettings) -> Forecast:  # noqa: ARG002
        """Return the cost if every answer is good at the first attempt and as long as allowed."""
        return forecast_run(self._table, self._table.model, workload, prompt)

    async def process(self, item: Item) -> ProcessingResult:
        """Ask about each segment, then about the whole; raises as `Processor.process`."""
        sound = self._table.send_audio and item.media_type != "image"
        frames = self._table.frames_per_segment if item.media_type != "audio" else 0
        if item.media_type == "audio" and not sound:
            raise no_sound_error(item)
        self._senses.check(pictures=frames > 0, sound=sound)
        wanted = ExtractSettings(frames, self._table.frame_width, sound)
        asker = ItemAsker(self._caller(item), self._senses, item)
        return await process_by_segments(
            item, self._cutter, wanted, asker, self._table.max_in_flight + _SPARE_SEGMENTS
        )

    async def examine(self) -> tuple[ProcessorError, ...]:
        """Return the problems found, each with a remedy. Asks the model one small question."""
        return await examination.examine(self._endpoint, self._table, self._dialect)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._endpoint.aclose()

    def _caller(self, item: Item) -> Caller:
        return Caller(
            self._table,
            self._table.model,
            self._endpoint,
            self._dialect,
            self._limiter,
            item.journal,
            self._clock,
            self._sample,
        )


_: type[Processor] = OpenAIProcessor
_is_examinable: type[Examinable] = OpenAIProcessor


def open_processor(name: str, table: Table, api_key: Secret | None, resources: Resources) -> OpenAIProcessor:
    """Return the processor of a table. Raises InvalidInput for an unusable key or file."""
    return OpenAIProcessor(
        name,
        table,
        api_key,
        cutter=open_cutter(resources),
        limiter=resources.limiter(name, table.rates),
        clock=resources.clock,
    )
