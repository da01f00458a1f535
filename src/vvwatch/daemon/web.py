"""uvicorn inside our task group: our signals, our socket, our shutdown."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import anyio
import anyio.abc
import uvicorn
from fastapi import FastAPI

_GRACEFUL_SECONDS = 5
_POLL_SECONDS = 0.01


class _Server(uvicorn.Server):
    """uvicorn installs signal handlers of its own and has no switch for it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free one. Raises OSError.

    The protocol is named because asyncio turns Nagle's delay off only where it is.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def address(listener: socket.socket) -> str:
    """The http address of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class WebServer:
    """Serves `app` on a listening socket until stopped."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        self._listener = listener
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        )
        self._server = _Server(config)
        self.ended = anyio.Event()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Serve; started when requests are answered."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._announce, task_status)
            await self._server.serve(sockets=[self._listener])
        self.ended.set()

    async def _announce(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        while not self._server.started:  # noqa: ASYNC110  # uvicorn has no event to wait for
            await anyio.sleep(_POLL_SECONDS)
        task_status.started()

    def stop(self) -> None:
        """Answer what is under way and end."""
        self._server.should_exit = True
