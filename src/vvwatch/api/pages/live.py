"""Tell open pages that something changed: they fetch themselves again. Nothing runs while no page is open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import anyio
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from vvwatch.api.http.broadcast import Broadcast
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.streams import with_timeout
from vvwatch.api.pages.access import Page, page_router
from vvwatch.api.pages.sessions import find_session
from vvwatch.errors import VvwatchError

router = page_router()

_LOOK_SECONDS: Final = 1.0
_OTHER_NODES_SECONDS: Final = 2.0  # their changes cannot be seen from here
_HEARTBEAT_SECONDS: Final = 15.0
_STALLED_SECONDS: Final = 30.0
_MOST_STREAMS: Final = 50
_FIRST: Final = b"retry: 2000\ndata: open\n\n"
_CHANGED: Final = b"data: changed\n\n"


class OpenPages:
    """How many pages listen: a forgotten wall of tabs must not take all connections."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count one while the block runs."""
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class _Stream(StreamingResponse):
    """Counts as open while it is served, and ends when its client reads nothing for too long."""

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncIterator[bytes], opened: OpenPages) -> None:
        super().__init__(lines, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._opened = opened

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        with self._opened.counted():
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        with suppress(TimeoutError):
            await super().stream_response(with_timeout(send, _STALLED_SECONDS))


@router.get("/live")
async def stream_changes(page: Page) -> Response:
    """Send a line when something changed, at most one a second, until the session or the server ends."""
    opened: OpenPages = page.request.app.state.open_pages
    if opened.count >= _MOST_STREAMS:
        what = f"{_MOST_STREAMS} pages listen for changes, which is the limit"
        raise ApiError(429, "too_many_streams", what, "close pages that nobody looks at")
    return _Stream(_lines(page.request), opened)


async def _lines(request: Request) -> AsyncIterator[bytes]:
    context: ApiContext = request.app.state.context
    broadcast: Broadcast = request.app.state.broadcast
    seen, checked_at = context.database.traffic.transactions, anyio.current_time()
    hinted_at = checked_at
    yield _FIRST
    while not broadcast.closed:
        await anyio.sleep(_LOOK_SECONDS)
        now, newest = anyio.current_time(), context.database.traffic.transactions
        if now - checked_at >= _HEARTBEAT_SECONDS:
            if not await _is_open(request):
                return
            checked_at = now
            yield b": \n\n"
        due = now - hinted_at >= (_OTHER_NODES_SECONDS if context.settings.node else _HEARTBEAT_SECONDS)
        if newest != seen or due:
            seen, hinted_at = newest, now
            yield _CHANGED


async def _is_open(request: Request) -> bool:
    """Return whether the session still lasts; a database that fails for a while ends nothing."""
    try:
        return await find_session(request) is not None
    except VvwatchError:
        return True
