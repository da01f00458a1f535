"""A program as a processor that is asked once for each item and cuts it itself."""

from __future__ import annotations

import os
import secrets
from typing import Any, Final

from vvwatch.config import Secret
from vvwatch.config.processors import CommandProcessor
from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.core.money import Forecast, Workload
from vvwatch.core.processors import ProcessorInfo
from vvwatch.errors import ProcessorCrashed, ProcessorError, ProcessorRefused
from vvwatch.ports.processing import Item, Processor, Prompt
from vvwatch.processors.command.client import ProgramClient, Question, Reply, require_answer
from vvwatch.processors.command.protocol import check_prompt, to_result
from vvwatch.processors.command.running import OneProcessEach, Program, Runner
from vvwatch.processors.command.segments import SegmentCommand
from vvwatch.processors.command.workers import Workers
from vvwatch.processors.media.cutting import ExtractSettings
from vvwatch.processors.registry import Opener, Resources, open_cutter
from vvwatch.processors.validation import call_in_thread

_AGAIN: Final = "if it fails every time, run the program by hand on this item"


class ItemCommand:
    """Implements `Processor` by a program that is asked once for an item."""

    def __init__(self, info: ProcessorInfo, client: ProgramClient) -> None:
        self.info = info
        self._client = client

    def check_prompt(self, prompt: Prompt) -> None:
        """Raise InvalidInput if answers cannot be validated against the prompt's schemas."""
        check_prompt(prompt)

    def forecast(self, workload: Workload, prompt: Prompt, settings: RunSettings) -> Forecast:  # noqa: ARG002
        """Return one call for each item; that costs nothing unless the program has a price."""
        return Forecast(workload.items, cost_usd=workload.items * self._client.usd_per_call)

    async def process(self, item: Item) -> ProcessingResult:
        """Return the program's result; raises as `Processor.process`."""
        async with item.open() as fd:
            reply = await self._client.ask(item, fd, Question("item"))
        result, reason = await call_in_thread(len(reply.text or ""), _read_result, reply, item)
        await self._client.end(item, reply, reason=reason)
        if reply.has_crashed:
            raise ProcessorCrashed(reason, _AGAIN)
        if result is None:
            raise ProcessorRefused(reason, _AGAIN)
        item.progress(1.0)
        return result

    async def examine(self) -> tuple[ProcessorError, ...]:
        """Return why the program cannot be started; empty if it can."""
        return self._client.examine()

    async def aclose(self) -> None:
        """End all processes."""
        await self._client.aclose()


_: type[Processor] = ItemCommand


def open_processor(
    name: str,
    table: CommandProcessor,
    api_key: Secret | None,  # noqa: ARG001  # a program gets its secrets by `pass_env`
    resources: Resources,
) -> Processor:
    """Return the processor; nothing is started yet."""
    program = Program(
        table.command,
        timeout_seconds=table.call_seconds,
        grace_seconds=table.kill_grace_seconds,
        memory_bytes=table.memory_bytes,
        stdout_bytes=table.stdout_bytes,
        passed={name: os.environ[name] for name in table.pass_env if name in os.environ},
    )
    # Random, so that the guard of an earlier daemon ends no process of this one.
    mark = f"{secrets.token_hex(8)}-"
    place: dict[str, Any] = {"clock": resources.clock, "work_dir": resources.work_dir, "mark": mark}
    runner: Runner = OneProcessEach(program)
    if table.mode == "worker":
        runner = Workers(program, table.concurrency, **place)
    limiter = resources.limiter(name, table.rates)
    client = ProgramClient(name, runner, program, limiter=limiter, price=table.price_of(name), **place)
    if table.level == "item":
        return ItemCommand(table.info(name), client)
    wanted = ExtractSettings(table.frames, table.frame_width, table.audio)
    return SegmentCommand(table.info(name), client, open_cutter(resources), wanted, table.concurrency)


_opens: Opener = open_processor


def _read_result(reply: Reply, item: Item) -> tuple[ProcessingResult | None, str]:
    try:
        return to_result(require_answer(reply), item), ""
    except ValueError as error:
        return None, str(error)
