"""Limits on API connections, and which addresses count as one client."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

RESERVED_FILES: Final = 512
"""Open files reserved for the work: listings, downloads, deliveries, child processes, the database."""

_FILES_EACH: Final = 2  # the socket, and the file that is sent or received over it
_FEWEST: Final = 8
_NETWORK_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections are open at once: in all, and from one network (see `network_of`)."""

    total: int
    per_network: int


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a client may take, in seconds.

    `head_seconds`: for a TLS handshake and a whole request head together, from the moment it connects; on a kept
    connection for the head alone, from its first byte. `body_seconds`: without a byte of a body that is still to come.
    `idle_seconds`: between requests. `reader_seconds`: without taking anything of an answer.
    """

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    reader_seconds: float = 120.0


def affordable_connections(wanted: int, file_limit: int) -> int:
    """Return how many of `wanted` connections fit a process with `file_limit` open files.

    RESERVED_FILES, or half of a small limit, stay free for the work.
    """
    reserved = min(RESERVED_FILES, file_limit // 2)
    return max(min(wanted, (file_limit - reserved) // _FILES_EACH), _FEWEST)


def affordable_streams(wanted: int, connections: int) -> int:
    """Return how many of `wanted` event streams one key may keep open: never more than half of all connections."""
    return max(min(wanted, connections // 2), 1)


def network_of(host: str) -> str:
    """Return the address that counts for the client at `host`: an IPv4 address, or the /64 of an IPv6 address.

    Empty for a loopback address, where a reverse proxy may connect for many clients, and for no address.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return ""
    if isinstance(address, IPv6Address):
        shift = address.max_prefixlen - _NETWORK_BITS
        return f"{IPv6Address(int(address) >> shift << shift)}/{_NETWORK_BITS}"
    return str(address)
