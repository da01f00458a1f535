"""The technical processor: FFmpeg's measurements of one item, taken in a confined process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
from pydantic import TypeAdapter

from vvwatch.config import Secret
from vvwatch.config.processors import TechnicalProcessorTable
from vvwatch.core.media import Probe, ProcessingResult, RunSettings
from vvwatch.core.money import Forecast, Workload
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.core.processors import TECHNICAL, ProcessorInfo
from vvwatch.errors import InvalidInput
from vvwatch.ports.processing import Item, PictureDraft, Prober, Processor, Prompt
from vvwatch.processors.media.asking import (
    Answer,
    Progress,
    ask_child,
    check_settings,
    read_answer,
    validate_strictly,
)
from vvwatch.processors.media.forking import Template
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.media.packs import describe_output, keep_pictures
from vvwatch.processors.registry import Opener, Resources
from vvwatch.processors.technical.early import EarlyResults, Identity
from vvwatch.processors.technical.prompt import TECHNICAL_PROMPT, is_answerable, select_fields

__all__ = ["TECHNICAL_PROMPT", "Limits", "TechnicalProcessor"]

_PROBE: Final = TypeAdapter(Probe)
_RESULT: Final = TypeAdapter(ProcessingResult)


class TechnicalProcessor:
    """Implements `Processor` and `Prober` without a model: shots, silences, brightness, motion, loudness, damage.

    `work_dir` holds the children's working directories; while no item is processed, its content is left over from a
    crash and may be removed. Children are forked from the `template` if there is one.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        work_dir: Path,
        info: ProcessorInfo | None = None,
        template: Template | None = None,
        early: EarlyResults | None = None,
    ) -> None:
        self.info = info or ProcessorInfo(TECHNICAL, TECHNICAL)
        self._limits = limits
        self._work_dir = work_dir
        self._template = template
        self._early = early

    def check_prompt(self, prompt: Prompt) -> None:
        """Raise InvalidInput unless the prompt asks for exactly what is measured here."""
        if prompt.json_schema != TECHNICAL_PROMPT["json_schema"] or not is_answerable(_whole_schema(prompt)):
            raise InvalidInput(
                "the technical processor cannot fill the schema of this prompt",
                "it answers the prompt 'technical' only; any other needs a model or a command: declare it as"
                " [processors.NAME], and give its name as processing_model",
            )

    async def probe(self, fd: int) -> Probe:
        """Return the container's metadata and the gaps in its structure; decode a picture to be sure that it can be."""
        early = self._early
        identity = await anyio.to_thread.run_sync(early.identify, fd) if early and early.are_wanted else None
        if early is None or identity is None:
            answer = await self._ask({"task": "probe"}, fd, lambda _: None, self._limits.of_probe())
        else:
            answer = await self._probe_early(early, identity, fd)
        return read_answer(_parse_probe, answer.of("probe"))

    async def _probe_early(self, early: EarlyResults, identity: Identity, fd: int) -> Answer:
        """Return the answer to a probe, and keep the measurements that it may bring."""
        with early.draft() as draft:
            task = {"task": "probe", "settings": asdict(RunSettings()), **describe_output(draft)}
            answer = await self._ask(task, fd, lambda _: None, self._limits.of_probe(), draft)
            if answer.of("result") is not None:
                early.put(identity, answer, draft)
        return answer

    def forecast(self, workload: Workload, prompt: Prompt, settings: RunSettings) -> Forecast:  # noqa: ARG002
        """Return a cost of zero."""
        return Forecast()

    async def process(self, item: Item) -> ProcessingResult:
        """Decode the whole item and measure it segment by segment; damaged media gives what is readable of it."""
        async with item.open() as fd, item.draft_pictures() as draft:
            return await self.measure(fd, item.prompt, item.settings, item.progress, draft)

    async def measure(
        self,
        fd: int,
        prompt: Prompt,
        settings: RunSettings,
        progress: Progress,
        draft: PictureDraft | None = None,
    ) -> ProcessingResult:
        """Return the measurements of the media behind `fd`, and keep pictures in `draft`; raises as `process`."""
        self.check_prompt(prompt)
        check_settings(settings)
        answer = await self._take_early(fd, draft)
        if answer is None:
            task = {"task": "process", "settings": asdict(settings), **describe_output(draft)}
            answer = await self._ask(task, fd, progress, self._limits, draft)
        result = read_answer(_parse_result, answer)
        kept = await keep_pictures(answer, draft)
        progress(1.0)
        selected = select_fields(result.metadata, _whole_schema(prompt))
        return replace(result, metadata=selected, pictures=kept)

    async def _take_early(self, fd: int, draft: PictureDraft | None) -> Answer | None:
        """Return the answer of the probe of this file if it measured what is wanted and its pictures fill the draft."""
        early = self._early
        identity = None if early is None else await anyio.to_thread.run_sync(early.identify, fd)
        found = None if early is None or identity is None else early.take(identity)
        if early is None or found is None or not early.suits(draft):
            return None
        if draft is not None and not await anyio.to_thread.run_sync(found.fill, draft):
            return None
        return found.answer

    async def aclose(self) -> None:
        """Do nothing: no process outlives its item."""

    async def _ask(
        self,
        task: Mapping[str, Any],
        fd: int,
        progress: Progress,
        limits: Limits,
        draft: PictureDraft | None = None,
    ) -> Answer:
        how: dict[str, Any] = {"limits": limits, "work_dir": self._work_dir, "template": self._template}
        return await ask_child(task, fd, progress, output_fd=None if draft is None else draft.fd, **how)


def open_processor(
    name: str,
    table: TechnicalProcessorTable,
    api_key: Secret | None,  # noqa: ARG001  # it needs none
    resources: Resources,
) -> TechnicalProcessor:
    """Return the built-in processor."""
    return TechnicalProcessor(
        limits=resources.limits,
        work_dir=resources.work_dir,
        info=table.info(name),
        template=resources.template,
        early=resources.early,
    )


def open_prober(resources: Resources) -> Prober:
    """Return what reads the metadata of media; the built-in processor takes what it measured meanwhile."""
    return open_processor(TECHNICAL, TechnicalProcessorTable(), None, resources)


_: type[Processor] = TechnicalProcessor
_opens: Opener = open_processor
_is_prober: type[Prober] = TechnicalProcessor


def _whole_schema(prompt: Prompt) -> Any:
    """Return the schema that `prompt` has for the whole; the complete one if it has none."""
    level = TECHNICAL_PROMPT["video_level"] if prompt.video_level is None else prompt.video_level
    return level.get("json_schema")


def _parse_probe(fields: Mapping[str, Any]) -> Probe:
    probe = validate_strictly(_PROBE, fields)
    if probe.media_type not in MEDIA_TYPES.values():
        raise ValueError(probe.media_type)
    return probe


def _parse_result(answer: Answer) -> ProcessingResult:
    result = validate_strictly(_RESULT, answer.of("result"))
    return replace(result, segments=(*answer.lists["segments"], *result.segments))
