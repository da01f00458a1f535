"""A child process that another process of ours forked, with pipes, awaited without a thread."""

from __future__ import annotations

import os
from contextlib import suppress

import anyio
import anyio.lowlevel
from anyio.abc import ByteReceiveStream, ByteSendStream


class PipeReader(ByteReceiveStream):
    """Our end of a pipe that a child writes to."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)  # the system's own argument
        self._fd = fd

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """Return the next bytes. Raises EndOfStream when all writers have closed the pipe."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                chunk = os.read(self._fd, max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._fd)
                continue
            if not chunk:
                raise anyio.EndOfStream
            return chunk

    async def aclose(self) -> None:
        """Close it; do nothing if it is closed."""
        self._fd = _close(self._fd)


class PipeWriter(ByteSendStream):
    """Our end of a pipe that a child reads."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd

    async def send(self, item: bytes) -> None:
        """Write all bytes. Raises BrokenResourceError when nobody reads them, ClosedResourceError when closed."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        left = memoryview(item)
        while left:
            if self._fd < 0:
                raise anyio.ClosedResourceError
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._fd)
            except BrokenPipeError as error:
                raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        """Close it; do nothing if it is closed."""
        self._fd = _close(self._fd)


class ForkedProcess:
    """A child of this process that leads its own session. It must be waited for."""

    def __init__(self, pid: int, stdin: PipeWriter, stdout: PipeReader, stderr: PipeReader) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._status: int | None = None

    @property
    def returncode(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""
        if self._status is None:
            with suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    async def wait(self) -> int:
        """Return its exit status when it has ended."""
        while (status := self.returncode) is None:
            # It is not waited for yet, so its number is still its own.
            descriptor = os.pidfd_open(self.pid)
            try:
                await anyio.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        return status


def _close(fd: int) -> int:
    if fd >= 0:
        anyio.notify_closing(fd)
        os.close(fd)
    return -1
