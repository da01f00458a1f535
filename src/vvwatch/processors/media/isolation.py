"""One short-lived process for one untrusted item: connected by pipes, bounded, and never left behind."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, Final, cast

import anyio
import anyio.to_thread
from anyio.abc import ByteReceiveStream, ByteSendStream

from vvwatch.core.shortages import start_failed
from vvwatch.processors.kernel import Hindrance, count_memory_kills, count_threads, find_hindrance
from vvwatch.processors.media.forking import Template
from vvwatch.processors.processes import (
    Child,
    end_process,
    hold_process,
    keep_tail,
    private_folder,
    run_process,
    signal_group,
)

_CHUNK_BYTES: Final = 65_536
_LAST_WORDS_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 1.0
_CRASHES: Final = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS)
MOST_THREADS: Final = 256
"""Decoders use one thread for each processor, and at most 16 each."""

HasTooMuch = Callable[[Path], bool]
"""Returns whether a process has left too much in its folder; blocks."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one item. The first group holds inside the process, the second is enforced from outside.

    CPU time is `cpu_seconds` for opening, plus `cpu_per_second` for each second of media, at most `cpu_seconds_max`.
    `file_bytes` is the largest file that may be extracted. `silent_seconds` is how long a process may show no
    progress, `extracted_bytes` how much may be extracted but unused. A probe has `probe_seconds`, also as CPU time.
    """

    memory_bytes: int = 1 << 30
    cpu_seconds: int = 60
    cpu_per_second: float = 5.0
    cpu_seconds_max: int = 6 * 3600
    max_pixels: int = 200_000_000
    max_seconds: float = 48 * 3600.0
    file_bytes: int = 32 << 20

    wall_seconds: float = 12 * 3600.0
    silent_seconds: float = 120.0
    grace_seconds: float = 2.0
    stdout_bytes: int = 16 << 20
    stderr_bytes: int = 64 << 10
    extracted_bytes: int = 1 << 30
    probe_seconds: float = 60.0
    is_probe: bool = False

    def of_probe(self) -> Limits:
        """Return the limits of a probe, which ends soon or never."""
        wall, cpu = min(self.wall_seconds, self.probe_seconds), ceil(self.probe_seconds)
        cpu_seconds = min(self.cpu_seconds_max, cpu)
        return replace(
            self,
            wall_seconds=wall,
            silent_seconds=wall,
            cpu_seconds=cpu_seconds,
            cpu_seconds_max=cpu_seconds,
            is_probe=True,
        )


class Cut(StrEnum):
    """Why a process was ended from outside."""

    WALL = "wall"
    SILENT = "silent"
    OUTPUT = "output"
    FOLDER = "folder"
    THREADS = "threads"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended: its exit status (negative: the signal), the limit it passed, its last words.

    `has_begun`: it had written something, as it does just before it opens the file. `hindrance` is what kept a
    process that passed a limit from working. `lacked_memory`: it died by SIGKILL, and the kernel killed processes
    meanwhile because memory ran out.
    """

    status: int
    cut: Cut | None
    stderr_tail: bytes
    has_begun: bool
    hindrance: Hindrance | None
    lacked_memory: bool


class Conversation:
    """A running process: the lines that it writes, and the input sent to it.

    `folder` is its private working directory. Only our waiting counts for time limits, so a process that waits for us
    does not pass them.
    """

    def __init__(self, process: Child, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self._process = process
        self._limits = limits
        self._stdin = cast("ByteSendStream", process.stdin)
        self._stdout = cast("ByteReceiveStream", process.stdout)
        self._stderr = cast("ByteReceiveStream", process.stderr)
        self._patience = limits.wall_seconds
        self._received = 0
        self._kills = count_memory_kills()
        self._began = anyio.current_time()
        self._hindrance: Hindrance | None = None
        self._cut: Cut | None = None
        self._tail = bytearray()
        self._fell_silent = anyio.Event()

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the lines of stdout until its end, or until a limit is passed."""
        pending: list[bytes] = []
        while chunk := await self._receive():
            pending.append(chunk)
            if b"\n" in chunk:
                *lines, rest = b"".join(pending).split(b"\n")
                pending = [rest]
                for line in lines:
                    yield line

    async def tell(self, words: bytes) -> None:
        """Write to stdin; do nothing if the process is gone."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._stdin.send(words)

    async def end(self) -> Ending:
        """Wait for the process to exit, end it if a limit was passed, and return how it ended."""
        await end_process(self._process, self._limits.grace_seconds, gently=self._cut is None)
        # A descendant outside the group may keep the pipe open; do not wait for its output.
        with anyio.move_on_after(_LAST_WORDS_SECONDS):
            await self._fell_silent.wait()
        status = self._process.returncode
        return Ending(
            -signal.SIGKILL if status is None else status,
            self._cut,
            bytes(self._tail),
            has_begun=self._received > 0,
            hindrance=self._hindrance,
            lacked_memory=status == -signal.SIGKILL and count_memory_kills() > self._kills,
        )

    async def _open(self, request: bytes, *, closes: bool) -> None:
        await self.tell(request)
        if closes:
            await self._stdin.aclose()

    async def _keep_tail(self) -> None:
        limits = self._limits
        if not await keep_tail(self._stderr, self._tail, limits.stderr_bytes, limits.stdout_bytes):
            self._stop(Cut.OUTPUT)
        self._fell_silent.set()

    async def _watch(self, has_too_much: HasTooMuch | None) -> None:
        """Check the process's use of resources at intervals: it may be silent for long."""
        while self._cut is None:
            await anyio.sleep(_LOOK_SECONDS)
            if count_threads(self._process.pid) > MOST_THREADS:
                self._stop(Cut.THREADS)
            elif has_too_much is not None and await anyio.to_thread.run_sync(
                has_too_much, self.folder, abandon_on_cancel=True
            ):
                self._stop(Cut.FOLDER)

    def _stop(self, cut: Cut) -> None:
        self._cut = self._cut or cut
        signal_group(self._process, signal.SIGKILL)

    async def _receive(self) -> bytes:
        """Return the next output; empty at the end of stdout and when a limit was passed."""
        chunk, began = b"", anyio.current_time()
        with anyio.move_on_after(min(self._patience, self._limits.silent_seconds)) as waiting:
            with suppress(anyio.EndOfStream):
                chunk = await self._stdout.receive(_CHUNK_BYTES)
        self._patience -= anyio.current_time() - began
        self._received += len(chunk)
        if waiting.cancelled_caught:
            self._cut = Cut.WALL if self._patience <= 0 else Cut.SILENT
            self._hindrance = find_hindrance(self._process.pid, anyio.current_time() - self._began)
        elif self._received > self._limits.stdout_bytes:
            self._cut = Cut.OUTPUT
        return b"" if self._cut else chunk


@asynccontextmanager
async def open_conversation(
    command: Sequence[str],
    request: bytes,
    *,
    fd: int,
    limits: Limits,
    work_dir: Path,
    output_fd: int | None = None,
    keeps_stdin: bool = False,
    has_too_much: HasTooMuch | None = None,
    template: Template | None = None,
) -> AsyncIterator[Conversation]:
    """Run `command` for the life of the block, with `request` on stdin and the descriptors inherited.

    With a `template`, the process is forked from there if that can be, instead of running `command`.

    The process has its own session, an empty environment, and a private working directory below `work_dir`, which is
    removed afterwards. However the block ends, the process and its group are gone. `keeps_stdin` keeps it open for
    more input. `has_too_much` is called at intervals. Raises what the block raises, and MachineShortage when the
    process cannot be started.
    """
    fds = (fd,) if output_fd is None else (fd, output_fd)
    async with (
        private_folder(work_dir) as folder,
        _start_child(command, folder, fds, limits, template) as process,
    ):
        talk = Conversation(process, folder, limits)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(talk._open, request, closes=not keeps_stdin))  # noqa: SLF001
                tasks.start_soon(talk._keep_tail)  # noqa: SLF001
                tasks.start_soon(talk._watch, has_too_much)  # noqa: SLF001
                yield talk
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise


async def converse(
    command: Sequence[str],
    request: bytes,
    on_line: Callable[[bytes], None],
    *,
    fd: int,
    limits: Limits,
    work_dir: Path,
    output_fd: int | None = None,
    template: Template | None = None,
) -> Ending:
    """Run `command` in a conversation of one request; pass each line that it writes to `on_line`."""
    how: dict[str, Any] = {"limits": limits, "work_dir": work_dir, "output_fd": output_fd}
    async with open_conversation(command, request, fd=fd, template=template, **how) as talk:
        async for line in talk.lines():
            on_line(line)
        return await talk.end()


@asynccontextmanager
async def _start_child(
    command: Sequence[str], folder: Path, fds: Sequence[int], limits: Limits, template: Template | None
) -> AsyncIterator[Child]:
    grace = limits.grace_seconds
    async with AsyncExitStack() as stack:
        try:
            forked = None if template is None else await template.fork(folder, fds)
            if template is None or forked is None:
                process = run_process(command, folder, env={}, grace_seconds=grace, pass_fds=fds)
                started: Child = await stack.enter_async_context(process)
            else:
                stack.callback(_note_crash, template, forked)
                started = await stack.enter_async_context(hold_process(forked, grace))
        except OSError as error:
            raise start_failed(error, command[0]) from error
        yield started


def _note_crash(template: Template, forked: Child) -> None:
    if -(forked.returncode or 0) in _CRASHES:
        template.expire()
