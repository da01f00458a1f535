"""Children for items, forked from a process that has the decoders loaded: loading costs ten times a fork."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, Final

import anyio
from anyio.abc import Process

from vvwatch.processors.cloning import can_fork_sibling
from vvwatch.processors.forked import ForkedProcess, PipeReader, PipeWriter
from vvwatch.processors.isolated import isolated_command
from vvwatch.processors.processes import close_process, end_process, keep_tail, start_process

COMMAND: Final = isolated_command("vvwatch.processors.media.template")
MOST_FORKS: Final = 1_000
MOST_KIB: Final = 256 << 10
_START_SECONDS: Final = 60.0
_FORK_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 60.0
_GRACE_SECONDS: Final = 2.0
_LAST_WORDS_SECONDS: Final = 1.0
_LAST_WORDS: Final = 300
_MESSAGE_BYTES: Final = 4096


@dataclass(slots=True)
class _Running:
    """A template that runs: its process, our end of its socket, and how many children it has forked."""

    process: Process
    channel: socket.socket
    forks: int = 0
    kib: int = 0


class Template:
    """Forks a child for each item from a warm process, which is replaced when it ends, ages or grows.

    The process starts when the first child is wanted. `emit` reports when it cannot be used.
    """

    def __init__(
        self, emit: Callable[..., None], *, most_forks: int = MOST_FORKS, most_kib: int = MOST_KIB
    ) -> None:
        self.emit = emit
        self._most_forks = most_forks
        self._most_kib = most_kib
        self._running: _Running | None = None
        self._lock = anyio.Lock()
        self._not_before = 0.0

    async def fork(self, folder: Path, fds: Sequence[int]) -> ForkedProcess | None:
        """Return a child that runs in `folder` and has the descriptors; None if the caller must start one itself.

        Raises OSError when the system grants no process or no descriptor.
        """
        if not can_fork_sibling():
            return None
        # Shielded: cancelled halfway, a process would run that nobody knows of.
        async with self._lock:
            with anyio.CancelScope(shield=True):
                await self._renew()
                running = self._running
                child = None if running is None else await self._fork(running, folder, fds)
        return child

    def expire(self) -> None:
        """Replace the process before the next child: its children have the same memory layout, and one has crashed."""
        if self._running is not None:
            self._running.forks = self._most_forks

    async def aclose(self) -> None:
        """End the process; children that it forked are not concerned."""
        async with self._lock:
            await self._retire()

    async def _renew(self) -> None:
        """Replace a process that has ended, aged or grown; after a failed start, wait for a while."""
        running = self._running
        if running is not None and running.process.returncode is not None:
            await self._give_up("it ended")
        elif running is not None and (running.forks >= self._most_forks or running.kib > self._most_kib):
            await self._retire()
        if self._running is None and anyio.current_time() >= self._not_before:
            await self._start()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)  # the library's own argument
        with theirs:
            try:
                process = await start_process(
                    COMMAND, stdin=theirs.fileno(), stdout=DEVNULL, stderr=PIPE, cwd="/", env={}
                )
            except OSError as error:
                ours.close()
                self._pause(error.strerror or str(error))
                return
        self._running = _Running(process, ours)
        ours.send(json.dumps({"parent": os.getpid()}).encode())
        if await self._receive(self._running, _START_SECONDS) is None:
            await self._give_up("it does not start")

    async def _fork(self, running: _Running, folder: Path, fds: Sequence[int]) -> ForkedProcess | None:
        with ExitStack() as ours, ExitStack() as theirs:
            read, stdin = _open_pipe(theirs, ours)
            stdout, write = _open_pipe(ours, theirs)
            stderr, complain = _open_pipe(ours, theirs)
            reply = await self._ask(running, folder, (read, write, complain, *fds))
            if reply is None:
                await self._give_up("it does not answer")
                return None
            if "pid" not in reply:
                raise OSError(reply["errno"], os.strerror(reply["errno"]))
            running.forks, running.kib = running.forks + 1, reply["kib"]
            ours.pop_all()
        return ForkedProcess(reply["pid"], PipeWriter(stdin), PipeReader(stdout), PipeReader(stderr))

    async def _ask(self, running: _Running, folder: Path, fds: Sequence[int]) -> dict[str, Any] | None:
        """Return the answer of the process about a new child; None if it is gone."""
        try:
            socket.send_fds(running.channel, [json.dumps({"folder": str(folder)}).encode()], list(fds))
        except OSError:
            return None
        return await self._receive(running, _FORK_SECONDS)

    @staticmethod
    async def _receive(running: _Running, seconds: float) -> dict[str, Any] | None:
        """Return the next answer; None if the process is gone, or is ended because it is late."""
        channel = running.channel
        with anyio.move_on_after(seconds) as waiting:
            await anyio.wait_readable(channel)
        if waiting.cancelled_caught:
            running.process.kill()
            await anyio.wait_readable(channel)
        with suppress(ConnectionError):
            text = channel.recv(_MESSAGE_BYTES)
            return json.loads(text) if text else None
        return None

    async def _give_up(self, reason: str) -> None:
        """Report why the process cannot be used, and start none for a while if it has never forked."""
        running = self._running
        if running is None:
            return
        tail = bytearray()
        if running.process.stderr is not None:
            with suppress(ProcessLookupError):
                running.process.kill()
            with anyio.move_on_after(_LAST_WORDS_SECONDS):
                await keep_tail(running.process.stderr, tail, _LAST_WORDS)
        has_forked = running.forks > 0
        await self._retire()
        words = tail.decode(errors="replace").strip()
        self._pause(f"{reason}: {words}" if words else reason, seconds=0.0 if has_forked else _PAUSE_SECONDS)

    def _pause(self, reason: str, *, seconds: float = _PAUSE_SECONDS) -> None:
        self._not_before = anyio.current_time() + seconds
        self.emit("decoder.template_failed", reason=reason)

    async def _retire(self) -> None:
        """End the process: it exits when its socket is closed."""
        running, self._running = self._running, None
        if running is None:
            return
        with anyio.CancelScope(shield=True):
            running.channel.close()
            await end_process(running.process, _GRACE_SECONDS, gently=True)
            await close_process(running.process)


def _open_pipe(reading: ExitStack, writing: ExitStack) -> tuple[int, int]:
    """Return both ends of a new pipe, to be closed by these stacks."""
    read, write = os.pipe()
    reading.callback(os.close, read)
    writing.callback(os.close, write)
    return read, write
