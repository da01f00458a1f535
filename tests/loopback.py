"""Servers of tests: on a free port of loopback, in a thread, gone when their `with` block ends."""

from __future__ import annotations

import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LoopbackServer:
    """Serves from `serve` or `serve_http` until the block ends."""

    def serve_http(self, handler: type[BaseHTTPRequestHandler]) -> None:
        """Answer each request by a `handler`."""
        self.serve(ThreadingHTTPServer(("127.0.0.1", 0), handler))

    def serve(self, server: socketserver.TCPServer) -> None:
        """Serve in a thread."""
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port
