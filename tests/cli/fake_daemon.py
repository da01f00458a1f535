"""A small HTTP server on the loopback that answers like a daemon, from a table."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "sk_live_" + "0f" * 24


@dataclass
class Request:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    key: str | None
    body: Any


@dataclass
class FakeDaemon:
    """`answers` maps `METHOD /path` to a document, or to a status and a document; anything else is a 404."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    url: str = ""

    def answer(self, request: Request) -> tuple[int, Any]:
        self.asked.append(request)
        found = self.answers.get(f"{request.method} {request.path}")
        if found is None:
            return 404, refusal("resource_route_not_found", f"no {request.path}")
        return found if isinstance(found, tuple) else (200, found)

    def requests(self, method: str) -> list[str]:
        return [request.path for request in self.asked if request.method == method]


def refusal(code: str, message: str, hint: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "details": {"hint": hint} if hint else {}}}


@contextmanager
def serving(state_dir: Path) -> Iterator[FakeDaemon]:
    """A daemon whose address and admin key lie in `state_dir`."""
    daemon = FakeDaemon()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def _any(self) -> None:
            parts, length = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            request = Request(
                self.command, parts.path, dict(parse_qsl(parts.query)), self.headers.get("X-API-Key"), body
            )
            status, document = daemon.answer(request)
            content = document.encode() if isinstance(document, str) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _any  # noqa: N815  # as the server calls them

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        daemon.url = f"http://127.0.0.1:{server.server_port}"
        (state_dir / "address").write_text(daemon.url + "\n")
        (state_dir / "admin.key").write_text(KEY + "\n")
        try:
            yield daemon
        finally:
            server.shutdown()
            thread.join()
