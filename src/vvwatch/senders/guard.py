"""What addresses webhooks and attachments may be asked of: spelling, scheme, and what a name resolves to."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

import anyio
import httpcore

from vvwatch.errors import DeliveryRefused

_PLAIN: Final = "/?%:@!$&'()*+,;=~[]"  # stands in paths and queries as it is
_NAT64: Final = IPv6Network("64:ff9b::/96")
_UNICAST: Final = IPv6Network("2000::/3")


@dataclass(frozen=True, slots=True)
class Guard:
    """What addresses may be posted to."""

    allow_http: bool = False
    allow_private_addresses: bool = False

    def checked(self, url: str) -> tuple[httpcore.URL, str]:
        """The address, and its host as the header has it. Raises DeliveryRefused for what its spelling forbids."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allow_http):
            raise DeliveryRefused("the address is not https", "use https, or allow http in [webhooks]")
        host, port = _destination(parts)
        path = quote(parts.path or "/", safe=_PLAIN) + (
            f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else ""
        )
        name = f"[{host}]" if ":" in host else host
        target = httpcore.URL(scheme=parts.scheme, host=host, port=port, target=path)
        return target, name if port is None else f"{name}:{port}"

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of `host`, the best first. Raises DeliveryRefused unless all may be connected to."""
        try:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise DeliveryRefused(f"the host {host!r} does not resolve", "check the webhook's url") from error
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(map(self._allows, addresses)):
            raise DeliveryRefused(
                f"the host {host!r} resolves to a private address",
                "use a public address, or set allow_private_addresses in [webhooks]",
            )
        return addresses

    def _allows(self, address: str) -> bool:
        if self.allow_private_addresses:
            return True
        parsed = ipaddress.ip_address(address.partition("%")[0])
        return all(map(_is_public, _meant(parsed)))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is a host's on the Internet: of IPv6, all else that no rule forbids may lead to hosts nearby."""
    is_unicast = isinstance(address, IPv4Address) or address in _UNICAST
    return is_unicast and address.is_global and not address.is_multicast


def _meant(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """The address, and that of IPv4 which the system or a router would make of it."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return (address,) if address.sixtofour is None else (address, address.sixtofour)


def _destination(parts: SplitResult) -> tuple[str, int | None]:
    """The host as headers and certificates spell it, and the port if one is given. Raises DeliveryRefused."""
    try:
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0:
        raise DeliveryRefused("the address has no valid host and port", "check the webhook's url")
    return host, port
