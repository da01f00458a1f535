"""Long-lived programs that answer line by line, each one request at a time."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from vvwatch.ports import Clock
from vvwatch.processors.command.leftovers import FOLDER_VARIABLE
from vvwatch.processors.command.protocol import PROTOCOL, Code
from vvwatch.processors.command.running import Outcome, Program, Runner, start_program
from vvwatch.processors.media.isolation import Cut
from vvwatch.processors.processes import keep_tail, private_folder, wait_for_exit
from vvwatch.processors.validation import call_in_thread, parse_object

_MOST_STRAYS: Final = 1000
_LONGEST_PAUSE_SECONDS: Final = 60.0
_LAST_WORDS_SECONDS: Final = 1.0
_HIGHEST_STATUS: Final = 255


class Workers:
    """Implements `Runner` by up to `count` processes; one that dies is replaced, after a growing pause.

    A request is a line of JSON with an `id`; the answer is a line with the same `id`. It may have a `code`, with the
    meaning of an exit status, and a `message`.
    """

    def __init__(self, program: Program, count: int, *, clock: Clock, work_dir: Path, mark: str) -> None:
        self._program = program
        self._clock = clock
        self._work_dir = work_dir
        self._mark = mark
        self._turns = anyio.Semaphore(count)
        self._idle: list[_Worker] = []
        self._deaths = 0
        self._not_before = 0.0

    async def run(self, request: bytes, folder: Path, variables: Mapping[str, str]) -> Outcome:  # noqa: ARG002
        """Return the outcome; as `Runner.run`, but the request itself holds what concerns it alone."""
        async with self._turns:
            worker = await self._take_idle() or await self._start_worker()
            if isinstance(worker, Outcome):
                return worker
            try:
                outcome = await worker.ask(request)
            except BaseException:
                await worker.aclose()
                raise
            if worker.is_good:
                self._deaths = 0
                self._idle.append(worker)
                return outcome
            await worker.aclose()
            self._mourn()
            return worker.obituary(outcome)

    async def aclose(self) -> None:
        """Close the stdin of all workers, then end those that do not exit: by SIGTERM, then by SIGKILL."""
        idle, self._idle = self._idle, []
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for worker in idle:
                    tasks.start_soon(worker.dismiss)

    async def _take_idle(self) -> _Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
            await worker.aclose()
        return None

    async def _start_worker(self) -> _Worker | Outcome:
        await self._clock.sleep(max(0.0, self._not_before - self._clock.monotonic()))
        async with AsyncExitStack() as stack:
            folder = await stack.enter_async_context(private_folder(self._work_dir, self._mark))
            variables = {"VVWATCH_PROTOCOL": PROTOCOL, FOLDER_VARIABLE: str(folder)}
            started = await start_program(self._program, folder, variables, stack)
            if isinstance(started, Outcome):
                return started
            return _Worker(started, self._program, stack.pop_all())

    def _mourn(self) -> None:
        self._deaths += 1
        pause = min(2.0 ** (self._deaths - 1), _LONGEST_PAUSE_SECONDS)
        self._not_before = self._clock.monotonic() + pause


_: type[Runner] = Workers


class _Worker:
    """One process. `is_good`: it answered the last request and can take the next."""

    def __init__(self, process: Process, program: Program, stack: AsyncExitStack) -> None:
        self._process = process
        self._program = program
        self._stack = stack
        self._stdin = cast("ByteSendStream", process.stdin)
        self._stdout = cast("ByteReceiveStream", process.stdout)
        self._number = 0
        self._rest = b""
        self._tail = bytearray()
        self.is_good = False

    @property
    def is_alive(self) -> bool:
        """Return whether the process runs, as far as is known."""
        return self._process.returncode is None

    async def ask(self, request: bytes) -> Outcome:
        """Return its outcome; earlier output on stderr does not count."""
        self.is_good = False
        self._tail.clear()
        self._number += 1
        outcome = Outcome(0, cut=Cut.WALL)
        with anyio.move_on_after(self._program.timeout_seconds):
            async with anyio.create_task_group() as tasks:
                stderr = cast("ByteReceiveStream", self._process.stderr)
                tasks.start_soon(keep_tail, stderr, self._tail, self._program.stderr_bytes)
                async with anyio.create_task_group() as talk:
                    talk.start_soon(self._send, b'{"id": %d, ' % self._number + request[1:])
                    outcome = await self._answer()
                    if outcome.cut is not None:
                        talk.cancel_scope.cancel()
                self.is_good = outcome.cut is None
                if outcome.cut is Cut.SILENT:
                    await self._last_words()
                tasks.cancel_scope.cancel()
        return outcome

    async def dismiss(self) -> None:
        """Let it exit: close its stdin."""
        await self._stdin.aclose()
        with anyio.move_on_after(self._program.grace_seconds):
            await wait_for_exit(self._process)
        await self.aclose()

    async def aclose(self) -> None:
        """End it and all processes that it started."""
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    def obituary(self, outcome: Outcome) -> Outcome:
        """Return `outcome` with the status and the last words of the process, which has exited."""
        status = self._process.returncode
        status = -signal.SIGKILL if status is None else status
        # A status of 0 means success, but an answer was due.
        cut = outcome.cut if status == 0 or outcome.cut is not Cut.SILENT else None
        return Outcome(status, stderr=bytes(self._tail), cut=cut, strays=outcome.strays)

    async def _last_words(self) -> None:
        with anyio.move_on_after(_LAST_WORDS_SECONDS):
            await wait_for_exit(self._process)

    async def _send(self, line: bytes) -> None:
        try:
            await self._stdin.send(line)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # its stdout tells how it ended

    async def _answer(self) -> Outcome:
        strays = received = 0
        while strays <= _MOST_STRAYS:
            line = await self._line(self._program.stdout_bytes - received)
            if line is None:
                return Outcome(0, cut=Cut.SILENT, strays=strays)
            received += len(line) + 1
            if received > self._program.stdout_bytes:
                break
            said = await call_in_thread(len(line), self._parse_line, line)
            if said is not None:
                return self._outcome(said, line, strays)
            strays += bool(line.strip())
        return Outcome(0, cut=Cut.OUTPUT, strays=strays)

    async def _line(self, most_bytes: int) -> bytes | None:
        """Return the next line, or more than `most_bytes` of it; None at the end."""
        parts = [self._rest]
        size = len(self._rest)
        while b"\n" not in parts[-1] and size <= most_bytes:
            try:
                parts.append(await self._stdout.receive())
            except anyio.EndOfStream:
                self._rest = b""
                return None
            size += len(parts[-1])
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line

    def _parse_line(self, line: bytes) -> dict[str, Any] | None:
        try:
            said = parse_object(line, self._program.stdout_bytes)
        except ValueError:
            return None
        number = said.get("id")
        return said if type(number) is int and number == self._number else None

    def _outcome(self, said: dict[str, Any], line: bytes, strays: int) -> Outcome:
        code, message = said.get("code", 0), said.get("message")
        if type(code) is not int or not 0 <= code <= _HIGHEST_STATUS:
            code = Code.REFUSED
            message = "its `code` is not a number from 0 to 255"
        stderr = message.encode() if isinstance(message, str) else bytes(self._tail)
        return Outcome(code, line, stderr, strays=strays)
