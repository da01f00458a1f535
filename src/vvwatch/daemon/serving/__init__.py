"""The API's server: its listening socket, its connections and their limits."""

from vvwatch.daemon.serving.connections import Connections
from vvwatch.daemon.serving.listening import Tls, bind_socket, open_listener, server_address, tls_settings
from vvwatch.daemon.serving.server import WebServer

__all__ = [
    "Connections",
    "Tls",
    "WebServer",
    "bind_socket",
    "open_listener",
    "server_address",
    "tls_settings",
]
