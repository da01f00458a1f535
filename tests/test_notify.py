from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vvwatch.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket and its address as $NOTIFY_SOCKET gives it."""
    path = f"{tmp_path}/notify"
    shown, address = (path, path) if request.param == "path" else (f"@{path}", f"\0{path}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address)
        server.settimeout(5)
        yield server, shown


def test_each_message_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    server, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})

    notifier.ready("3 automations")
    notifier.status("1 window\nopen")
    notifier.watchdog()
    notifier.extend_timeout(1.5)
    notifier.stopping("draining 2 steps")

    assert [server.recv(4096) for _ in range(5)] == [
        b"READY=1\nSTATUS=3 automations",
        b"STATUS=1 window open",
        b"WATCHDOG=1",
        b"EXTEND_TIMEOUT_USEC=1500000",
        b"STOPPING=1\nSTATUS=draining 2 steps",
    ]


def test_a_reload_carries_the_monotonic_time_in_the_same_datagram(
    manager: tuple[socket.socket, str],
) -> None:
    server, address = manager
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    Notifier({"NOTIFY_SOCKET": address}).reloading()

    reloading, moment = server.recv(4096).decode().split("\n")
    assert reloading == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= before + 60_000_000


@pytest.mark.parametrize("address", [None, "", "/no/such/socket", "@no-such-socket", "x" * 500, "a\0b", "@"])
def test_without_a_manager_nothing_happens(address: str | None) -> None:
    notifier = Notifier({} if address is None else {"NOTIFY_SOCKET": address})

    notifier.ready("up")
    notifier.watchdog()


def test_a_manager_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"{tmp_path}/notify")
        notifier = Notifier({"NOTIFY_SOCKET": f"{tmp_path}/notify"})

        for _ in range(10_000):
            notifier.watchdog()


def test_a_status_that_is_not_unicode_is_spelt_out(manager: tuple[socket.socket, str]) -> None:
    server, address = manager

    Notifier({"NOTIFY_SOCKET": address}).status("é \udcff")

    assert server.recv(4096) == b"STATUS=\xc3\xa9 \\udcff"


@pytest.mark.parametrize(
    ("environ", "process_id", "expected"),
    [
        ({}, 1, None),
        ({"WATCHDOG_USEC": "60000000"}, 1, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 1, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "2"}, 1, None),
        ({"WATCHDOG_USEC": "0"}, 1, None),
        ({"WATCHDOG_USEC": "soon"}, 1, None),
    ],
)
def test_the_watchdog_is_for_the_process_it_names(
    environ: dict[str, str], process_id: int, expected: float | None
) -> None:
    assert Notifier(environ, process_id).watchdog_seconds == expected
