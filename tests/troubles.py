"""A daemon in every kind of trouble at once, for docs/failures.md."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import trustme

from tests.emulators.s3_server import S3Server
from tests.fault_proxy import LOOPBACK

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
