"""Where URLs that users choose may lead, held against IANA's tables and not against the running Python."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core.networks import (
    NEVER,
    PRIVATE,
    PUBLIC_ONLY,
    SPECIAL,
    AddressPolicy,
    Network,
    Reach,
    classify_address,
    is_loopback,
    parse_network,
)
from vvwatch.errors import InvalidInput

EVERYTHING: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
METADATA = (
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
)

addresses_4 = st.integers(0, 2**32 - 1).map(IPv4Address)
addresses_6 = st.integers(0, 2**128 - 1).map(IPv6Address)


def carriers(text: str) -> dict[str, str]:
    """The IPv6 addresses that lead to an IPv4 address, by the way in which they do."""
    address = IPv4Address(text)
    high, low = f"{int(address) >> 16:x}", f"{int(address) & 0xFFFF:x}"
    first, second, third, fourth = address.packed
    inverted = ~int(address) & 0xFFFF_FFFF
    return {
        "mapped": f"::ffff:{text}",
        "compatible": f"::{text}",
        "translated": f"::ffff:0:{text}",
        "nat64": f"64:ff9b::{text}",
        "local nat64, /96": f"64:ff9b:1::{text}",
        "local nat64, /48": f"64:ff9b:1:{high}:{third:02x}:{fourth:02x}00::",
        "nat64 of one's own, /32": f"2a00:1:{high}:{low}::",
        "nat64 of one's own, /40": f"2a00:1:{first:02x}:{second:02x}{third:02x}:{fourth:02x}::",
        "nat64 of one's own, /56": f"2a00:1:0:{first:x}:{second:x}:{third:02x}{fourth:02x}::",
        "nat64 of one's own, /64": f"2a00:1:2:3:{first:x}:{second:02x}{third:02x}:{fourth:02x}00:0",
        "6to4": f"2002:{high}:{low}::1",
        "teredo's server": f"2001:0:{high}:{low}::",
        "teredo's client": f"2001::{inverted >> 16:x}:{inverted & 0xFFFF:x}",
        "isatap": f"2a00:1::5efe:{text}",
    }


@pytest.mark.parametrize("network", [network for network, _, _ in SPECIAL])
def test_no_address_of_a_special_network_is_public(network: str) -> None:
    """But behind NAT64, where the IPv4 address counts that it carries."""
    special = ip_network(network)
    for address in (special[0], special[1], special[-2], special[-1]):
        carried = classify_address(IPv4Address(int(address) & 0xFFFF_FFFF))
        expected = {carried} if network in ("64:ff9b::/96", "::ffff:0:0/96") else {Reach.PRIVATE, Reach.NEVER}
        assert classify_address(address) in expected, address


@pytest.mark.parametrize(
    "text",
    [
        *(
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
        ),
        *("128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255"),
        *("192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0"),
        *("198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255"),
        *("2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "3ffe:ffff::1"),
        *("64:ff9b::8.8.8.8", "::ffff:8.8.8.8"),
    ],
)
def test_what_borders_on_special_networks_is_public(text: str) -> None:
    assert classify_address(ip_address(text)) is Reach.PUBLIC


@pytest.mark.parametrize("text", METADATA)
def test_metadata_services_are_never_asked_however_they_are_spelt(text: str) -> None:
    for way, address in {"itself": text, **carriers(text)}.items():
        assert classify_address(ip_address(address), EVERYTHING) is Reach.NEVER, way


@pytest.mark.parametrize("network", [network for network, _ in NEVER])
def test_nothing_opens_what_is_never_asked(network: str) -> None:
    never = ip_network(network)
    for address in (never[0], never[-1]):
        assert classify_address(address, (*EVERYTHING, never)) is Reach.NEVER
    with pytest.raises(InvalidInput, match="never asked"):
        parse_network(network)


@pytest.mark.parametrize(
    "text",
    ["fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "fd00:c1::a9fe:a9fe", "fe80::a9fe:a9fe"],
)
def test_metadata_services_of_ipv6_are_never_asked(text: str) -> None:
    assert classify_address(ip_address(text), EVERYTHING) is Reach.NEVER


@given(st.one_of(addresses_4, addresses_6))
def test_only_what_is_named_is_allowed(address: IPv4Address | IPv6Address) -> None:
    found = classify_address(address, (ip_network("10.20.0.0/16"),))
    if found is Reach.ALLOWED:
        assert address in ip_network("10.20.0.0/16") or int(address) >> 16 & 0xFFFF == 10 << 8 | 20
    assert (found is Reach.PUBLIC) == (classify_address(address) is Reach.PUBLIC)
    assert (found is Reach.NEVER) == (classify_address(address, EVERYTHING) is Reach.NEVER)


@given(st.sampled_from([ip_network(network) for network, _, _ in SPECIAL]), st.data())
def test_special_addresses_stay_special_within_ipv6(network: Network, data: st.DataObject) -> None:
    if network.version == 6:
        return
    size = network.num_addresses
    address = network[data.draw(st.integers(0, size - 1))]
    public = {
        way
        for way, text in carriers(str(address)).items()
        if classify_address(ip_address(text)) is Reach.PUBLIC
    }
    assert {way for way in public if "own" not in way and way != "isatap"} == set()


@given(addresses_4)
def test_a_mapped_address_is_the_address(address: IPv4Address) -> None:
    for allowed in ((), PRIVATE):
        assert classify_address(IPv6Address(f"::ffff:{address}"), allowed) is classify_address(
            address, allowed
        )
        assert classify_address(IPv6Address(f"64:ff9b::{address}"), allowed) is classify_address(
            address, allowed
        )


@given(addresses_6)
def test_what_is_not_given_out_is_not_public(address: IPv6Address) -> None:
    if classify_address(address) is Reach.PUBLIC:
        assert (
            address in ip_network("2000::/3") or address in ip_network("64:ff9b::/96") or address.ipv4_mapped
        )


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1/32"),
        ("::1", "::1/128"),
        ("FC00::/7", "fc00::/7"),
    ],
)
def test_networks_are_read(text: str, normal: str) -> None:
    assert str(parse_network(text)) == normal


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.0.0.0/0", "broader than any private network"),
        ("::/0", "broader than any private network"),
        ("8.0.0.0/7", "broader than any private network"),
        ("10.1.2.3/8", "bits set behind its prefix"),
        ("169.254.169.254", "never asked"),
        ("fe80::/64", "never asked"),
        ("intranet", "is no network"),
        ("10.0.0.0/33", "is no network"),
        ("", "is no network"),
    ],
)
def test_a_network_that_cannot_be_meant_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        parse_network(text)


@pytest.mark.parametrize(
    ("host", "networks", "expected"),
    [
        ("localhost", "", Reach.PRIVATE),
        ("LOCALHOST.", "", Reach.PRIVATE),
        ("a.localhost", "127.0.0.1", Reach.ALLOWED),
        ("localhost", "::1", Reach.ALLOWED),
        ("localhost", "10.0.0.0/8", Reach.PRIVATE),
        ("10.1.2.3", "10.1.0.0/16", Reach.ALLOWED),
        ("10.1.2.3", "10.2.0.0/16", Reach.PRIVATE),
        ("fe80::1%eth0", "fc00::/7", Reach.NEVER),
        ("metadata.example", "", Reach.PUBLIC),
    ],
)
def test_hosts_are_judged_by_their_spelling(host: str, networks: str, expected: Reach) -> None:
    allowed = tuple(map(parse_network, networks.split()))
    assert AddressPolicy(allow_networks=allowed).reach_of_host(host) is expected


def test_private_networks_are_not_public_without_being_named() -> None:
    for network in PRIVATE:
        assert PUBLIC_ONLY.reach(str(network[0])) is Reach.PRIVATE
        assert AddressPolicy(allow_networks=PRIVATE).reach(str(network[-1])) is Reach.ALLOWED


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1", True), ("127.255.0.9", True), ("::1", True), ("::ffff:127.0.0.1", True)]
    + [(text, False) for text in ("10.0.0.1", "0.0.0.0", "::", "localhost", "", "::127.0.0.1")],
)
def test_loopback_addresses_are_told_by_their_number(text: str, expected: bool) -> None:
    assert is_loopback(text) == expected
