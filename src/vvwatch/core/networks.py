"""Which IP addresses a URL from outside may lead to, by the table of special-purpose networks.

The table is a copy of IANA's: `ipaddress.is_global` differs between Python patch releases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from vvwatch.errors import InvalidInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SPECIAL: Final[tuple[tuple[str, str, str], ...]] = (
    ("0.0.0.0/8", "this network", "RFC 791"),
    ("10.0.0.0/8", "private use", "RFC 1918"),
    ("100.64.0.0/10", "shared address space", "RFC 6598"),
    ("127.0.0.0/8", "loopback", "RFC 1122"),
    ("169.254.0.0/16", "link-local", "RFC 3927"),
    ("172.16.0.0/12", "private use", "RFC 1918"),
    ("192.0.0.0/24", "IETF protocol assignments", "RFC 6890"),
    ("192.0.2.0/24", "documentation", "RFC 5737"),
    ("192.31.196.0/24", "AS112", "RFC 7535"),
    ("192.52.193.0/24", "AMT", "RFC 7450"),
    ("192.88.99.0/24", "6to4 relay anycast", "RFC 7526"),
    ("192.168.0.0/16", "private use", "RFC 1918"),
    ("192.175.48.0/24", "AS112", "RFC 7534"),
    ("198.18.0.0/15", "benchmarking", "RFC 2544"),
    ("198.51.100.0/24", "documentation", "RFC 5737"),
    ("203.0.113.0/24", "documentation", "RFC 5737"),
    ("224.0.0.0/4", "multicast", "RFC 5771"),
    ("240.0.0.0/4", "reserved and broadcast", "RFC 1112"),
    ("::/96", "unspecified, loopback and IPv4-compatible", "RFC 4291"),
    ("::ffff:0:0/96", "IPv4-mapped", "RFC 4291"),
    ("::ffff:0:0:0/96", "IPv4-translated", "RFC 2765"),
    ("64:ff9b::/96", "NAT64", "RFC 6052"),
    ("64:ff9b:1::/48", "local NAT64", "RFC 8215"),
    ("100::/64", "discard only", "RFC 6666"),
    ("100:0:0:1::/64", "dummy prefix", "RFC 9780"),
    ("2001::/23", "IETF protocol assignments: Teredo, ORCHID and others", "RFC 2928"),
    ("2001:db8::/32", "documentation", "RFC 3849"),
    ("2002::/16", "6to4", "RFC 3056"),
    ("2620:4f:8000::/48", "AS112", "RFC 7534"),
    ("3fff::/20", "documentation", "RFC 9637"),
    ("5f00::/16", "segment routing", "RFC 9602"),
    ("fc00::/7", "unique local", "RFC 4193"),
    ("fe80::/10", "link-local", "RFC 4291"),
    ("fec0::/10", "site-local", "RFC 3879"),
    ("ff00::/8", "multicast", "RFC 4291"),
)
"""Networks that are no hosts on the Internet: network, use, RFC. IANA's special-purpose registries, and multicast."""

NEVER: Final[tuple[tuple[str, str], ...]] = (
    ("0.0.0.0/8", "this host"),
    (
        "169.254.0.0/16",
        "link-local: metadata of cloud machines, roles of containers",
    ),
    ("100.100.100.200/32", "metadata of Alibaba Cloud"),
    ("168.63.129.16/32", "the host agent of a cloud machine"),
    ("192.0.0.192/32", "metadata of Oracle Cloud"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved and broadcast"),
    ("::/128", "this host"),
    ("fd00:ec2::/112", "metadata and roles of cloud machines"),
    ("fd20:ce::/112", "metadata of cloud machines"),
    ("fd00:42::42/128", "metadata of Scaleway"),
    ("fd00:c1::a9fe:a9fe/128", "metadata of Oracle Cloud"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
)
"""Networks that no option opens: requests there reveal this machine's identity, or address nobody in particular."""

PRIVATE: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "::1/128",
            "fc00::/7",
        ),
    )
)
"""Private networks: private, shared, loopback and unique local."""

_SPECIAL: Final = tuple(ip_network(network) for network, _, _ in SPECIAL)
_NEVER: Final = tuple(ip_network(network) for network, _ in NEVER)
_AGENTS: Final = frozenset(
    IPv4Address(each)
    for each in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    )
)
_UNICAST: Final = IPv6Network("2000::/3")
_LOW_32_BITS: Final = tuple(map(IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
_TRANSPARENT: Final = (_LOW_32_BITS[1], _LOW_32_BITS[3])
_TEREDO: Final = IPv6Network("2001::/32")
_RFC_6052_LENGTHS: Final = (32, 40, 48, 56, 64, 96)
_BROADEST: Final = {4: 8, 6: 7}


class Reach(StrEnum):
    """Where an address leads."""

    PUBLIC = "public"
    ALLOWED = "allowed"
    PRIVATE = "private"
    NEVER = "never"


def classify_address(address: Address, allow_networks: tuple[Network, ...] = ()) -> Reach:
    """Return where `address` leads, including the IPv4 addresses that a system or router may derive from it.

    `ALLOWED` needs an entry in `allow_networks`. Nothing permits `NEVER`.
    """
    meant = tuple(_embedded_addresses(address))
    if any(_is_within(each, _NEVER) for each in (address, *meant)) or not _AGENTS.isdisjoint(
        _hidden_addresses(address)
    ):
        return Reach.NEVER
    if all(map(_is_public, meant)):
        return Reach.PUBLIC
    allowed = all(_is_public(each) or _is_within(each, allow_networks) for each in meant)
    return Reach.ALLOWED if allowed else Reach.PRIVATE


def is_loopback(address: str) -> bool:
    """Return whether `address` is a loopback address of this machine; False for no address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(each.is_loopback for each in _embedded_addresses(found))


def parse_network(text: str) -> Network:
    """Return the network that `text` names; an address is a network of one.

    Raises InvalidInput if it is none, is broader than any private network, or is never allowed.
    """
    try:
        network = ip_network(text, strict=False)
        address = ip_address(text.partition("/")[0])
    except ValueError:
        raise InvalidInput(f"{text!r} is no network", "write one like 10.0.0.0/8 or fd12:3456::/32") from None
    if "/" in text and network.network_address != address:
        raise InvalidInput(f"{text!r} has bits set behind its prefix", f"write {network}")
    if why := next((why for never, why in NEVER if _is_subnet(network, ip_network(never))), ""):
        raise InvalidInput(f"{text!r} is never asked: {why}", "no option allows it")
    if network.prefixlen < _BROADEST[network.version]:
        raise InvalidInput(f"{text!r} is broader than any private network", "name each network that is meant")
    return network


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Where URLs from users may lead: public addresses on https, and explicitly allowed networks."""

    allow_http: bool = False
    allow_networks: tuple[Network, ...] = ()

    def reach(self, address: str) -> Reach:
        """Return where an IP address from a resolver leads. Raises ValueError if it is none."""
        return classify_address(ip_address(address.partition("%")[0]), self.allow_networks)

    def reach_of_host(self, host: str) -> Reach:
        """Return where the spelling of a host leads; `PUBLIC` for names that need a resolver."""
        name = host.lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost"):
            own = (self.reach("127.0.0.1"), self.reach("::1"))
            return Reach.ALLOWED if Reach.ALLOWED in own else Reach.PRIVATE
        try:
            return self.reach(name)
        except ValueError:
            return Reach.PUBLIC


PUBLIC_ONLY: Final = AddressPolicy()
"""Public addresses on https only."""


def _is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _is_subnet(network: Network, other: Network) -> bool:
    return network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]  # as compared


def _is_public(address: Address) -> bool:
    """Return whether it is an Internet host's: IPv6 outside 2000::/3 is not allocated."""
    is_unicast = isinstance(address, IPv4Address) or address in _UNICAST
    return is_unicast and not _is_within(address, _SPECIAL)


def _embedded_addresses(address: Address) -> Iterator[Address]:
    """Yield the addresses that a connection may reach.

    An embedded IPv4 address, and itself unless it only embeds one.
    """
    if isinstance(address, IPv4Address):
        yield address
        return
    if not _is_within(address, _TRANSPARENT):
        yield address
    number = int(address)
    if _is_within(address, _LOW_32_BITS) and number > 1:
        yield IPv4Address(number & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address in _TEREDO:
        yield IPv4Address(number >> 64 & 0xFFFF_FFFF)
        yield IPv4Address(~number & 0xFFFF_FFFF)


def _hidden_addresses(address: Address) -> Iterator[IPv4Address]:
    """Yield each IPv4 address that a NAT64 with its own prefix (RFC 6052) or ISATAP could derive from `address`."""
    if isinstance(address, IPv4Address):
        return
    bits = int(address)
    for length in _RFC_6052_LENGTHS:
        if length == 96:
            yield IPv4Address(bits & 0xFFFF_FFFF)
            continue
        # Bits 64 to 71 are not part of the address: they are cut out first.
        without = bits >> 64 << 56 | bits & (1 << 56) - 1
        yield IPv4Address(without >> 120 - length - 32 & 0xFFFF_FFFF)
