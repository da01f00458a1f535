"""A Pub/Sub of the tests' own: topics and subscriptions in memory, and what a bucket notifies of.

It speaks the REST interface, and of gRPC as much as fake-gcs-server needs to publish.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import threading
import time
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import pytest
from aiohttp import web

from tests.fault_proxy import LOOPBACK

PROJECT = "project"
LOOK_SECONDS = 0.01
CONSUME, GET = "pubsub.subscriptions.consume", "pubsub.subscriptions.get"


@dataclass
class Held:
    """A message of a subscription: not given to anybody before `due`, a moment of the server's clock."""

    message: dict[str, Any]
    due: float = 0.0
    receipt: str = ""


@dataclass
class Subscription:
    described: dict[str, Any]
    held: list[Held] = field(default_factory=list)


class PubSub:
    """Runs inside the `with` block, in a thread of its own; its methods may be called from any other.

    `granted` are the permissions of whoever asks, `requests` counts what was asked by verb, `longest_pull_seconds`
    is how long an empty pull is held back, `pulling` how many are. `configurations` are those of all buckets;
    `broken` is all that anybody gets. A pull whose client is gone may still take a message, as everywhere.
    """

    def __init__(self) -> None:
        self.granted = {CONSUME, GET, "storage.buckets.get", "storage.buckets.update"}
        self.requests: Counter[str] = Counter()
        self.longest_pull_seconds = 90.0
        self.configurations: list[dict[str, Any]] = []
        self.broken: tuple[int, str] | None = None
        self.pulling = 0
        self._subscriptions: dict[str, Subscription] = {}
        self._topics: set[str] = set()
        self._numbers = itertools.count(1)
        self._ahead_seconds = 0.0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pubsub")
        self._thread.start()
        self._await(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def make_topic(self) -> str:
        """Make a topic, named by its number; returns its name in full."""
        name = f"projects/{PROJECT}/topics/topic-{next(self._numbers)}"
        self._topics.add(name)
        return name

    def subscribe(self, topic: str, **described: Any) -> str:
        """Make a subscription to the topic; returns its name in full."""
        name = f"projects/{PROJECT}/subscriptions/subscription-{next(self._numbers)}"
        default = {"name": name, "topic": topic, "pushConfig": {}, "ackDeadlineSeconds": 60}
        self._subscriptions[name] = Subscription({**default, **described})
        return name

    def publish(self, topic: str, data: bytes, attributes: dict[str, str]) -> str:
        """Publish a message; returns its id."""
        number = str(next(self._numbers))
        message = {
            "data": b64encode(data).decode(),
            "attributes": attributes,
            "messageId": number,
            "publishTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        for subscription in list(self._subscriptions.values()):
            if subscription.described["topic"] == topic:
                subscription.held.append(Held(message))
        return number

    def left(self, subscription: str) -> int:
        """How many messages of a subscription nobody has acknowledged."""
        return len(self._subscriptions[subscription].held)

    def advance(self, seconds: float) -> None:
        """Move the clock that deadlines are measured by."""
        self._ahead_seconds += seconds

    def await_pulls(self, count: int) -> None:
        """Wait until so many pulls are held back."""
        deadline = time.monotonic() + 10
        while self.pulling != count:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(LOOK_SECONDS)

    def _now(self) -> float:
        return time.monotonic() + self._ahead_seconds

    def _await(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> None:
        app = web.Application(client_max_size=16 << 20)
        app.router.add_get("/v1/{name:projects/[^/:]+/subscriptions/[^/:]+}", self._describe)
        app.router.add_put("/v1/{name:projects/[^/:]+/(?:topics|subscriptions)/[^/:]+}", self._make)
        app.router.add_post("/v1/{name:projects/[^/:]+/topics/[^/:]+}:publish", self._publish)
        app.router.add_post("/v1/{name:projects/[^/:]+/subscriptions/[^/:]+}:{verb}", self._do)
        app.router.add_get("/storage/v1/b/{bucket}/notificationConfigs", self._list_configurations)
        app.router.add_post("/storage/v1/b/{bucket}/notificationConfigs", self._add_configuration)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0).start()
        host, port = self._runner.addresses[0]
        self.endpoint_url = f"http://{host}:{port}"
        self._grpc = await asyncio.start_server(self._serve_publisher, LOOPBACK, 0)
        self.grpc_address = "{}:{}".format(*self._grpc.sockets[0].getsockname()[:2])

    async def _end(self) -> None:
        self._grpc.close()
        await self._runner.cleanup()

    async def _describe(self, request: web.Request) -> web.Response:
        return self._refusal(request, GET) or web.json_response(self._found(request).described)

    async def _make(self, request: web.Request) -> web.Response:
        name, described = request.match_info["name"], await request.json()
        if "/topics/" in name:
            self._topics.add(name)
            return web.json_response({"name": name})
        self._subscriptions[name] = Subscription({"name": name, "ackDeadlineSeconds": 10, **described})
        return web.json_response(self._subscriptions[name].described)

    async def _publish(self, request: web.Request) -> web.Response:
        messages = (await request.json())["messages"]
        ids = [
            self.publish(request.match_info["name"], each["data"].encode(), each.get("attributes", {}))
            for each in messages
        ]
        return web.json_response({"messageIds": ids})

    async def _do(self, request: web.Request) -> web.Response:
        verb, content = request.match_info["verb"], await request.json()
        self.requests[verb] += 1
        if verb == "testIamPermissions":
            held = [each for each in content["permissions"] if each in self.granted]
            return web.json_response({"permissions": held} if held else {})
        if self.broken:
            return web.Response(status=self.broken[0], text=self.broken[1])
        if refusal := self._refusal(request, CONSUME):
            return refusal
        subscription = self._found(request)
        if verb == "pull":
            return web.json_response(await self._pull(subscription, content["maxMessages"]))
        receipts = set(content["ackIds"])
        live = [each for each in subscription.held if each.receipt in receipts and each.due > self._now()]
        for each in live:
            if verb == "acknowledge":
                subscription.held.remove(each)
            else:
                each.due = self._now() + content["ackDeadlineSeconds"]
        return web.json_response({})

    async def _pull(self, subscription: Subscription, most: int) -> dict[str, Any]:
        self.pulling += 1
        try:
            end = time.monotonic() + self.longest_pull_seconds
            while not (given := self._given(subscription, most)) and time.monotonic() < end:  # noqa: ASYNC110  # a deadline passes without an event
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self.pulling -= 1
        return {"receivedMessages": given} if given else {}

    def _given(self, subscription: Subscription, most: int) -> list[dict[str, Any]]:
        due = [each for each in subscription.held if each.due <= self._now()][:most]
        for each in due:
            each.due = self._now() + subscription.described["ackDeadlineSeconds"]
            each.receipt = f"receipt-{next(self._numbers)}"
        return [{"ackId": each.receipt, "message": each.message} for each in due]

    async def _list_configurations(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request, "storage.buckets.get")
        return refusal or web.json_response(
            {"kind": "storage#notifications", "items": self.configurations}
            if self.configurations
            else {"kind": "storage#notifications"}
        )

    async def _add_configuration(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request, "storage.buckets.update"):
            return refusal
        made = {"id": str(next(self._numbers)), "kind": "storage#notification", **await request.json()}
        self.configurations.append(made)
        return web.json_response(made)

    def _found(self, request: web.Request) -> Subscription:
        name = request.match_info["name"]
        if name not in self._subscriptions:
            raise web.HTTPNotFound(text=_error(404, f"Resource not found (resource={name}).", "NOT_FOUND"))
        return self._subscriptions[name]

    def _refusal(self, request: web.Request, permission: str) -> web.Response | None:
        if permission in self.granted:
            return None
        text = _error(403, "User not authorized to perform this action.", "PERMISSION_DENIED")
        return web.Response(status=403, text=text, content_type="application/json")

    async def _serve_publisher(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """HTTP/2 without a look at its headers: there is one thing that a publisher calls."""
        bodies: defaultdict[int, bytes] = defaultdict(bytes)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readexactly(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            writer.write(_frame(SETTINGS, 0, 0, b""))
            while True:
                size, kind, flags, stream = _header(await reader.readexactly(9))
                payload = await reader.readexactly(size)
                if kind in (SETTINGS, PING) and not flags & ACK:
                    writer.write(_frame(kind, ACK, 0, payload if kind == PING else b""))
                if kind == DATA:
                    bodies[stream] += payload
                    if size:
                        writer.write(_frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", size)))
                    if flags & END_STREAM:
                        writer.write(self._published(stream, bodies.pop(stream)[5:]))
        writer.close()

    def _published(self, stream: int, body: bytes) -> bytes:
        """The answer to a PublishRequest: a topic (1) and messages (2) of data (1) and attributes (2)."""
        fields = list(_fields(body))
        topic = next(value for number, value in fields if number == 1).decode()
        answer = b""
        for number, message in fields:
            if number == 2:
                parts = list(_fields(message))
                data = b"".join(value for part, value in parts if part == 1)
                pairs = [dict(_fields(value)) for part, value in parts if part == 2]
                attributes = {pair[1].decode(): pair.get(2, b"").decode() for pair in pairs}
                answer += _field(1, self.publish(topic, data, attributes).encode())
        message = b"\0" + struct.pack(">I", len(answer)) + answer
        return (
            _frame(HEADERS, END_HEADERS, stream, STATUS_200 + _plain("content-type", "application/grpc"))
            + _frame(DATA, 0, stream, message)
            + _frame(HEADERS, END_HEADERS | END_STREAM, stream, _plain("grpc-status", "0"))
        )


DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4
STATUS_200 = b"\x88"


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _header(header: bytes) -> tuple[int, int, int, int]:
    kind, flags, stream = struct.unpack(">BBI", header[3:])
    return int.from_bytes(header[:3]), kind, flags, stream & 0x7FFFFFFF


def _plain(name: str, value: str) -> bytes:
    """A header that enters no table."""
    return bytes((0, len(name))) + name.encode() + bytes((len(value),)) + value.encode()


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a protobuf message that have a length, by their numbers; it has no others."""
    rest = message
    while rest:
        tag, rest = _varint(rest)
        size, rest = _varint(rest)
        yield tag >> 3, rest[:size]
        rest = rest[size:]


def _varint(data: bytes) -> tuple[int, bytes]:
    value = shift = 0
    for index, byte in enumerate(data):
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, data[index + 1 :]
    raise ValueError("a number has no end")


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2, len(value))) + value


def _error(status: int, message: str, code: str) -> str:
    return f'{{"error": {{"code": {status}, "message": "{message}", "status": "{code}"}}}}'


@pytest.fixture
def pubsub() -> Iterator[PubSub]:
    """A Pub/Sub of the test's own: it is there in a moment."""
    with PubSub() as server:
        yield server
