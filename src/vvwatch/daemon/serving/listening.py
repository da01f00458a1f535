"""The listening socket and its certificate."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vvwatch.config import Config
from vvwatch.errors import ConfigInvalid, Problem, VvwatchError

_BACKLOG: Final = 512


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one. Raises OSError.

    Names the protocol, because asyncio disables Nagle's delay only then.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a certificate and its key, as PEM."""

    certificate: Path
    key: Path


def server_address(listener: socket.socket, tls: Tls | None) -> str:
    """Return the address of a listening socket."""
    host, port = listener.getsockname()[:2]
    scheme = "http" if tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def tls_settings(config: Config) -> Tls | None:
    """Return the configured certificate; None for plain HTTP."""
    certificate, key = config.api.tls_certificate, config.api.tls_key
    return None if certificate is None or key is None else Tls(certificate, key)


def open_listener(config: Config) -> socket.socket:
    """Return a socket that listens at the configured address. Raises ConfigInvalid, VvwatchError."""
    host, port = config.address
    try:
        return bind_socket(host, port)
    except PermissionError as error:
        # A restart changes nothing, so this ends as a wrong configuration does.
        raise ConfigInvalid((_bind_problem(config, port, error),)) from error
    except OSError as error:
        raise VvwatchError(
            f"cannot listen on {config.listen}: {error.strerror}",
            "stop what uses the address, or choose another with listen (port 0 picks a free one)",
        ) from error


def _bind_problem(config: Config, port: int, error: OSError) -> Problem:
    """Return why this process may not use the port: below 1024, or not allowed by its unit."""
    hint = f"under systemd add a drop-in: [Service] SocketBindAllow=tcp:{port}"
    if port < 1024:
        hint = f"choose a port from 1024 on, or let the unit give AmbientCapabilities=CAP_NET_BIND_SERVICE; {hint}"
    return Problem(
        str(config.path or "flags"), None, "listen", f"{config.listen}: {error.strerror}", hint=hint
    )
