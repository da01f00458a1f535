"""What is sent to the real daemon and breaks off, or is too much: it leaves nothing, and others are served."""

from __future__ import annotations

import http.client
import socket
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

from tests.daemon_process import ADMIN_KEY, Daemon, wait_until

CEILING_BYTES = (4 << 20) - 1
AT_ONCE = 24
HEAD = (
    "POST /api/v2/workflow/upload HTTP/1.1\r\n"
    "Host: {host}\r\n"
    "X-API-Key: {key}\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
)
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n\0\0\0\x18ftypmp42'


def begun(daemon: Daemon, size_bytes: int) -> socket.socket:
    """A connection over which part of an upload went; the rest is still to come, and nobody knows how much."""
    address = urlsplit(daemon.url)
    connection = socket.create_connection((address.hostname, address.port or 0), timeout=60)
    head = HEAD.format(host=address.netloc, key=ADMIN_KEY).encode()
    data = PART + bytes(size_bytes)
    connection.sendall(head + f"{len(data):x}\r\n".encode() + data + b"\r\n")
    return connection


def on_disk(folder: Path) -> int:
    """The bytes of all files below a folder; a file may go meanwhile."""
    found = 0
    for path in folder.rglob("*"):
        try:
            found += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return found


def uploaded(daemon: Daemon) -> int:
    """The status of a whole upload of a megabyte."""
    address = urlsplit(daemon.url)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)) as client:
        body = PART + bytes(1 << 20) + b"\r\n--x--\r\n"
        headers = {"X-API-Key": ADMIN_KEY, "Content-Type": "multipart/form-data; boundary=x"}
        client.request("POST", "/api/v2/workflow/upload", body, headers)
        return client.getresponse().status


def test_uploads_that_break_off_leave_nothing_and_never_pass_the_ceiling(tmp_path: Path) -> None:
    with Daemon(tmp_path, extra=f"\n[api]\nuploads_bytes = {CEILING_BYTES}\n") as daemon:
        arriving = daemon.state / "uploads" / ".arriving"
        with ExitStack() as connections:
            for _ in range(AT_ONCE):
                connections.enter_context(begun(daemon, 1 << 20))
            wait_until(lambda: on_disk(arriving) >= 3 << 20, "three uploads have room")
            assert on_disk(arriving) <= CEILING_BYTES
            assert uploaded(daemon) == 507
        wait_until(lambda: not list(arriving.iterdir()), "what broke off is gone")
        assert uploaded(daemon) == 201
