"""Accepts connections from a listening socket while there is room for them.

asyncio's own server accepts every connection, and logs 2,048 errors a second when no file descriptor is left.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from vvwatch.core.connections import network_of
from vvwatch.daemon.serving.connections import TLS_FAILED, Connections
from vvwatch.daemon.serving.protocol import HttpConnection, MakeConnection, build_response

_AT_ONCE: Final = 64
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS: Final = 1.0
_SHORT_PAUSE_SECONDS: Final = 0.1
_TLS_CLOSING_SECONDS: Final = 5.0
_RETRY_AFTER_SECONDS: Final = 5


class Acceptor:
    """Gives each connection of `listener` to the protocol of `make`, which gets the client's network (`network_of`)."""

    def __init__(
        self,
        listener: socket.socket,
        make: MakeConnection,
        connections: Connections,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._listener = listener
        self._make = make
        self._connections = connections
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._resuming: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Start accepting."""
        self._loop.add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Stop accepting, and end handshakes under way."""
        self._loop.remove_reader(self._listener)
        if self._resuming is not None:
            self._resuming.cancel()
        for task in self._opening:
            task.cancel()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _SHORTAGES:  # of that one connection, which is over
                    continue
                self._wait(error)
                return
            self._take(client, address[0])

    def _wait(self, error: OSError) -> None:
        """Make room and try again later: nothing can be accepted now."""
        seconds = _SHORT_PAUSE_SECONDS if self._connections.meet_shortage(error) else _PAUSE_SECONDS
        self._loop.remove_reader(self._listener)
        self._resuming = self._loop.call_later(seconds, self.start)

    def _take(self, client: socket.socket, host: str) -> None:
        connection = self._make(network_of(host))
        if not self._connections.admit(connection):
            self._turn_away(client)
            return
        client.setblocking(False)
        connection.opening = task = self._loop.create_task(self._open(client, connection))
        self._opening.add(task)
        task.add_done_callback(partial(self._finish_handshake, client, connection))

    async def _open(self, client: socket.socket, connection: HttpConnection) -> None:
        seconds = None if self._tls is None else self._connections.timeouts.head_seconds
        await self._loop.connect_accepted_socket(
            lambda: connection,
            client,
            ssl=self._tls,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=None if self._tls is None else _TLS_CLOSING_SECONDS,
        )

    def _finish_handshake(
        self, client: socket.socket, connection: HttpConnection, task: asyncio.Task[Any]
    ) -> None:
        """Handle an opened connection or a failed handshake."""
        self._opening.discard(task)
        connection.opening = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, OSError):
            self._connections.note_end(connection, TLS_FAILED, error)
        if not connection.is_made:
            client.close()
            self._connections.leave(connection)

    def _turn_away(self, client: socket.socket) -> None:
        """Answer why, if that needs no handshake, and close."""
        with client, suppress(OSError):
            client.setblocking(False)
            if self._tls is None:
                client.send(
                    build_response(
                        HTTPStatus.SERVICE_UNAVAILABLE,
                        "too_many_connections",
                        "the server has as many connections as it takes",
                        "try again later, or close connections that you do not use",
                        _RETRY_AFTER_SECONDS,
                    )
                )
