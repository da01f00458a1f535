"""Resumable uploads to a service that is as strict as Google's, and as free to keep only some of what it is sent."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from aiohttp import web

from tests.providers.gcs.gcs_places import LISTING, UPLOADS, adapter, serving
from vvwatch.errors import ObjectExists, StorageError, StorageUnavailable

pytestmark = pytest.mark.anyio

QUANTUM = 256 << 10
PART = 8 << 20


CUT, SILENCE = 0, -1


class Event(NamedTuple):
    """What happens to a part: how much of it is kept, and what is answered; None is the usual answer."""

    kept_bytes: int = PART
    status: int | None = None


class Uploads:
    """One upload. `events` befall the parts, in their order."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.kept = bytearray()
        self.given_up = False
        self.received = anyio.Event()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2 * PART)
        app.router.add_get(LISTING + "/{key}", self.absent)
        app.router.add_post(UPLOADS, self.begin)
        app.router.add_put(UPLOADS, self.put)
        app.router.add_delete(UPLOADS, self.give_up)
        return app

    async def absent(self, request: web.Request) -> web.Response:
        return web.Response(status=404, text="No such object")

    async def begin(self, request: web.Request) -> web.Response:
        assert request.query["ifGenerationMatch"] == "0"
        self.total = int(request.headers["X-Upload-Content-Length"])
        # The host is not the one that was configured, and must not be asked.
        return web.Response(headers={"Location": f"http://127.0.0.1:9{UPLOADS}?upload_id=secret"})

    async def give_up(self, request: web.Request) -> web.Response:
        self.given_up = True
        return web.Response(status=499)

    async def put(self, request: web.Request) -> web.Response:
        assert request.query == {"upload_id": "secret"}
        stretch = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)", request.headers["Content-Range"])
        assert stretch
        assert int(stretch[3]) == self.total
        data = await request.read()
        event = self.events.pop(0) if self.events and data else Event()
        if data:
            self.take(data, int(stretch[1]), int(stretch[2]), event)
        if event.status == SILENCE:
            self.received.set()
            await anyio.sleep_forever()
        if event.status == CUT and request.transport:
            request.transport.abort()
        return web.Response(status=event.status) if event.status is not None else self.state()

    def take(self, data: bytes, first: int, last: int, event: Event) -> None:
        assert first == len(self.kept)
        assert last - first + 1 == len(data)
        assert len(data) % QUANTUM == 0 or last + 1 == self.total
        self.kept += data[: event.kept_bytes]

    def state(self) -> web.Response:
        if len(self.kept) == self.total:
            return web.json_response({})
        return web.Response(
            status=308, headers={"Range": f"bytes=0-{len(self.kept) - 1}"} if self.kept else {}
        )


async def upload(uploads: Uploads, folder: Path, data: bytes) -> None:
    (folder / "source").write_bytes(data)
    async with serving(uploads.app()) as url, adapter(folder, url) as storage:
        await storage.create("a.bin", folder / "source", len(data), "00", "video/mp4")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vvwatch.providers.gcs.session._PAUSES_SECONDS", (0, 0))


@pytest.mark.parametrize(
    "events",
    [
        [],
        [Event(kept_bytes=QUANTUM)],
        [Event(kept_bytes=0), Event(kept_bytes=0), Event(), Event(kept_bytes=3 * QUANTUM)],
        [Event(kept_bytes=0, status=503), Event(kept_bytes=QUANTUM, status=500)],
        [Event(), Event(), Event(status=503)],
        [Event(kept_bytes=QUANTUM, status=CUT), Event(status=CUT)],
        [Event(kept_bytes=0, status=401)],
    ],
    ids=["all kept", "some kept", "none kept", "refused", "answer lost at the end", "cut", "token refused"],
)
async def test_an_upload_goes_on_from_where_the_service_is(tmp_path: Path, events: list[Event]) -> None:
    data = os.urandom(2 * PART + 12_345)
    uploads = Uploads(events)
    await upload(uploads, tmp_path, data)
    assert bytes(uploads.kept) == data
    assert not uploads.given_up


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([Event(kept_bytes=0)] * 20, StorageUnavailable),
        ([Event(), Event(status=410)], StorageUnavailable),
        ([Event(), Event(status=404)], StorageUnavailable),
        ([Event(), Event(status=412)], ObjectExists),
        ([Event(status=400)], StorageError),
    ],
    ids=["standstill", "gone", "not found", "made by another", "refused"],
)
async def test_an_upload_that_fails_is_given_up(
    tmp_path: Path, events: list[Event], error: type[StorageError]
) -> None:
    uploads = Uploads(list(events))
    with pytest.raises(error) as caught:
        await upload(uploads, tmp_path, bytes(PART + 1))
    assert type(caught.value) is error
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"
    assert uploads.given_up


async def test_an_upload_that_is_cancelled_is_given_up(tmp_path: Path) -> None:
    uploads = Uploads([Event(status=SILENCE)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upload, uploads, tmp_path, bytes(PART + 1))
        await uploads.received.wait()
        tasks.cancel_scope.cancel()
    assert uploads.given_up
