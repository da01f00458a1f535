"""A TCP proxy on loopback that fails on demand: cuts, resets, freezes and delays what passes through."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self

LOOPBACK = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)  # lingering for no time: closing is a reset


def free_port() -> int:
    """Return a port on loopback that nothing listens on, below the range clients are given.

    Else a client may hold it when its server comes back: at worst one that called until it met itself.
    """
    while True:
        port = random.SystemRandom().randrange(15000, 32000)  # parallel test runs share a seed
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return port


class FaultProxy:
    """Forwards each connection made to `address` to `upstream` (host, port), as long as it is whole.

    Its methods may be called from any thread, also from inside a running event loop, and have had their
    effect on return. `delay_seconds` holds up each piece of data (at most 64 KiB), in both directions.
    """

    def __init__(self, upstream: tuple[str, int], *, delay_seconds: float = 0.0) -> None:
        self.upstream = upstream
        self.delay_seconds = delay_seconds
        self.accepted = 0
        self.address = (LOOPBACK, free_port())
        self._server: asyncio.Server | None = None
        self._streams: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._flowing = asyncio.Event()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy")
        self._thread.start()
        try:
            self.mend()
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._end_loop()

    @property
    def open_connections(self) -> int:
        """How many clients are connected now; `accepted` counts all there ever were."""
        return len(self._streams)

    def mend(self) -> None:
        """Undo `cut` and `freeze`: new connections are taken, what was held back flows on."""
        self._run(self._mend())

    def freeze(self) -> None:
        """Pass nothing on, not even an end, until `mend`; new connections are taken and get no answer."""
        self._run(self._freeze())

    def reset_all(self) -> None:
        """Reset the connections of now, on both sides; new ones are taken as before."""
        self._run(self._reset_all())

    def cut(self) -> None:
        """Reset the connections of now and refuse new ones until `mend`."""
        self._run(self._cut())

    def _run(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(10)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _mend(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, *self.address)
        self._flowing.set()

    async def _freeze(self) -> None:
        self._flowing.clear()

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset_all()

    async def _reset_all(self) -> None:
        for task in (tasks := list(self._streams)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        writers = self._streams[task] = [writer]
        try:
            await self._forward(reader, writers)
        except* (OSError, asyncio.CancelledError):  # the reset of one side becomes the other's
            self._reset(writers)
        finally:
            del self._streams[task]

    async def _forward(self, reader: asyncio.StreamReader, writers: list[asyncio.StreamWriter]) -> None:
        if self._server is None:  # it was in the queue as the line was cut
            raise ConnectionResetError
        await self._flowing.wait()
        upstream_reader, upstream_writer = await asyncio.open_connection(*self.upstream)
        writers.append(upstream_writer)
        async with asyncio.TaskGroup() as pumps:
            pumps.create_task(self._pump(reader, upstream_writer))
            pumps.create_task(self._pump(upstream_reader, writers[0]))
        for writer in writers:
            writer.close()
            await writer.wait_closed()

    @staticmethod
    def _reset(writers: list[asyncio.StreamWriter]) -> None:
        for writer in writers:
            with suppress(OSError):  # closed already
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes until its end; the other direction may go on (a half-closed connection)."""
        while data := await reader.read(65536):
            await asyncio.sleep(self.delay_seconds)
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        await self._flowing.wait()
        writer.write_eof()
