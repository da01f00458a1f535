"""A daemon in every kind of trouble at once, for docs/failures.md."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Self

import httpx2
import trustme

from tests.emulators.s3_server import S3Server
from tests.fault_proxy import LOOPBACK
from tests.loopback import LoopbackServer

PATIENCE = 90


@contextmanager
def tls_receiver() -> Iterator[int]:
    """The port of a receiver whose certificate nobody trusts."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = HTTPServer((LOOPBACK, 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(LOOPBACK, "localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()


class WrongClock(LoopbackServer):
    """A store whose clock is `ahead_seconds` ahead: it passes requests on to another one."""

    def __init__(self, target: str, ahead_seconds: float) -> None:
        self._target = target
        self._ahead_seconds = ahead_seconds

    def __enter__(self) -> Self:
        target, ahead_seconds = self._target, self._ahead_seconds

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string((timestamp or time.time()) + ahead_seconds)

            def do_GET(self) -> None:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                answer = httpx2.get(f"{target}{self.path}", headers=headers, timeout=30)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/xml"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

        self.serve_http(Handler)
        return self

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


def bucket(name: str, server: S3Server, secret: Path, url: str = "") -> str:
    """The tables of an automation over a bucket."""
    secret.write_text(server.secret_access_key)
    secret.chmod(0o600)
    return f"""
[connectors.{name}]
type = "s3"
bucket = "{name}"
endpoint_url = "{url or server.endpoint_url}"
access_key_id = "{server.access_key_id}"
secret_access_key_file = "{secret}"
""" + watched(name)


def folder(name: str, base: Path, more: str = "", export: bool = False) -> str:
    """The tables of an automation over a folder below `base`."""
    (base / name).mkdir(parents=True, exist_ok=True)
    scopes = '["import", "export"]' if export else '["import"]'
    return f"""
[connectors.{name}]
type = "local"
path = "{base / name}"
scopes = {scopes}
""" + watched(name, more, export)


def watched(name: str, more: str = "", export: bool = False) -> str:
    wanted = f'export = {{ connector = "{name}" }}' if export else ""
    return f"""
[indexes.{name}]
[automations.{name}]
index = "{name}"
connector = "{name}"
debounce = "1s"
scan_interval = "5s"
settle = "0.3s"
{wanted}
{more}
"""
