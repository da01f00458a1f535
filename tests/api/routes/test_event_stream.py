"""The stream of events over a real server: what it tells, whom, and how it goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import anyio
import httpx2
import pytest
import sqlalchemy as sa

from tests.api.asking import ADMIN_KEY, Api, key_with
from tests.api.serving import PATH, Server, listening, served
from vvwatch.api.http import broadcast
from vvwatch.api.http.context import ApiContext
from vvwatch.api.routes import event_stream
from vvwatch.core.keys import Scope
from vvwatch.core.rate_limits import Limits
from vvwatch.store.admin import keys
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.delivery.events import announce
from vvwatch.store.schema import events

pytestmark = pytest.mark.anyio


def tell(tx: Tx, *subjects: str, event_type: str = "media.created", index_id: str = "idx_1") -> None:
    for subject in subjects:
        announce(tx, event_type, subject, index_id, {"video_id": subject, "run_id": f"run_{subject}"})


@pytest.fixture
async def server(context: ApiContext) -> AsyncIterator[Server]:
    await context.database.write(keys.seed_admin, ADMIN_KEY)
    async with served(context) as server:
        yield server


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats every fifth of a second."""
    monkeypatch.setattr(event_stream, "_HEARTBEAT_SECONDS", 0.2)


async def test_an_event_comes_as_soon_as_it_is_committed(server: Server, database: Database) -> None:
    async with listening(server.url) as listener:
        await listener.next()
        await database.write(tell, "a")
        with anyio.fail_after(30):
            message = await listener.next_data()
    told = json.loads(message.data)
    assert message.event == "message"
    assert message.id == told["event_id"]
    assert {
        name: told[name] for name in ("event_type", "user_id", "run_id", "video_id", "segment_id", "index_id")
    } == {
        "event_type": "media.created",
        "user_id": "user_local",
        "run_id": "run_a",
        "video_id": "a",
        "segment_id": None,
        "index_id": "idx_1",
    }
    assert told["payload"] == {"video_id": "a", "run_id": "run_a"}
    assert told["created_at"].endswith("Z")


async def test_a_stream_begins_with_what_happens_from_now_on(server: Server, database: Database) -> None:
    await database.write(tell, "before")
    async with listening(server.url) as listener:
        await listener.next()
        await database.write(tell, "after")
        assert json.loads((await listener.next_data()).data)["video_id"] == "after"


async def test_from_the_very_first_line_on_nothing_is_missed(server: Server, database: Database) -> None:
    async with listening(server.url) as listener:
        await listener.next()
    assert listener.last_id
    await database.write(tell, "meanwhile")
    async with listening(server.url, listener.last_id) as again:
        assert json.loads((await again.next_data()).data)["video_id"] == "meanwhile"


@pytest.mark.parametrize("batch_size", [1, 7, 500])
async def test_whoever_comes_back_again_and_again_hears_each_event_once(
    server: Server, database: Database, batch_size: int
) -> None:
    wanted = [f"v{number}" for number in range(30)]
    async with listening(server.url) as listener:
        await listener.next()
        last_id = listener.last_id
    heard: list[str] = []
    for subject in wanted:
        await database.write(tell, subject)
    while len(heard) < len(wanted):
        async with listening(server.url, last_id, batch_size=batch_size) as listener:
            count = min(11, len(wanted) - len(heard))
            heard += [json.loads((await listener.next_data()).data)["video_id"] for _ in range(count)]
            last_id = listener.last_id
    assert heard == wanted


async def test_a_restart_loses_and_doubles_nothing(context: ApiContext, database: Database) -> None:
    await database.write(keys.seed_admin, ADMIN_KEY)
    async with served(context) as server, listening(server.url) as listener:
        await listener.next()
        await database.write(tell, "a", "b")
        assert json.loads((await listener.next_data()).data)["video_id"] == "a"
    await database.write(tell, "c")
    async with served(context) as server, listening(server.url, listener.last_id) as again:
        await database.write(tell, "d")
        heard = [json.loads((await again.next_data()).data)["video_id"] for _ in range(3)]
    assert heard == ["b", "c", "d"]


@pytest.mark.parametrize(
    "params",
    [
        {"run_id": "run_b"},
        {"index_id": "idx_2"},
        {"video_ids": "x,b"},
        {"video_ids": ["x", "b"]},
        {"event_types": "export.ready,media.processing.failed"},
    ],
    ids=str,
)
async def test_filters_leave_out_what_is_not_asked_for(
    server: Server, database: Database, params: dict[str, str]
) -> None:
    async with listening(server.url, **params) as listener:
        await listener.next()
        await database.write(tell, "a", "c")
        await database.write(tell, "b", event_type="media.processing.failed", index_id="idx_2")
        assert json.loads((await listener.next_data()).data)["video_id"] == "b"


@pytest.mark.usefixtures("hasty")
async def test_heartbeats_move_the_id_past_what_was_left_out(server: Server, database: Database) -> None:
    async with listening(server.url, run_id="run_b") as listener:
        before = (await listener.next()).id
        await database.write(tell, "a")
        while (message := await listener.next()).id in {None, before}:
            pass
        assert not message.data
        assert (await listener.next()).comment
    async with listening(server.url, listener.last_id) as again:
        await again.next()
        await database.write(tell, "c")
        assert json.loads((await again.next_data()).data)["video_id"] == "c"


async def test_after_too_long_a_time_the_stream_says_that_something_is_missing(
    server: Server, database: Database
) -> None:
    await database.write(tell, "a", "b")
    first = await database.read(lambda tx: tx.execute(sa.select(sa.func.min(events.c.id))).scalar_one())
    await database.write(lambda tx: tx.execute(sa.delete(events).where(events.c.id == first)).rowcount)
    async with listening(server.url, first) as listener:
        message = await listener.next()
        assert (message.event, json.loads(message.data)["hint"][:4]) == ("reset", "read")
        await database.write(tell, "c")
        assert json.loads((await listener.next_data()).data)["video_id"] == "c"
        assert listener.last_id != first


@pytest.mark.usefixtures("hasty")
async def test_a_key_that_is_revoked_ends_its_stream(
    server: Server, context: ApiContext, database: Database
) -> None:
    key = await key_with(context, Scope.READ)
    async with listening(server.url, key=key) as listener:
        await listener.next()
        row = next(row for row in await database.read(keys.list_all) if row.scopes == ["read"])
        await database.write(keys.revoke, row.id)
        assert await listener.ends()
    async with httpx2.AsyncClient(base_url=server.url) as client:
        assert (await client.get(PATH, headers={"X-API-Key": key})).status_code == 401


async def test_a_server_that_stops_ends_its_streams_at_once(context: ApiContext, database: Database) -> None:
    await database.write(keys.seed_admin, ADMIN_KEY)
    async with served(context) as server, listening(server.url) as listener:
        await listener.next()
        began = anyio.current_time()
        server.web.stop()
        assert await listener.ends()
        await server.web.ended.wait()
        assert anyio.current_time() - began < 2


async def test_many_idle_streams_share_one_reader(
    server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(listening(server.url)) for _ in range(20)]
        for listener in listeners:
            await listener.next()
        await anyio.sleep(0.1)
        reads = 0
        honest = database.read

        async def read(*args: object, **kwargs: object) -> object:
            nonlocal reads
            reads += 1
            return await honest(*args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(database, "read", read)
        await database.write(tell, "a")
        for listener in listeners:
            assert json.loads((await listener.next_data()).data)["video_id"] == "a"
        assert reads <= 8
    with anyio.fail_after(5):
        while server.app.state.broadcast._listeners:  # noqa: ASYNC110  # the server notices on its own
            await anyio.sleep(0.01)


async def test_more_than_is_remembered_is_read_from_the_database(
    server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.app.state.broadcast._recent = type(server.app.state.broadcast._recent)(maxlen=3)
    monkeypatch.setattr(broadcast, "_MAX_REMEMBERED", 3)
    async with listening(server.url, batch_size=2) as listener:
        await listener.next()
        await database.write(tell, *(f"v{number}" for number in range(20)))
        heard = [json.loads((await listener.next_data()).data)["video_id"] for _ in range(20)]
    assert heard == [f"v{number}" for number in range(20)]


async def test_a_reader_that_takes_nothing_is_let_go(
    server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "_STALLED_SECONDS", 0.3)
    async with listening(server.url) as listener:
        await listener.next()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        headers = f"Host: {host}\r\nX-API-Key: {ADMIN_KEY}\r\nLast-Event-ID: {listener.last_id}\r\n"
        raw.sendall(f"GET {PATH} HTTP/1.1\r\n{headers}\r\n".encode())
        large = {"text": "x" * 200_000}
        for number in range(60):
            await database.write(announce, "media.created", f"large{number}", None, large)
        with anyio.fail_after(10):
            while server.app.state.broadcast._listeners:  # noqa: ASYNC110  # the server notices on its own
                await anyio.sleep(0.02)


async def test_only_opening_a_stream_is_counted(context: ApiContext, database: Database) -> None:
    await database.write(keys.seed_admin, ADMIN_KEY)
    limits = Limits.of(2, 2)
    async with served(replace(context, settings=replace(context.settings, limits=limits))) as server:
        async with listening(server.url) as listener:
            await listener.next()
            await database.write(tell, "a", "b", "c")
            for _ in range(3):
                await listener.next_data()
        async with listening(server.url) as listener:
            await listener.next()
        async with httpx2.AsyncClient(base_url=server.url) as client:
            assert (await client.get(PATH, headers={"X-API-Key": ADMIN_KEY})).status_code == 429


async def test_what_cannot_be_asked_for_is_refused_before_the_stream_begins(
    server: Server, context: ApiContext, api: Api
) -> None:
    path = PATH.removeprefix("/api/v2")
    error = await api.error("GET", path, 422, params={"event_types": "media.made"})
    assert "/webhooks/events" in error["details"]["hint"]
    await api.error("GET", path, 422, params={"batch_size": 0})
    await api.error("GET", path, 422, params={"video_ids": ",".join(map(str, range(101)))})
    api.client.headers["X-API-Key"] = await key_with(context, Scope.SEARCH)
    await api.error("GET", path, 403)
