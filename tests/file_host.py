"""A host of files on loopback that also redirects, hangs, cuts off and refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Self

from tests.loopback import LoopbackServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class FileHost(LoopbackServer):
    """Answers a path as `answers` says, 404 where it says nothing. `asked` has every path with its query."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                answer = host.answers.get(self.path.partition("?")[0], refused(404))
                with suppress(BrokenPipeError, ConnectionResetError):
                    answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.serve_http(Handler)
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        super().__exit__()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def hangs(self, handler: BaseHTTPRequestHandler) -> None:
        """Begin to answer, and never go on."""
        handler.send_response(200)
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(b"abc")
        handler.wfile.flush()
        self.released.wait(30)

    def dawdles(self, handler: BaseHTTPRequestHandler) -> None:
        """Begin to answer, a line at a time."""
        for _ in range(300):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n" if not _ else b"X: y\r\n")
            if self.released.wait(0.1):
                return


def has(body: bytes, content_type: str = "application/octet-stream", **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        given = {"Content-Type": content_type, "Content-Length": str(len(body))}
        for name, value in (
            given | {name.replace("_", "-"): value for name, value in headers.items()}
        ).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    """More than anybody wants, without saying how much."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(1 << 16))


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Promise more than comes."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"abc")


def refused(status: int) -> Answer:
    return lambda handler: handler.send_error(status)


def onward(location: str, status: int = 302) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer
