"""Child processes that talk over pipes and are never left behind."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any, Protocol, TypeVar, TypeVarTuple, cast

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from vvwatch.core.shortages import folder_missing

_Args = TypeVarTuple("_Args")


class Child(Protocol):
    """A process of ours: of anyio, or forked by another one of ours."""

    @property
    def pid(self) -> int:
        """Return its id."""
        ...

    @property
    def returncode(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""
        ...

    @property
    def stdin(self) -> ByteSendStream | None:
        """Return the pipe to its input."""
        ...

    @property
    def stdout(self) -> ByteReceiveStream | None:
        """Return the pipe from its output."""
        ...

    @property
    def stderr(self) -> ByteReceiveStream | None:
        """Return the pipe from its complaints."""
        ...

    async def wait(self) -> int:
        """Return its exit status when it has ended."""
        ...


_Child = TypeVar("_Child", bound=Child)


@asynccontextmanager
async def private_folder(work_dir: Path, prefix: str = "item-") -> AsyncIterator[Path]:
    """Make an empty folder below `work_dir` for the life of the block. Raises MachineShortage."""
    folder = await anyio.to_thread.run_sync(_make_folder, work_dir, prefix)
    try:
        yield folder
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_remove_folder, folder)


def _make_folder(work_dir: Path, prefix: str) -> Path:
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=prefix, dir=work_dir))
    except OSError as error:
        raise folder_missing(error) from error


def _remove_folder(folder: Path) -> None:
    try:
        folder.rmdir()  # an empty folder needs no descriptor, and there may be none left
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def run_process(
    command: Sequence[str],
    folder: Path,
    *,
    env: Mapping[str, str],
    grace_seconds: float,
    pass_fds: Sequence[int] = (),
    umask: int = -1,
) -> AsyncIterator[Process]:
    """Run `command` in `folder` for the life of the block, in its own session.

    However the block ends, the process and its group are gone afterwards. Raises OSError when it cannot be started.
    """
    process = await start_process(
        command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=folder, env=env, pass_fds=pass_fds, umask=umask
    )
    async with hold_process(process, grace_seconds):
        yield process


@asynccontextmanager
async def hold_process(process: _Child, grace_seconds: float) -> AsyncIterator[_Child]:
    """Keep `process` for the life of the block; however that ends, it and its group are gone afterwards."""
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await end_process(process, grace_seconds)
            # Whatever the child left behind is still in its group, and keeps the group's number in use.
            signal_group(process, signal.SIGKILL)
            await close_process(process)


async def start_process(command: Sequence[str], **how: Any) -> Process:
    """Start `command` in its own session; `how` goes to anyio. Raises OSError when it cannot be started."""
    _install_watcher()
    try:
        # Shielded: cancelled halfway, a process would run that nobody knows of.
        with anyio.CancelScope(shield=True):
            process = await anyio.open_process(command, start_new_session=True, **how)
    except RuntimeError as error:  # the system refused a thread
        raise BlockingIOError(errno.EAGAIN, str(error)) from error
    return process


if sys.version_info < (3, 12):

    class _Watcher(asyncio.ThreadedChildWatcher):
        """Ends a child if the system refuses the thread that waits for it; asyncio would leave it running."""

        def add_child_handler(
            self, pid: int, callback: Callable[[int, int, *_Args], object], *args: *_Args
        ) -> None:
            try:
                super().add_child_handler(pid, callback, *args)
            except RuntimeError:
                cast("Any", self)._threads.pop(pid, None)  # noqa: SLF001  # it keeps what it could not start
                os.kill(pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
                callback(pid, os.waitstatus_to_exitcode(status), *args)
                raise

    def _install_watcher() -> None:
        if type(asyncio.get_child_watcher()) is asyncio.ThreadedChildWatcher:
            asyncio.set_child_watcher(_Watcher())

else:

    def _install_watcher() -> None:
        """Do nothing: newer versions wait for children without threads."""


async def close_process(process: Child) -> None:
    """Close our ends of the pipes of a process that has ended."""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            await stream.aclose()
    if isinstance(process, Process):
        # The event loop would wait until all others have closed theirs; there is no other way to its transport.
        cast("Any", process)._process._transport.close()  # noqa: SLF001
        await anyio.lowlevel.checkpoint()


async def send_request(stdin: ByteSendStream, request: bytes) -> None:
    """Send all of `request` and close `stdin`; a process that does not read misses it."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await stdin.send(request)
    await stdin.aclose()


async def keep_tail(
    stderr: ByteReceiveStream, tail: bytearray, most_bytes: int, most_read_bytes: float = math.inf
) -> bool:
    """Keep the last bytes of `stderr` in `tail`; return False at once if there are more than may be read."""
    read = 0
    async for chunk in stderr:
        tail += chunk
        del tail[:-most_bytes]
        read += len(chunk)
        if read > most_read_bytes:
            return False
    return True


async def wait_for_exit(process: Process) -> None:
    """Return when the process itself has exited; `wait` also waits for others that hold its pipes open."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # not on this system
        await process.wait()
        return
    try:
        await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)


def signal_group(process: Child, number: signal.Signals) -> None:
    """Send a signal to all remaining processes of the group."""
    with suppress(ProcessLookupError, PermissionError):  # denied: on macOS, when only zombies are left in it
        os.killpg(process.pid, number)


async def end_process(process: Child, grace_seconds: float, *, gently: bool = False) -> None:
    """Wait for the process to exit: on its own if `gently`, then by SIGTERM, then by SIGKILL."""
    signals = (None, signal.SIGTERM, signal.SIGKILL) if gently else (signal.SIGTERM, signal.SIGKILL)
    for number in signals:
        if process.returncode is not None:
            return
        if number is not None:
            signal_group(process, number)
        # Bounded even after SIGKILL: a process stuck reading a dead network share dies when the share does.
        with anyio.move_on_after(grace_seconds):
            await process.wait()
