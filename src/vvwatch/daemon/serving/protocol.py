"""One HTTP/1.1 connection by uvicorn and h11, with limits on how long a client may take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from time import time
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from vvwatch.core.events import to_iso
from vvwatch.daemon.serving.connections import BODY_LATE, HEAD_LATE, NOT_HTTP, READER_LATE, Connections

MakeConnection = Callable[[str], "HttpConnection"]

PIECE_BYTES: Final = 32 << 10
"""How much is parsed at once: a body of one-byte chunks costs 4 µs a byte, and a read has up to 256 KiB."""


def build_response(
    status: HTTPStatus, code: str, message: str, hint: str, retry_after: int | None = None
) -> bytes:
    """Return a whole answer in the API's error envelope that closes the connection."""
    error: dict[str, Any] = {"code": code, "message": message, "details": {"hint": hint}, "request_id": ""}
    error["timestamp"] = to_iso(time())
    pause = {} if retry_after is None else {"retry_after": retry_after}
    body = json.dumps({"error": error | pause, "request_id": ""}).encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *([] if retry_after is None else [f"retry-after: {retry_after}"]),
        "connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Flow(FlowControl):
    """Parses received bytes before it reads more."""

    def __init__(self, transport: asyncio.Transport, resume: Callable[[], None]) -> None:
        super().__init__(transport)
        self._resume = resume

    def resume_reading(self) -> None:
        """Resume if reading is paused."""
        if self.read_paused:
            self.read_paused = False
            self._resume()


class HttpConnection(H11Protocol):
    """A connection that knows when its client is late; exists from acceptance on, before a TLS handshake."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        connections: Connections,
        network: str,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.network = network
        self.opening: asyncio.Task[Any] | None = None
        self._connections = connections
        self._seconds = connections.seconds
        now = self._seconds()
        self._head_began_at: float | None = now  # None between requests
        self._received_at = now
        self._taken_at = now
        self._pending_bytes = 0
        self._is_asked = False
        self._unparsed = b""

    @property
    def is_made(self) -> bool:
        """Return whether bytes can be exchanged: a TLS handshake is over."""
        return self.transport is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._connections.leave(self)
        super().connection_lost(exc)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Bytes can be exchanged."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self._resume)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._unparsed:
            self._unparsed += data
            self.transport.pause_reading()
        elif len(data) <= PIECE_BYTES:
            self._take(data)
        else:
            self._unparsed = data
            self._parse()

    def _take(self, piece: bytes) -> None:
        now = self._received_at = self._seconds()
        if self._head_began_at is None and not self._is_asked:
            self._head_began_at = now
        super().data_received(piece)
        self._note(now)

    def _parse(self) -> None:
        """Parse a piece of the input, then give others their turn; read nothing more until then."""
        if self.transport.is_closing():
            self._unparsed = b""
        if not self._unparsed or self.flow.read_paused:
            return
        piece, self._unparsed = self._unparsed[:PIECE_BYTES], self._unparsed[PIECE_BYTES:]
        self._take(piece)
        if self._unparsed:
            self.transport.pause_reading()
            if not self.flow.read_paused:
                self.loop.call_soon(self._parse)
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    def _resume(self) -> None:
        if self._unparsed:
            self.loop.call_soon(self._parse)
        else:
            self.transport.resume_reading()

    def on_response_complete(self) -> None:
        """Note the end of an answer; the next request may be there already."""
        super().on_response_complete()
        self._is_asked = False
        self._head_began_at = now = self._seconds()
        self._connections.note_answered(self)
        if not self.conn.trailing_data[0]:
            self._head_began_at = None
        self._note(now)

    def _note(self, now: float) -> None:
        """Note that a request has begun."""
        # None before the first request, whatever uvicorn says
        if self.cycle is None or self._is_asked:  # type: ignore[redundant-expr]
            return
        if not self.cycle.response_complete:
            self._is_asked = True
            self._received_at = now
            self._head_began_at = None
            self._connections.note_request(self)

    def resume_writing(self) -> None:
        """Continue: the client has taken most of the output."""
        self._taken_at = self._seconds()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Reject bytes that are not HTTP; in the middle of an answer just close."""
        self._connections.note_end(self, NOT_HTTP)
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.abort()

    def overdue(self, now: float) -> str:
        """Return the time limit exceeded at the monotonic moment `now`; empty for none."""
        timeouts = self._connections.timeouts
        if self.is_made and self._takes_nothing(now):
            return READER_LATE
        if self.is_made and self.transport.is_closing():
            return ""
        if self._is_asked:
            return BODY_LATE if self._body_stalls(now) else ""
        if self._head_began_at is None:  # uvicorn ends what stays idle
            return ""
        is_drained = self.conn.their_state is h11.IDLE
        limit = timeouts.head_seconds if is_drained else timeouts.body_seconds
        return HEAD_LATE if now - self._head_began_at > limit else ""

    def _takes_nothing(self, now: float) -> bool:
        """Return whether the client has taken nothing of the output for too long."""
        pending = self._pending()
        if pending == 0 or pending < self._pending_bytes:
            self._taken_at = now
        self._pending_bytes = pending
        return now - self._taken_at > self._connections.timeouts.reader_seconds

    def _pending(self) -> int:
        try:
            return self.transport.get_write_buffer_size()
        except AttributeError:  # asyncio's TLS transport forgets its parts when it is closed twice
            return 0

    def _body_stalls(self, now: float) -> bool:
        """Return whether the application reads a body that sends nothing."""
        cycle = self.cycle
        if not cycle.more_body:
            return False
        if self.flow.read_paused or cycle.waiting_for_100_continue:
            self._received_at = now
        return now - self._received_at > self._connections.timeouts.body_seconds

    def end(self, reason: str) -> None:
        """Answer with 408 where nothing of an answer was sent, and close; close at once where that cannot help."""
        if reason == READER_LATE or not self._may_answer():
            self.drop()
            return
        what = "body" if reason == BODY_LATE else "head"
        self.transport.write(
            build_response(
                HTTPStatus.REQUEST_TIMEOUT,
                "request_timeout",
                f"the {what} of the request stopped arriving",
                "send it again, without pauses",
            )
        )
        self.transport.close()

    def _may_answer(self) -> bool:
        """Return whether a request, or a part of its head, is unanswered."""
        if not self.is_made:
            return False
        if self._is_asked:
            return not self.cycle.response_started and self.conn.our_state is h11.SEND_RESPONSE
        return self.conn.our_state is h11.IDLE and bool(self.conn.trailing_data[0])

    def drop(self) -> None:
        """Close at once, also in the middle of a TLS handshake."""
        if self.is_made:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()
