"""The API's server: its listening socket, its connections and their limits."""

from vvwatch.daemon.serving.connections import Connections
from vvwatch.daemon.serving.listening import Tls, address, bound, listener_of, tls_of
from vvwatch.daemon.serving.server import WebServer

__all__ = ["Connections", "Tls", "WebServer", "address", "bound", "listener_of", "tls_of"]
