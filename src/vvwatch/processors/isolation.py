"""One short-lived process for one untrusted item: spoken to over pipes, bounded, and never left behind."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from subprocess import PIPE
from typing import Final, cast

import anyio
import anyio.to_thread
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from vvwatch.errors import ProcessorCrashed

_CHUNK_BYTES: Final = 65_536
_LAST_WORDS_SECONDS: Final = 1.0
_ROOM: Final = "Check the free memory, the limit of processes and the space in the state directory."


@dataclass(frozen=True, slots=True)
class Limits:
    """What one item may cost. The first group holds inside the process, the second is watched from outside.

    CPU time is `cpu_seconds` for opening, then `cpu_per_second` more for each second of media, and never more
    than `cpu_seconds_max`. `silent_seconds` is how long a process may go without a sign of progress.
    """

    memory_bytes: int = 1 << 30
    cpu_seconds: int = 60
    cpu_per_second: float = 5.0
    cpu_seconds_max: int = 6 * 3600
    max_pixels: int = 200_000_000
    max_seconds: float = 48 * 3600.0

    wall_seconds: float = 12 * 3600.0
    silent_seconds: float = 120.0
    grace_seconds: float = 2.0
    stdout_bytes: int = 16 << 20
    stderr_bytes: int = 64 << 10


class Cut(StrEnum):
    """Why a process was ended from outside."""

    WALL = "wall"
    SILENT = "silent"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended: its exit status (negative: the signal), what cut it short, its last words."""

    status: int
    cut: Cut | None
    stderr_tail: bytes


async def converse(
    command: Sequence[str],
    request: bytes,
    on_line: Callable[[bytes], None],
    *,
    fd: int,
    limits: Limits,
    work_dir: Path,
) -> Ending:
    """Run `command` with `request` on stdin and the descriptor `fd` inherited; `on_line` gets each line it writes.

    The process has a session of its own, an empty environment, and a private folder below `work_dir` as working
    directory, which is removed afterwards. However this call ends, by result, limit, error or cancellation, the
    process and its group are gone when it returns. Raises what `on_line` raises, and ProcessorCrashed when the
    process cannot be started.
    """
    async with _private_folder(work_dir) as folder, _process(command, folder, fd, limits) as process:
        tail = bytearray()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_send, cast("ByteSendStream", process.stdin), request)
                tasks.start_soon(
                    _keep_tail, cast("ByteReceiveStream", process.stderr), tail, limits.stderr_bytes
                )
                cut = await _follow(cast("ByteReceiveStream", process.stdout), on_line, limits)
                await _end(process, limits.grace_seconds, gently=cut is None)
                # A descendant outside the group may hold the pipe open; its words are not waited for.
                tasks.cancel_scope.deadline = anyio.current_time() + _LAST_WORDS_SECONDS
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
        status = process.returncode
        return Ending(-signal.SIGKILL if status is None else status, cut, bytes(tail))


@asynccontextmanager
async def _private_folder(work_dir: Path) -> AsyncIterator[str]:
    folder = await anyio.to_thread.run_sync(_make_folder, work_dir)
    try:
        yield folder
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def _make_folder(work_dir: Path) -> str:
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        return tempfile.mkdtemp(prefix="item-", dir=work_dir)
    except OSError as error:
        raise ProcessorCrashed(f"no working folder for an item: {error.strerror}", _ROOM) from error


@asynccontextmanager
async def _process(command: Sequence[str], folder: str, fd: int, limits: Limits) -> AsyncIterator[Process]:
    process = await _started(command, folder, fd)
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process, limits.grace_seconds)
            # Whatever the child started and left behind is in its group still, and holds the number of that group.
            _signal_group(process, signal.SIGKILL)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    await stream.aclose()


async def _started(command: Sequence[str], folder: str, fd: int) -> Process:
    # Shielded: cancelled halfway, a process would run that nobody knows of.
    with anyio.CancelScope(shield=True):
        try:
            process = await anyio.open_process(
                command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=folder,
                env={},
                start_new_session=True,
                pass_fds=(fd,),
            )
        except OSError as error:
            raise ProcessorCrashed(f"the process could not be started: {error.strerror}", _ROOM) from error
    return process


async def _send(stdin: ByteSendStream, request: bytes) -> None:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await stdin.send(request)
    await stdin.aclose()


async def _keep_tail(stderr: ByteReceiveStream, tail: bytearray, limit: int) -> None:
    async for chunk in stderr:
        tail += chunk
        del tail[:-limit]


async def _follow(stdout: ByteReceiveStream, on_line: Callable[[bytes], None], limits: Limits) -> Cut | None:
    """Hand over the lines of stdout until it ends, or until a limit is passed."""
    received = 0
    pending: list[bytes] = []
    with anyio.move_on_after(limits.wall_seconds):
        while (chunk := await _heard(stdout, limits.silent_seconds)) is not None:
            received += len(chunk)
            if received > limits.stdout_bytes:
                return Cut.OUTPUT
            if not chunk:
                return None
            pending.append(chunk)
            if b"\n" in chunk:
                *lines, rest = b"".join(pending).split(b"\n")
                pending = [rest]
                for line in lines:
                    on_line(line)
        return Cut.SILENT
    return Cut.WALL


async def _heard(stdout: ByteReceiveStream, patience: float) -> bytes | None:
    """What came next, b"" at the end of the stream, None when nothing came for `patience` seconds."""
    with anyio.move_on_after(patience):
        try:
            return await stdout.receive(_CHUNK_BYTES)
        except anyio.EndOfStream:
            return b""
    return None


def _signal_group(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # denied: on macOS, when only zombies are left in it
        os.killpg(process.pid, number)


async def _end(process: Process, grace_seconds: float, *, gently: bool = False) -> None:
    """Wait for the process to go: by itself when `gently`, then asked to, then made to."""
    signals = (None, signal.SIGTERM, signal.SIGKILL) if gently else (signal.SIGTERM, signal.SIGKILL)
    for number in signals:
        if process.returncode is not None:
            return
        if number is not None:
            _signal_group(process, number)
        # Bounded even after SIGKILL: a process stuck in a read of a dead network share dies when the share does.
        with anyio.move_on_after(grace_seconds):
            await process.wait()
