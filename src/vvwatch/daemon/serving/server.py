"""uvicorn inside our task group, with our signals, socket and shutdown."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Iterator, Sequence

import anyio
import anyio.abc
import uvicorn
from fastapi import FastAPI

from vvwatch.daemon.serving.acceptor import Acceptor
from vvwatch.daemon.serving.connections import Connections
from vvwatch.daemon.serving.listening import Tls
from vvwatch.daemon.serving.protocol import HttpConnection
from vvwatch.errors import VvwatchError

_GRACEFUL_SECONDS = 5
_POLL_SECONDS = 0.01


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which it cannot disable, and with our acceptor."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, connections: Connections) -> None:
        super().__init__(config)
        self._listener = listener
        self._connections = connections

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # as uvicorn calls it
        """Start accepting connections."""
        await self.lifespan.startup()
        self.servers = []
        self._acceptor = Acceptor(self._listener, self._connection, self._connections, self.config.ssl)
        self._acceptor.start()
        self.started = True

    def _connection(self, network: str) -> HttpConnection:
        state = self.server_state, self.lifespan.state
        return HttpConnection(self.config, *state, self._connections, network)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end; called ten times a second."""
        self._connections.sweep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, and end when running requests are answered."""
        self._acceptor.stop()
        await super().shutdown(sockets)


class WebServer:
    """Serves `app` on a listening socket until stopped. Raises VvwatchError if its certificate is unusable.

    Believes X-Forwarded-For and X-Forwarded-Proto of `trusted_proxies`, which are addresses and networks.
    """

    def __init__(
        self,
        app: FastAPI,
        listener: socket.socket,
        tls: Tls | None,
        connections: Connections,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._listener = listener
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",  # an upgraded connection would leave our limits behind
            timeout_keep_alive=math.ceil(connections.timeouts.idle_seconds),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
        )
        try:
            _configure_uvicorn(config, tls)
        except VvwatchError:
            listener.close()
            raise
        self._server = _Server(config, listener, connections)
        self.ended = anyio.Event()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Serve; reports started when it answers requests."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._announce, task_status)
            await self._server.serve(sockets=[self._listener])
        self.ended.set()

    async def _announce(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        while not self._server.started:  # noqa: ASYNC110  # uvicorn has no event to wait for
            await anyio.sleep(_POLL_SECONDS)
        task_status.started()

    def stop(self) -> None:
        """Answer running requests and end; endless streams end now."""
        self._app.state.broadcast.close()
        self._server.should_exit = True


def _configure_uvicorn(config: uvicorn.Config, tls: Tls | None) -> None:
    try:
        config.load()
    except OSError as error:  # those of TLS, too
        raise VvwatchError(
            f"cannot use the certificate {tls and tls.certificate}: {error.strerror or type(error).__name__}",
            "tls_certificate and tls_key under [api] are PEM files that belong together and open without a pass phrase",
        ) from error
