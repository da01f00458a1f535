"""Server-sent events: the events of webhooks for clients that keep a connection open.

Each event has an id; a client that sends the last one (Last-Event-ID) resumes after it, without gaps or duplicates,
also after a restart or at another replica. If those events are no longer kept, the stream begins with the event
`reset`: the client has missed events and must read the resources themselves. Lines without data move the id past events
that the filter drops.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final

import anyio
from fastapi import Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from vvwatch.api.http.auth import authorize, require, resource_router
from vvwatch.api.http.broadcast import Broadcast
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.streams import with_timeout
from vvwatch.api.http.wire import USER_ID, Resource, to_iso
from vvwatch.core.events import EVENT_TYPES, canonical_json
from vvwatch.core.keys import Scope
from vvwatch.errors import InvalidInput, VvwatchError
from vvwatch.store.delivery import feed
from vvwatch.store.delivery.feed import FIRST, position_of
from vvwatch.store.models.delivery import Event

router = resource_router("events")

_PATH: Final = "/processing/events/stream"
_RETRY_MILLISECONDS: Final = 2_000
_HEARTBEAT_SECONDS: Final = 15.0
_STALLED_SECONDS: Final = 30.0
_MAX_IDS: Final = 100


class StreamedEvent(Resource):
    """An event, as the data of a server-sent event; `payload` is the `data` of webhooks."""

    event_id: str
    event_type: str
    user_id: str
    run_id: str | None
    video_id: str | None
    segment_id: str | None
    index_id: str | None
    created_at: str | None
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _EventFilter:
    """The filter of a stream; None or empty means no restriction."""

    run_id: str | None
    index_id: str | None
    video_ids: frozenset[str]
    event_types: frozenset[str]

    def covers(self, row: Event) -> bool:
        """Return whether this event passes the filter."""
        data = row.data or {}
        return (
            (not self.event_types or row.type in self.event_types)
            and (self.index_id is None or row.index_id == self.index_id)
            and (self.run_id is None or data.get("run_id") == self.run_id)
            and (not self.video_ids or data.get("video_id") in self.video_ids)
        )


class _EventStream(StreamingResponse):
    """Registers as a listener while open, and ends when its client reads nothing for too long."""

    media_type = "text/event-stream"

    def __init__(
        self, lines: AsyncIterator[bytes], broadcast: Broadcast, context: ApiContext, key_id: str
    ) -> None:
        super().__init__(lines, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._broadcast = broadcast
        self._database = context.database
        self._key_id = key_id

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        with self._broadcast.register_listener(self._database, self._key_id):
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        with suppress(TimeoutError):
            await super().stream_response(with_timeout(send, _STALLED_SECONDS))


def _split_ids(given: list[str] | None) -> frozenset[str]:
    """Return the values of a parameter, given with commas or repeated."""
    found = frozenset(text for each in given or () for text in each.split(",") if text)
    if len(found) > _MAX_IDS:
        raise InvalidInput(f"more than {_MAX_IDS} values", "give fewer, or omit the filter")
    return found


def _check_types(event_types: frozenset[str]) -> frozenset[str]:
    unknown = sorted(event_types - set(EVENT_TYPES))
    if unknown:
        raise InvalidInput(f"there is no event {unknown[0]!r}", "GET /api/v2/webhooks/events lists them")
    return event_types


@router.get(
    _PATH,
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events as they happen, until either side closes the connection.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
    **require(Scope.READ),
)
async def stream_events(
    request: Request,
    context: Context,
    run_id: Annotated[str | None, Query(max_length=200, description="only events of this prompt run")] = None,
    index_id: Annotated[str | None, Query(max_length=200, description="only events of this index")] = None,
    video_ids: Annotated[list[str] | None, Query(description="only events of these media")] = None,
    event_types: Annotated[list[str] | None, Query(description="only these events")] = None,
    batch_size: Annotated[int, Query(ge=1, le=500, description="how many to read at once")] = 100,
    last_event_id: Annotated[str, Header(max_length=200, description="resume after this event")] = "",
) -> StreamingResponse:
    """Stream events as text/event-stream; each event's data is a JSON object. Only opening a stream counts as a
    request.

    An API key may keep 100 streams open, unless the server sets another limit; one more answers 429.
    """
    types = _check_types(_split_ids(event_types))
    wanted = _EventFilter(run_id or None, index_id or None, _split_ids(video_ids), types)
    stream = _Stream(request, context, wanted, batch_size)
    beginning = await stream.begin(last_event_id)
    return _EventStream(stream.lines(beginning), stream.broadcast, context, request.state.key_id)


class _Stream:
    """One open stream."""

    def __init__(self, request: Request, context: ApiContext, wanted: _EventFilter, batch_size: int) -> None:
        self.broadcast: Broadcast = request.app.state.broadcast
        self._request = request
        self._context = context
        self._wanted = wanted
        self._batch_size = batch_size
        self._position = FIRST
        self._reported = FIRST

    async def begin(self, last_event_id: str) -> bytes:
        """Find where to start; return the first lines."""
        retry = b"retry: %d\n" % _RETRY_MILLISECONDS
        known = (
            await self._context.database.read(feed.find_position, last_event_id) if last_event_id else None
        )
        if known is not None:
            self._position = self._reported = known
            return retry + b"\n"
        self._position = (await self._context.database.read(feed.get_tail)).position
        return retry + (self._reset() if last_event_id else self._id() + b"\n")

    async def lines(self, beginning: bytes) -> AsyncIterator[bytes]:
        """Yield the stream until the server stops, the key becomes invalid, or the database fails."""
        yield beginning
        due = anyio.current_time() + _HEARTBEAT_SECONDS
        with suppress(VvwatchError):
            while not self.broadcast.closed:
                if events := await self._next():
                    yield events
                else:
                    await self.broadcast.news(self._position, due - anyio.current_time())
                if anyio.current_time() >= due and not self.broadcast.closed:
                    yield await self._heartbeat()
                    due = anyio.current_time() + _HEARTBEAT_SECONDS

    async def _next(self) -> bytes:
        """Return the next events; nothing if there are none."""
        while rows := await self.broadcast.following(
            self._context.database, self._position, self._batch_size
        ):
            self._position = position_of(rows[-1])
            if mine := [row for row in rows if self._wanted.covers(row)]:
                self._reported = position_of(mine[-1])
                return b"".join(map(_to_lines, mine))
        return b""

    async def _heartbeat(self) -> bytes:
        """Check the key and return a heartbeat.

        If the filter dropped events, it moves the id past them, so that they are not read again.
        """
        await authorize(self._request, Scope.READ, counted=False)
        return b": \n\n" if self._reported == self._position else self._id() + b"\n"

    def _id(self) -> bytes:
        self._reported = self._position
        return b"id: %s\n" % self._position.event_id.encode()

    def _reset(self) -> bytes:
        said = {
            "message": "events since your last event are no longer kept",
            "hint": "read the resources themselves; new events follow",
        }
        return b"event: reset\n" + self._id() + b"data: %s\n\n" % canonical_json(said)


def _to_lines(row: Event) -> bytes:
    return b"id: %s\ndata: %s\n\n" % (row.id.encode(), canonical_json(to_response(row).model_dump()))


def to_response(row: Event) -> StreamedEvent:
    """Return the event as a response."""
    data = row.data or {}
    return StreamedEvent(
        event_id=row.id,
        event_type=row.type,
        user_id=USER_ID,
        run_id=data.get("run_id"),
        video_id=data.get("video_id"),
        segment_id=data.get("segment_id"),
        index_id=row.index_id,
        created_at=to_iso(row.created_at),
        payload=data,
    )
