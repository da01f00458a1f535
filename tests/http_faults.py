"""An HTTP proxy on loopback that fails on demand, request by request: refusals, resets, cut answers, silence."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from tests.fault_proxy import FaultProxy

FOREVER = sys.maxsize
_PIECE_BYTES = 65536
_CHUNKED, _TO_THE_END = -1, -2
_Take = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """This, in place of the server, which hears nothing of the request."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset once the request has come whole.

    With `passed_on` after the server has answered: what was asked for is done, and nobody learns of it.
    """

    passed_on: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """The server's answer ends, and the connection with it, after so many bytes of its body as it travels."""

    after_bytes: int


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer, until the client goes."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The request is held up, then passed on."""

    seconds: float


Fault = Answer | Reset | Cut | Hang | Delay


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a message: the words of its first line, its headers by lower-case name, its bytes as they came."""

    words: tuple[str, str, str]
    headers: Mapping[str, str]
    raw: bytes

    @property
    def line(self) -> str:
        """Method and target of a request, as they were sent."""
        return f"{self.words[0]} {self.words[1]}"

    def body_bytes(self, otherwise: int) -> int:
        """How long the body is; `_CHUNKED`, or `otherwise`, when the head does not say."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return _CHUNKED
        return int(self.headers.get("content-length", otherwise))


class _Enough(Exception):
    """The body has come to where it is to be cut."""


@dataclass(slots=True)
class _Rule:
    fault: Fault
    pattern: re.Pattern[str]
    skip: int
    times: int

    def takes(self, line: str) -> bool:
        """Whether the rule is for this request, which then counts."""
        if not self.times or not self.pattern.search(line):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class HttpFaultProxy(FaultProxy):
    """Forwards each HTTP/1.1 request made to `address` to `upstream` unchanged, byte for byte.

    So signatures stay valid. What `FaultProxy` does to connections can be done to these as well;
    `delay_seconds` holds up each piece of data (at most 64 KiB) of a message. `seen` has the heads of all requests.
    """

    def __init__(self, upstream: tuple[str, int], *, delay_seconds: float = 0.0) -> None:
        super().__init__(upstream, delay_seconds=delay_seconds)
        self.seen: list[Head] = []
        self._rules: list[_Rule] = []

    @property
    def url(self) -> str:
        """Where clients find it."""
        return "http://{}:{}".format(*self.address)

    def fail(self, fault: Fault, request: str = "", *, skip: int = 0, times: int = 1) -> None:
        """Do `fault` to `times` requests behind the first `skip`, of those that match.

        `request` is a regular expression to be found in "METHOD target", the target as it was sent. Of two
        rules that would take a request, the older one does.
        """
        self._rules.append(_Rule(fault, re.compile(request), skip, times))

    def heal(self) -> None:
        """Forget every fault that was asked for."""
        self._rules.clear()

    def count(self, request: str = "") -> int:
        """How many requests came that match, as `fail` says."""
        return sum(bool(re.search(request, head.line)) for head in self.seen)

    async def _forward(self, reader: asyncio.StreamReader, writers: list[asyncio.StreamWriter]) -> None:
        if self._server is None:  # it was in the queue as the line was cut
            raise ConnectionResetError
        while request := await _head(reader):
            self.seen.append(request)
            fault = next((rule.fault for rule in self._rules if rule.takes(request.line)), None)
            if not await self._exchange(request, fault, reader, writers):
                break
        writers[0].close()
        await writers[0].wait_closed()

    async def _exchange(
        self,
        request: Head,
        fault: Fault | None,
        reader: asyncio.StreamReader,
        writers: list[asyncio.StreamWriter],
    ) -> bool:
        """Serve one request; returns whether the connection may go on."""
        await self._flowing.wait()
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        if isinstance(fault, Answer | Hang) or fault == Reset():
            return await self._refuse(request, fault, reader, writers[0])
        upstream_reader, upstream_writer = await asyncio.open_connection(*self.upstream)
        writers.append(upstream_writer)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._send(request, reader, upstream_writer))
            goes_on = await self._relay(request, fault, upstream_reader, writers[0])
            goes_on = goes_on and sending.done()  # else the rest of a body that nobody wants would follow
            sending.cancel()
        writers.remove(upstream_writer)
        upstream_writer.close()
        return goes_on

    async def _refuse(
        self, request: Head, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        waits = "expect" in request.headers  # for a word before it sends its body, which it need not
        if not waits:
            await _carry(reader, request.body_bytes(0), _drop)
        if isinstance(fault, Answer):
            await self._pass(_answered(fault, request.words[0] != "HEAD", closes=waits), writer)
            return not waits
        if isinstance(fault, Hang):
            await reader.read()
            return False
        raise ConnectionResetError

    async def _send(
        self, request: Head, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
    ) -> None:
        async def take(piece: bytes) -> None:
            with suppress(ConnectionError):  # the answer may come before the end, and then nobody reads on
                await self._pass(piece, upstream)

        await take(request.raw)
        await _carry(reader, request.body_bytes(0), take)

    async def _relay(
        self,
        request: Head,
        fault: Fault | None,
        upstream: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Pass the answer on; returns whether another one may follow it."""
        while (head := await _head(upstream)) and head.words[1].startswith("1"):
            await self._pass(head.raw, writer)
        if head is None:
            raise ConnectionResetError
        bodiless = request.words[0] == "HEAD" or head.words[1] in ("204", "304")
        length = 0 if bodiless else head.body_bytes(_TO_THE_END)
        if isinstance(fault, Reset):
            await _carry(upstream, length, _drop)
            raise ConnectionResetError
        await self._pass(head.raw, writer)
        left = fault.after_bytes if isinstance(fault, Cut) else FOREVER

        async def take(piece: bytes) -> None:
            nonlocal left
            await self._pass(piece[:left], writer)
            left -= len(piece)
            if left < 0:
                raise _Enough

        try:
            await _carry(upstream, length, take)
        except _Enough:
            return False
        return length != _TO_THE_END

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.delay_seconds)
        await self._flowing.wait()
        writer.write(data)
        await writer.drain()


async def _head(reader: asyncio.StreamReader) -> Head | None:
    """The next message's head; None when the connection ended before it."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ConnectionResetError from None
        return None
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    one, two, three = (*first.split(" ", 2), "")[:3]  # the phrase of an answer may be missing
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Head((one, two, three), headers, raw)


async def _carry(reader: asyncio.StreamReader, length: int, take: _Take) -> None:
    """Hand over a body piece by piece, as it travels: with the framing of its chunks."""
    if length == _CHUNKED:
        await _carry_chunks(reader, take)
    elif length == _TO_THE_END:
        while piece := await reader.read(_PIECE_BYTES):
            await take(piece)
    else:
        await _carry_exactly(reader, length, take)


async def _carry_exactly(reader: asyncio.StreamReader, length: int, take: _Take) -> None:
    while length:
        piece = await reader.read(min(length, _PIECE_BYTES))
        if not piece:
            raise ConnectionResetError
        length -= len(piece)
        await take(piece)


async def _carry_chunks(reader: asyncio.StreamReader, take: _Take) -> None:
    size = -1
    while size:
        await take(line := await _line(reader))
        size = int(line.partition(b";")[0], 16)
        if size:
            await _carry_exactly(reader, size + 2, take)
    while line != b"\r\n":  # the trailers
        await take(line := await _line(reader))


async def _drop(piece: bytes) -> None:
    """Nobody is to have it."""


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise ConnectionResetError
    return line


def _answered(answer: Answer, with_body: bool, *, closes: bool) -> bytes:
    headers = {"Content-Length": str(len(answer.body)), **answer.headers}
    if closes:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + (answer.body if with_body else b"")
