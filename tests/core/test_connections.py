"""How many connections are taken, and who counts as one client."""

from __future__ import annotations

import pytest

from vvwatch.core.connections import affordable_connections, affordable_streams, network_of


@pytest.mark.parametrize(
    ("wanted", "files", "affordable"),
    [
        (1000, 1 << 20, 1000),
        (1000, 4096, 1000),
        (1000, 1024, 256),  # 512 of 1,024 are kept for the work, and each connection may open a file
        (1000, 256, 64),
        (100, 1024, 100),
        (1000, 16, 8),
    ],
)
def test_connections_leave_files_for_the_work(wanted: int, files: int, affordable: int) -> None:
    assert affordable_connections(wanted, files) == affordable


def test_one_key_never_takes_more_than_half_of_the_connections() -> None:
    assert affordable_streams(100, 1000) == 100
    assert affordable_streams(100, 64) == 32
    assert affordable_streams(100, 1) == 1


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", ""),
        ("127.9.9.9", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("", ""),
    ],
)
def test_clients_are_counted_by_network(host: str, network: str) -> None:
    assert network_of(host) == network
