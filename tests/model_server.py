"""An OpenAI-compatible endpoint on loopback that fills any schema, and charges once for each idempotency key."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from tests.loopback import LoopbackServer

JPEG = b"\xff\xd8\xff"


def fill(schema: dict[str, Any]) -> Any:
    """The plainest value of a schema."""
    if "anyOf" in schema:
        return fill(schema["anyOf"][0])
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: fill(each) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [fill(schema.get("items", {}))]
    return {"string": "a boat", "integer": 1, "number": 0.5, "boolean": True, "null": None}[kind]


@dataclass
class ModelServer(LoopbackServer):
    """Answers each request after `latency_seconds`; where it has a `key`, only those that bring it.

    `charged` counts the calls of each idempotency key that were answered, `requests` are their bodies by key: a key
    that comes again gets the answer of before and is charged once. `pictures` counts the JPEGs that came whole,
    `under_way` the requests that wait for their answer.
    """

    latency_seconds: float = 0.0
    key: str = ""
    charged: Counter[str] = field(default_factory=Counter)
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    pictures: int = 0
    under_way: int = 0
    changed: list[str] = field(default_factory=list)
    """The keys that came again with another request: each is a call that could be paid twice."""

    def __enter__(self) -> Self:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.came()
                time.sleep(server.latency_seconds)
                server.went()
                with suppress(BrokenPipeError, ConnectionResetError, json.JSONDecodeError):
                    if server.key and self.headers["Authorization"] != f"Bearer {server.key}":
                        self.answer({"error": {"message": "no such key", "code": "invalid_api_key"}}, 401)
                    else:
                        self.answer(server.reply(self.headers["Idempotency-Key"], json.loads(body)))

            def do_GET(self) -> None:
                self.answer({"object": "list", "data": [{"id": "stub-vision", "object": "model"}]})

            def answer(self, document: dict[str, Any], status: int = 200) -> None:
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self._lock = threading.Lock()
        self.serve_http(Handler)
        return self

    def came(self) -> None:
        """A request has come."""
        with self._lock:
            self.under_way += 1

    def went(self) -> None:
        """It is about to be answered."""
        with self._lock:
            self.under_way -= 1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def reply(self, key: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request, and its charge."""
        with self._lock:
            self.charged[key] += 1
            before = self.requests.setdefault(key, request)
            if before != request:
                self.changed.append(key)
            self.pictures += sum(map(is_picture, parts_of(request)))
        schema = request.get("response_format", {}).get("json_schema", {}).get("schema", {"type": "object"})
        return {
            "id": f"chatcmpl-{key}",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": request["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": json.dumps(fill(schema))},
                }
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }


def parts_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of all messages that have parts."""
    contents = [message["content"] for message in request["messages"]]
    return [part for content in contents if isinstance(content, list) for part in content]


def is_picture(part: dict[str, Any]) -> bool:
    if part["type"] != "image_url":
        return False
    head, _, data = part["image_url"]["url"].partition(",")
    return head == "data:image/jpeg;base64" and base64.b64decode(data).startswith(JPEG)
