"""A webhook receiver on loopback that keeps what it is sent and answers as it is told."""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from tests.loopback import LoopbackServer


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


@dataclass
class Receiver(LoopbackServer):
    """Answers with `statuses` one after the other, then 200 for ever; each with `headers` and `body`."""

    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"received":true}'
    received: list[Received] = field(default_factory=list)

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # the sender was killed: half a message is none
                    self.close_connection = True
                    return
                receiver.received.append(Received(dict(self.headers.items()), body))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                self.send_response(status)
                self.send_header("Content-Length", str(len(receiver.body)))
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                with suppress(BrokenPipeError, ConnectionResetError):  # the sender may have been killed
                    self.end_headers()
                    self.wfile.write(receiver.body)

            def log_message(self, *args: Any) -> None:
                pass

        self.serve_http(Handler)
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def types(self) -> list[str]:
        return [item.event["event"] for item in self.received]

    def all_signed(self, secret: str) -> bool:
        return all(is_signed(secret, r.body, r.headers["X-Webhook-Signature"]) for r in self.received)


def is_signed(secret: str, body: bytes, signature: str) -> bool:
    """What a receiver does, from the documentation alone."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"sha256={digest}".encode(), signature.encode())
