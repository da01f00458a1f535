"""uvicorn inside our task group: our signals, our socket, our shutdown."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc
import uvicorn
from fastapi import FastAPI

from vvwatch.errors import VvwatchError

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


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a certificate and its key, as PEM."""

    certificate: Path
    key: Path


def address(listener: socket.socket, tls: Tls | None) -> str:
    """The address of a listening socket."""
    host, port = listener.getsockname()[:2]
    scheme = "http" if tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class WebServer:
    """Serves `app` on a listening socket until stopped. Raises VvwatchError when its certificate cannot be used."""

    def __init__(self, app: FastAPI, listener: socket.socket, tls: Tls | None) -> None:
        self._app = app
        self._listener = listener
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
        )
        try:
            _load(config, tls)
        except VvwatchError:
            listener.close()
            raise
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
        """Answer what is under way and end; streams, which have no end of their own, end now."""
        self._app.state.broadcast.close()
        self._server.should_exit = True


def _load(config: uvicorn.Config, tls: Tls | None) -> None:
    try:
        config.load()
    except OSError as error:  # those of TLS, too
        raise VvwatchError(
            f"cannot use the certificate {tls and tls.certificate}: {error.strerror or type(error).__name__}",
            "tls_certificate and tls_key under [api] are PEM files that belong together and open without a pass phrase",
        ) from error
