"""One question to a program: stored before it is asked, and classified by how it ended."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import anyio.to_thread

from vvwatch.core.identities import WHOLE
from vvwatch.core.media import Segment
from vvwatch.core.money import CallStatus, Price, Usage
from vvwatch.errors import MachineShortage, ProcessorError, ProcessorPaused, ProcessorUnavailable
from vvwatch.ports import Clock
from vvwatch.ports.processing import Call, CallIntent, Item, Limiter
from vvwatch.processors.command import leftovers
from vvwatch.processors.command.guard import Guard
from vvwatch.processors.command.protocol import (
    PROTOCOL,
    Answer,
    Code,
    ReportedUsage,
    build_request,
    read_answer,
    read_retry_after,
)
from vvwatch.processors.command.running import Outcome, Program, Runner
from vvwatch.processors.media.isolation import Cut
from vvwatch.processors.processes import private_folder
from vvwatch.processors.validation import call_in_thread

PURPOSE: Final = "command"
_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,8}")
_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_NO_USAGE: Final = ReportedUsage()


@dataclass(frozen=True, slots=True)
class Question:
    """A question: its level, its segment, and further fields of the request."""

    level: str
    ordinal: int = WHOLE
    start_time: float | None = None
    end_time: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of a question: an `answer`, or the reason why there is no usable one.

    `has_crashed`: another attempt may help. `is_recorded`: the answer dates from before a restart, nothing ran now.
    `text` must be stored so that the program need not run again.
    """

    call: Call
    answer: Answer | None = None
    reason: str = ""
    has_crashed: bool = False
    is_recorded: bool = False
    text: str | None = None


class ProgramClient:
    """Asks a program, within the limits and pauses of its processor."""

    def __init__(
        self,
        name: str,
        runner: Runner,
        program: Program,
        *,
        limiter: Limiter,
        clock: Clock,
        work_dir: Path,
        price: Price | None = None,
        mark: str,
    ) -> None:
        self.price = price
        self._name = name
        self._runner = runner
        self._program = program
        self._limiter = limiter
        self._clock = clock
        self._work_dir = work_dir
        self._mark = mark
        self._guard = Guard(leftovers.environment_mark(work_dir / mark))

    @property
    def usd_per_call(self) -> float:
        """Return the price of a call; 0 without one."""
        return 0.0 if self.price is None else self.price.usd_per_call

    async def ask(self, item: Item, fd: int, question: Question, attempts: int = 1) -> Reply:
        """Return the program's reply; after a crash ask again, up to `attempts` times in all.

        The caller must `end` the reply. Raises ProcessorUnavailable when the program asks for patience,
        ProcessorPaused when its configuration must be fixed, and the errors of the journal and the limiter.
        """
        attempt, pause = 1, _PAUSE_SECONDS
        reply = await self._attempt(item, fd, question, attempt)
        while reply.has_crashed and attempt < attempts:
            await self.end(item, reply)
            await self._clock.sleep(pause)
            attempt, pause = attempt + 1, min(2 * pause, _LONGEST_PAUSE_SECONDS)
            reply = await self._attempt(item, fd, question, attempt)
        return reply

    async def end(
        self, item: Item, reply: Reply, *, reason: str = "", segment: tuple[int, Segment] | None = None
    ) -> None:
        """Store how the call ended, and the segment's result in the same transaction.

        `reason` says why the answer is unusable. Without a segment the answer itself is stored.
        """
        if reply.is_recorded:
            if segment is not None:
                await item.journal.keep_segment(*segment)
            return
        said = (reply.answer and reply.answer.usage) or _NO_USAGE
        error = reason or reply.reason or None
        await item.journal.end_call(
            reply.call,
            CallStatus.FAILED if reply.answer is None else CallStatus.COMPLETED,
            self._usage(said),
            answer=reply.text if segment is None and error is None else None,
            error=error,
            model=said.model,
            segment=segment,
        )

    def examine(self) -> tuple[ProcessorError, ...]:
        """Return why the program cannot be started; empty if it can."""
        return self._program.examine()

    async def aclose(self) -> None:
        """End all processes."""
        await self._runner.aclose()
        await self._guard.aclose()

    async def _attempt(self, item: Item, fd: int, question: Question, attempt: int) -> Reply:
        async with self._limiter.slot():
            call = await item.journal.begin_call(
                CallIntent(
                    question.ordinal,
                    PURPOSE,
                    0,
                    self._name,
                    Usage(cost_usd=self.usd_per_call),
                    start_time=question.start_time,
                    end_time=question.end_time,
                )
            )
            if call.answer is not None:
                answer = read_answer(call.answer.encode(), self._program.stdout_bytes)
                return Reply(call, answer, is_recorded=True)
            try:
                outcome = await self._outcome(item, fd, question, call, attempt)
            except MachineShortage as error:  # the program was not asked: that costs nothing
                await self.end(item, Reply(call, reason=error.message))
                raise
            return await self._judge_outcome(item, call, outcome)

    async def _outcome(self, item: Item, fd: int, question: Question, call: Call, attempt: int) -> Outcome:
        await self._guard.start()
        deadline = self._clock.now() + self._program.timeout_seconds
        async with private_folder(self._work_dir, self._mark) as folder:
            path = await anyio.to_thread.run_sync(_link_media, folder, fd, item.key)
            request = {
                **build_request(item, question.level, call.key, str(path)),
                **question.more,
                "attempt": attempt,
                "deadline": deadline,
                "workdir": str(folder),
            }
            variables = {
                "VVWATCH_PROTOCOL": PROTOCOL,
                "VVWATCH_RUN_ID": item.run_id,
                "VVWATCH_ITEM_ID": item.media_id,
                "VVWATCH_SEGMENT_INDEX": "" if question.ordinal == WHOLE else str(question.ordinal),
                "VVWATCH_ATTEMPT": str(attempt),
                "VVWATCH_DEADLINE": f"{deadline:.3f}",
                "VVWATCH_CALL_KEY": call.key,
                leftovers.FOLDER_VARIABLE: str(folder),
            }
            return await self._runner.run(json.dumps(request).encode() + b"\n", folder, variables)

    async def _judge_outcome(self, item: Item, call: Call, outcome: Outcome) -> Reply:
        words = self._program.words(outcome.stderr)
        if outcome.cut is not None:
            return make_reply(call, outcome, words, self._program)
        if outcome.status == Code.TRY_LATER:
            raise await self._later(item, call, outcome, words)
        if outcome.status in (Code.MISCONFIGURED, Code.NOT_EXECUTABLE, Code.NOT_FOUND):
            raise await self._pause(item, call, outcome, words)
        return await call_in_thread(len(outcome.stdout), make_reply, call, outcome, words, self._program)

    async def _later(self, item: Item, call: Call, outcome: Outcome, words: str) -> ProcessorUnavailable:
        seconds = read_retry_after(outcome.stdout)
        if seconds:
            self._limiter.hold_back(seconds)
        message = f"the program {self._name!r} cannot answer now (exit status 75){_join_words(words)}"
        await self.end(item, Reply(call, reason=message))
        return ProcessorUnavailable(message, "it is called again automatically", seconds)

    async def _pause(self, item: Item, call: Call, outcome: Outcome, words: str) -> ProcessorPaused:
        message = f"the program {self._name!r} cannot run (exit status {outcome.status}){_join_words(words)}"
        hint = f"mend [processors.{self._name}] or the program, then: vvwatch processors resume {self._name}"
        error = ProcessorPaused(message, hint)
        await self.end(item, Reply(call, reason=message))
        await self._limiter.pause(error)
        return error

    def _usage(self, said: ReportedUsage) -> Usage:
        cost = said.cost_usd
        if cost is None and self.price is not None:
            cost = self.price.cost_of(said.input_tokens, said.output_tokens)
        if cost is None and not said.input_tokens and not said.output_tokens:
            cost = 0.0
        return Usage(said.input_tokens, said.output_tokens, cost)


def require_answer(reply: Reply) -> Answer:
    """Return the answer. Raises ValueError, with the reason, if there is none."""
    if reply.answer is None:
        raise ValueError(reply.reason)
    return reply.answer


def make_reply(call: Call, outcome: Outcome, words: str, program: Program) -> Reply:
    """Return the reply for an outcome that is the fault of the program or the item."""
    if outcome.cut is Cut.OUTPUT:
        return Reply(call, reason=f"it wrote more than {program.stdout_bytes:,} bytes{_join_words(words)}")
    crash = _describe_crash(outcome, program)
    if crash:
        return Reply(call, reason=f"{crash}{_join_words(words)}", has_crashed=True)
    if outcome.status == Code.REFUSED:
        return Reply(call, reason=f"the program refuses this (exit status 65){_join_words(words)}")
    if outcome.status == Code.SKIPPED:
        answer = Answer(skipped=words[:500])
        return Reply(call, answer, text=answer.model_dump_json(include={"skipped"}))
    return _read_reply(call, outcome, words, program)


def _describe_crash(outcome: Outcome, program: Program) -> str:
    """Return how the program failed; empty if it did not."""
    if outcome.cut is Cut.WALL:
        return f"not finished within {program.timeout_seconds:g} s"
    if outcome.cut is Cut.SILENT:
        return "the program ended before it answered"
    if outcome.status < 0:
        number = -outcome.status
        name = next((known.name for known in signal.Signals if known == number), f"signal {number}")
        return f"the program died by {name}"
    is_known = outcome.status in (Code.DONE, Code.REFUSED, Code.SKIPPED)
    return "" if is_known else f"the program ended with status {outcome.status}"


def _read_reply(call: Call, outcome: Outcome, words: str, program: Program) -> Reply:
    try:
        answer = read_answer(outcome.stdout, program.stdout_bytes)
    except ValueError as error:
        return Reply(call, reason=f"its answer cannot be used: {error}{_join_words(words)}")
    if outcome.strays:
        stray = f"{outcome.strays} lines of the program answered nothing that was asked"
        answer = answer.model_copy(update={"warnings": [*answer.warnings, stray]})
    return Reply(call, answer, text=outcome.stdout.decode())


def _join_words(words: str) -> str:
    return f": {words}" if words else ""


def _link_media(folder: Path, fd: int, key: str) -> Path:
    """Make a link to the file behind `fd`, with the suffix by which programs detect its type.

    The link leads through this process, so that child processes of the program can open it too.
    """
    suffix = PurePosixPath(key).suffix.lower()
    link = folder / f"media{suffix if _SUFFIX.fullmatch(suffix) else ''}"
    link.symlink_to(f"/proc/{os.getpid()}/fd/{fd}" if sys.platform == "linux" else f"/dev/fd/{fd}")
    return link
