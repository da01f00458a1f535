"""One bounded run of a program: its output is kept, and nothing of it is left behind."""

from __future__ import annotations

import errno
import os
import resource
import shlex
import shutil
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from vvwatch.core.shortages import start_failed
from vvwatch.descriptors import restore_limit
from vvwatch.errors import ProcessorError
from vvwatch.processors.command import leftovers
from vvwatch.processors.command.protocol import Code
from vvwatch.processors.media.isolation import Cut
from vvwatch.processors.processes import keep_tail, run_process, send_request, signal_group, wait_for_exit

_UMASK: Final = 0o077
_NICENESS: Final = 10
_FIRST_TO_GO: Final = "1000"
_LAST_WORDS_SECONDS: Final = 1.0
_LONGEST_WORDS: Final = 2000
_SHORTEST_SECRET: Final = 6
_NOT_RUNNABLE: Final = {
    errno.ENOENT: (Code.NOT_FOUND, "no such program, or the interpreter in its first line is not there"),
    errno.ENOTDIR: (Code.NOT_FOUND, "no such program: a part of its path is no folder"),
    errno.EACCES: (Code.NOT_EXECUTABLE, "not a file that the daemon's user may execute"),
    errno.EPERM: (Code.NOT_EXECUTABLE, "the system does not let the daemon execute it"),
    errno.EISDIR: (Code.NOT_EXECUTABLE, "a folder"),
    errno.ENOEXEC: (
        Code.NOT_EXECUTABLE,
        "no program of this machine, and no script with a first line like #!/bin/sh",
    ),
    errno.ELOOP: (Code.NOT_FOUND, "a link that leads nowhere"),
}


@dataclass(frozen=True, slots=True)
class Program:
    """A program and its limits for one answer. `passed` are the daemon's variables that it receives."""

    command: tuple[str, ...]
    timeout_seconds: float
    grace_seconds: float = 5.0
    memory_bytes: int | None = None
    stdout_bytes: int = 16 << 20
    stderr_bytes: int = 64 << 10
    passed: Mapping[str, str] = field(default_factory=dict, repr=False)

    def environment(self, folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
        """Return all environment variables of a process in `folder`."""
        own = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        return {**own, "HOME": str(folder), "TMPDIR": str(folder), **self.passed, **variables}

    def examine(self) -> tuple[ProcessorError, ...]:
        """Return why the program cannot be started; empty if it can."""
        name, path = self.command[0], self.passed.get("PATH", os.environ.get("PATH", os.defpath))
        if shutil.which(name, path=path):
            return ()
        there = shutil.which(name, os.F_OK, path)
        if there is None:
            problem = f"there is no program {name!r} on this machine", "install it, or correct `command`"
        else:
            problem = f"{there} may not be executed", f"chmod +x {shlex.quote(there)}"
        return (ProcessorError(*problem),)

    def words(self, stderr: bytes) -> str:
        """Return the end of a program's stderr in printable form, without the values of passed variables."""
        text = stderr.decode(errors="replace")
        for name, value in self.passed.items():
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, f"[{name}]")
        kept = "".join(letter for letter in text if letter.isprintable() or letter == "\n").strip()
        return kept if len(kept) <= _LONGEST_WORDS else f"…{kept[-_LONGEST_WORDS:]}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a request: the exit status (negative: the signal), stdout, the end of stderr.

    `cut` says why the process was ended from outside. `strays` counts a worker's lines that answer nothing.
    """

    status: int
    stdout: bytes = b""
    stderr: bytes = b""
    cut: Cut | None = None
    strays: int = 0


class Runner(Protocol):
    """Sends requests to a program."""

    async def run(self, request: bytes, folder: Path, variables: Mapping[str, str]) -> Outcome:
        """Return the program's outcome; `folder` and `variables` belong to this request alone.

        Raises MachineShortage when no process can be started for lack of memory, processes or descriptors.
        """
        ...

    async def aclose(self) -> None:
        """End all processes."""
        ...


class OneProcessEach:
    """Implements `Runner` with a new process for each request."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def run(self, request: bytes, folder: Path, variables: Mapping[str, str]) -> Outcome:
        """Return the outcome; as `Runner.run`."""
        program = self._program
        async with AsyncExitStack() as stack:
            started = await start_program(program, folder, variables, stack)
            if isinstance(started, Outcome):
                return started
            said = _OutputReader(program)
            with anyio.move_on_after(program.timeout_seconds) as time:
                await said.listen(started, request)
        # The process has been ended by now, so its status is known.
        status = started.returncode
        cut = Cut.WALL if time.cancelled_caught else said.cut
        return Outcome(
            -signal.SIGKILL if status is None else status, bytes(said.stdout), bytes(said.stderr), cut
        )

    async def aclose(self) -> None:
        """Do nothing: no process outlives its request."""


async def start_program(
    program: Program, folder: Path, variables: Mapping[str, str], stack: AsyncExitStack
) -> Process | Outcome:
    """Start the program for the life of `stack`; return a shell's outcome for one that cannot be executed."""
    env = program.environment(folder, variables)
    process = run_process(program.command, folder, env=env, grace_seconds=program.grace_seconds, umask=_UMASK)
    begun: list[int] = []
    # Entered first, so left last: by then the program's children can start nothing more.
    stack.callback(_end_leftovers, folder, begun)
    try:
        started = await stack.enter_async_context(process)
    except OSError as error:
        if error.errno not in _NOT_RUNNABLE:
            raise start_failed(error, program.command[0]) from error
        code, reason = _NOT_RUNNABLE[error.errno]
        return Outcome(code, stderr=f"{program.command[0]}: {reason}".encode())
    begun.append(started.pid)
    _limit_process(started.pid, program.memory_bytes)
    return started


def _end_leftovers(folder: Path, begun: list[int]) -> None:
    for pid in begun:
        leftovers.end_marked(leftovers.environment_mark(folder), pid)


class _OutputReader:
    """Reads what a program writes until it exits; sets `cut` if that is too much."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.cut: Cut | None = None

    async def listen(self, process: Process, request: bytes) -> None:
        """Send the request, and read until the process has exited and all its output is read."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_request, cast("ByteSendStream", process.stdin), request)
            tasks.start_soon(self._collect, process)
            stderr = cast("ByteReceiveStream", process.stderr)
            tasks.start_soon(keep_tail, stderr, self.stderr, self._program.stderr_bytes)
            await wait_for_exit(process)
            # Processes that it left behind may hold the pipes open forever.
            signal_group(process, signal.SIGKILL)
            tasks.cancel_scope.deadline = anyio.current_time() + _LAST_WORDS_SECONDS

    async def _collect(self, process: Process) -> None:
        async for chunk in cast("ByteReceiveStream", process.stdout):
            self.stdout += chunk
            if len(self.stdout) > self._program.stdout_bytes:
                self.cut = Cut.OUTPUT
                self.stdout.clear()
                signal_group(process, signal.SIGKILL)
                return


def _limit_process(pid: int, memory_bytes: int | None) -> None:
    with suppress(OSError):  # it may have exited already, or run as another user
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        restore_limit(pid)
        if memory_bytes is not None:
            resource.prlimit(pid, resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
    with suppress(OSError):  # when memory is short, the kernel kills this process and not the daemon
        Path(f"/proc/{pid}/oom_score_adj").write_text(_FIRST_TO_GO)
