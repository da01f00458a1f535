"""Call the API's own routes from a page, within the server."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from fastapi import Request
from starlette.types import Message

from vvwatch.api.http.auth import SESSION_KEY
from vvwatch.api.pages.sessions import Session

JSON: Final = "application/json"
_KEPT_HEADERS: Final = frozenset({b"host", b"user-agent"})
_KEPT: Final = ("type", "asgi", "http_version", "server", "client", "scheme", "root_path", "extensions")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered; `document` is its JSON, None without a body."""

    status: int
    document: Any

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status < 400

    @property
    def message(self) -> str:
        """What went wrong; empty if nothing did."""
        return "" if self.ok else str(self.document["error"]["message"])

    @property
    def hint(self) -> str:
        """What to try; empty if there is no hint."""
        return "" if self.ok else str(self.document["error"]["details"].get("hint", ""))

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with each field of the body, by its dotted name."""
        found = () if self.ok else self.document["error"]["details"].get("errors", ())
        return {each["where"].removeprefix("body."): _say(each) for each in found}


def _say(problem: Mapping[str, str]) -> str:
    return ": ".join(problem[name] for name in ("what", "hint") if problem.get(name))


@dataclass
class _Exchange:
    """One request and its response."""

    body: bytes
    status: int = 500
    received: bytearray = field(default_factory=bytearray)
    sent: bool = False

    async def receive(self) -> Message:
        if self.sent:
            return {"type": "http.disconnect"}
        self.sent = True
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.received += message.get("body", b"")


async def call_api(
    request: Request,
    session: Session,
    method: str,
    target: str,
    body: object = None,
    request_key: str = "",
    media_type: str = JSON,
) -> Answer:
    """Send one request to the API with the session's key; `target` is its path with its query.

    `request_key` is its Idempotency-Key: the same form sent twice acts once. A `body` of another `media_type` than JSON
    is encoded already.
    """
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    path, _, query = target.partition("?")
    headers = [each for each in request.scope["headers"] if each[0] in _KEPT_HEADERS]
    headers += [(b"accept", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += [(b"content-type", media_type.encode())] if content else []
    headers += [(b"idempotency-key", request_key.encode("ascii", "replace"))] if request_key else []
    scope = {name: request.scope[name] for name in _KEPT if name in request.scope} | {
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "state": {},
        SESSION_KEY: (session.key.id, session.key.created_at),
    }
    exchange = _Exchange(content)
    await request.app(scope, exchange.receive, exchange.send)
    return Answer(exchange.status, json.loads(exchange.received) if exchange.received else None)


def encode_form(fields: Mapping[str, Any], files: Collection[str]) -> tuple[bytes, str]:
    """Return fields as multipart/form-data, and its media type. Lists repeat their field, documents become JSON."""
    boundary = secrets.token_hex(16)
    parts = []
    for name, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            text = each if isinstance(each, str) else json.dumps(each)
            file = '; filename="pasted"' if name in files else ""
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
            parts.append(f"{head}{text}\r\n")
    return f"{''.join(parts)}--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
