"""An endpoint on loopback that speaks OpenAI's chat protocol, keeps what it is asked, and answers as it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Raw = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def key(self) -> str:
        return self.headers.get("idempotency-key", "")

    @property
    def system(self) -> str:
        text: str = self.body["messages"][0]["content"]
        return text

    @property
    def text(self) -> str:
        """The text of all messages but the first."""
        contents = [message["content"] for message in self.body["messages"][1:]]
        parts = [part for each in contents for part in ([each] if isinstance(each, str) else each)]
        return "\n".join(part if isinstance(part, str) else part.get("text", "") for part in parts)

    @property
    def pictures(self) -> list[str]:
        content = self.body["messages"][1]["content"]
        parts = content if isinstance(content, list) else []
        return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]

    @property
    def rung(self) -> str:
        wanted = self.body.get("response_format")
        if wanted is None:
            return "text"
        if wanted["type"] == "json_object":
            return "object"
        return "strict" if wanted["json_schema"]["strict"] else "loose"


@dataclass(frozen=True)
class Answer:
    """`body` is sent as JSON unless it is bytes; with `raw` that writes to the connection, and nothing else does."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: Raw | None = None


def said(
    content: Any, finish: str = "stop", model: str = "model-1", usage: Any = (100, 20), **message: Any
) -> Answer:
    """The answer of a model; what is no text is written as JSON. `usage` None: the endpoint does not count."""
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    body: dict[str, Any] = {
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
    }
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return Answer(body)


def refused(status: int, message: str = "", headers: Mapping[str, str] | None = None, **error: Any) -> Answer:
    return Answer({"error": {"message": message, **error}}, status, headers or {})


Answering = Callable[[Asked], Answer | Awaitable[Answer]]


class ChatEndpoint:
    """`answers` is asked for each answer; `asked` has all requests in order."""

    def __init__(self, answers: Answering) -> None:
        self.answers = answers
        self.asked: list[Asked] = []
        self.in_flight = self.most_in_flight = 0
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()
        self.paid: Counter[str] = Counter()
        """How often each idempotency key was answered with 200."""

    @property
    def chats(self) -> list[Asked]:
        return [each for each in self.asked if each.path.endswith("/chat/completions")]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._serving.discard(task)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        is_form = headers.get("content-type", "").startswith("multipart/")
        asked = Asked(method, path, headers, content if is_form else json.loads(content) if content else None)
        self.asked.append(asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = self.answers(asked)
            answer = answer if isinstance(answer, Answer) else await answer
        finally:
            self.in_flight -= 1
        if answer.raw is not None:
            await answer.raw(writer)
            return False
        if answer.status == 200:
            self.paid[asked.key] += 1
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **answer.headers}
        told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{told}\r\n".encode() + body)
        await writer.drain()
        return True

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[ChatEndpoint]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        host, port = server.sockets[0].getsockname()[:2]
        self.url = f"http{'s' if tls else ''}://{host}:{port}/v1"
        try:
            yield self
        finally:
            server.close()
            serving = list(self._serving)
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
