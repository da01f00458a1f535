from __future__ import annotations

import resource
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from email.utils import formatdate

import pytest

from tests.receiver import Receiver
from vvwatch.core.networks import PRIVATE, AddressPolicy, parse_network
from vvwatch.errors import DeliveryRefused
from vvwatch.ports import Reply
from vvwatch.senders.guard import Guard
from vvwatch.senders.http import HttpSender

pytestmark = pytest.mark.anyio

_OPEN = Guard(AddressPolicy(allow_http=True, allow_networks=PRIVATE))


@asynccontextmanager
async def _sender(guard: Guard = _OPEN, timeout_seconds: float = 10.0) -> AsyncIterator[HttpSender]:
    sender = HttpSender(guard, timeout_seconds)
    try:
        yield sender
    finally:
        await sender.aclose()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Nothing more can be opened; what is open stays so."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def _posted(url: str, guard: Guard = _OPEN, timeout_seconds: float = 10.0) -> Reply:
    async with _sender(guard, timeout_seconds) as sender:
        return await sender.post(url, b"{}", {"Content-Type": "application/json"})


@pytest.mark.parametrize("status", [200, 500])
async def test_any_status_is_an_answer_and_no_error(status: int) -> None:
    with Receiver(statuses=[status]) as receiver:
        reply = await _posted(receiver.url)
    assert (reply.status_code, reply.body, reply.error) == (status, '{"received":true}', None)
    assert receiver.received[0].body == b"{}"
    assert receiver.received[0].headers["Host"] == receiver.url.split("/")[2]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_without_descriptors_the_receiver_is_not_to_blame(host: str) -> None:
    with Receiver() as receiver:
        url = receiver.url.replace("127.0.0.1", host)
        async with _sender() as sender:
            with no_descriptors():
                reply = await sender.post(url, b"{}", {})
            assert reply.shortage is not None
            assert (reply.status_code, reply.error) == (None, reply.shortage.message)
            assert "no file descriptor left" in reply.shortage.message
            after = await sender.post(url, b"{}", {})
    assert (after.status_code, after.shortage) == (200, None)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("120", 120.0, 120.0),
        ("-5", 0.0, 0.0),
        ("999999999999", 86_400.0, 86_400.0),
        ("inf", 86_400.0, 86_400.0),
        pytest.param(formatdate(usegmt=True), 0.0, 0.0, id="now"),
        ("Fri, 31 Dec 9998 23:59:59 GMT", 86_400.0, 86_400.0),
    ],
)
async def test_retry_after_is_told_within_bounds(value: str, low: float, high: float) -> None:
    with Receiver(statuses=[503], headers={"Retry-After": value}) as receiver:
        reply = await _posted(receiver.url)
    assert reply.retry_after_seconds is not None
    assert low <= reply.retry_after_seconds <= high


@pytest.mark.parametrize(
    "value",
    [
        "nan",
        "soon",
        "Mon, 99 Xyz",
        "Mon, 01 Jan 0001 00:00:00 +2300",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    ],
)
async def test_a_hostile_retry_after_counts_as_none(value: str) -> None:
    with Receiver(statuses=[503], headers={"Retry-After": value}) as receiver:
        reply = await _posted(receiver.url)
    assert (reply.status_code, reply.error, reply.retry_after_seconds) in [
        (503, None, None),
        (503, None, 0.0),
    ]


async def test_a_private_address_is_refused() -> None:
    with Receiver() as receiver:
        reply = await _posted(receiver.url, Guard(AddressPolicy(allow_http=True)))
    assert reply.status_code is None
    assert "private address" in str(reply.error)
    assert receiver.received == []


async def test_http_is_refused_unless_it_is_allowed() -> None:
    with Receiver() as receiver:
        reply = await _posted(receiver.url, Guard(AddressPolicy(allow_networks=PRIVATE)))
    assert reply.error == "the address is not https"
    assert receiver.received == []


async def test_a_redirect_is_not_followed() -> None:
    with Receiver() as other, Receiver(statuses=[302], headers={"Location": other.url}) as receiver:
        reply = await _posted(receiver.url)
    assert reply.status_code == 302
    assert other.received == []


async def test_a_silent_receiver_costs_no_more_than_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reply = await _posted(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_seconds=0.2)
    assert reply.status_code is None
    assert reply.error is not None


async def test_a_refused_connection_is_an_error_without_a_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    reply = await _posted(f"http://127.0.0.1:{port}/")
    assert (reply.status_code, reply.error) == (None, "the connection was refused: nothing listens there")


async def test_of_a_long_answer_the_first_kilobyte_is_kept() -> None:
    with Receiver(body=b"x" * 5000) as receiver:
        reply = await _posted(receiver.url)
    assert reply.body == "x" * 1024


async def test_a_host_beyond_ascii_is_asked_by_its_ascii_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def resolved(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(None, None, None, "", ("127.0.0.1", port))]

    monkeypatch.setattr("vvwatch.senders.guard.anyio.getaddrinfo", resolved)
    with Receiver() as receiver:
        reply = await _posted(receiver.url.replace("127.0.0.1", "bücher.example"))
    assert (reply.status_code, reply.error) == (200, None)
    assert asked == ["xn--bcher-kva.example"]
    assert receiver.received[0].headers["Host"].startswith("xn--bcher-kva.example:")


@pytest.mark.parametrize("url", ["https://a..b/", "https://" + "ü" * 80 + ".example/", "https://h:99999/"])
def test_an_impossible_host_is_refused(url: str) -> None:
    with pytest.raises(DeliveryRefused, match="no valid host"):
        _OPEN.parse_url(url)


@asynccontextmanager
async def _resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> AsyncIterator[list[str]]:
    """Names resolve to the `answers` one after the other, the last for ever. Yields what was asked."""
    asked: list[str] = []

    async def resolved(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(None, None, None, "", (address, port)) for address in found]

    with monkeypatch.context() as patched:
        patched.setattr("vvwatch.senders.guard.anyio.getaddrinfo", resolved)
        yield asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2002:a00:1::",
        "fec0::1",
        "::7f00:1",
        "::ffff:0:a00:1",
    ],
)
async def test_no_spelling_of_a_private_address_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    async with _resolving(monkeypatch, [address]):
        reply = await _posted("https://hook.example/", Guard())
    assert reply.error == "the host 'hook.example' resolves to a private address"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "168.63.129.16",
        "0.0.0.0",  # not listened on
        "224.0.0.1",
        "::",
        "fe80::1%eth0",
        "ff02::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ],
)
async def test_no_option_lets_metadata_be_asked(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    async with _resolving(monkeypatch, [address]):
        reply = await _posted("https://hook.example/", _OPEN)
    error = "the host 'hook.example' resolves to a link-local, reserved or cloud metadata address"
    assert reply.error == error


async def test_a_network_that_is_named_is_asked_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(AddressPolicy(allow_networks=(parse_network("10.20.0.0/16"),)))
    async with _resolving(monkeypatch, ["10.20.0.1"]):
        assert await guard.addresses("hook.example", 443) == ["10.20.0.1"]
    async with _resolving(monkeypatch, ["10.20.0.1", "10.21.0.1"]):
        with pytest.raises(DeliveryRefused, match="private address") as refused:
            await guard.addresses("hook.example", 443)
    assert "10.2" not in f"{refused.value} {refused.value.hint}", "what it resolves to is not told"


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
async def test_public_addresses_are_allowed(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    async with _resolving(monkeypatch, [address]):
        assert await Guard().addresses("hook.example", 443) == [address]


async def test_one_private_address_among_public_ones_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with _resolving(monkeypatch, ["93.184.216.34", "10.0.0.1"]):
        reply = await _posted("https://hook.example/", Guard())
    assert "private address" in str(reply.error)


async def test_a_name_is_asked_once_for_a_connection_and_that_answer_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Receiver() as receiver:
        url = receiver.url.replace("127.0.0.1", "hook.example")
        async with _resolving(monkeypatch, ["127.0.0.1"], ["192.0.2.1"]) as asked:
            reply = await _posted(url)
    assert (reply.status_code, asked) == (200, ["hook.example"])


async def test_a_name_that_became_private_is_refused_by_the_next_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with _resolving(monkeypatch, ["93.184.216.34"], ["127.0.0.1"]):
        guard = Guard()
        assert await guard.addresses("hook.example", 443) == ["93.184.216.34"]
        reply = await _posted("https://hook.example/", guard)
    assert "private address" in str(reply.error)


async def test_a_host_is_asked_at_each_of_its_addresses_until_one_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Receiver() as receiver:
        url = receiver.url.replace("127.0.0.1", "hook.example")
        async with _resolving(monkeypatch, ["127.0.0.3", "127.0.0.2", "127.0.0.1"]):
            reply = await _posted(url)
    assert (reply.status_code, len(receiver.received)) == (200, 1)


async def test_names_that_share_an_address_share_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        async with _resolving(monkeypatch, ["127.0.0.1"]) as asked, _sender() as sender:
            for name in ("one.example", "two.example"):
                await sender.post(receiver.url.replace("127.0.0.1", name), b"{}", {})
    assert asked == ["one.example", "two.example"]
    assert [each.headers["Host"].partition(":")[0] for each in receiver.received] == asked


@contextmanager
def _served(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a receiver that does with its only connection what `serve` says."""

    def accept() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.recv(1)
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join()


async def test_a_receiver_that_resets_is_an_error_without_a_status() -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with _served(reset) as url:
        reply = await _posted(url)
    assert reply.status_code is None
    assert reply.error == "the connection was reset by the receiver"


async def test_an_answer_that_trickles_costs_no_more_than_the_time_out() -> None:
    ended = threading.Event()

    def trickle(connection: socket.socket) -> None:
        while not ended.wait(0.02):
            connection.sendall(b"H")

    with _served(trickle) as url:
        reply = await _posted(url, timeout_seconds=0.3)
        ended.set()
    assert (reply.status_code, reply.error) == (None, "no answer within 0.3 s")


@pytest.mark.parametrize("is_cut", [True, False])
async def test_what_was_answered_counts_though_the_rest_of_the_answer_never_comes(is_cut: bool) -> None:
    ended = threading.Event()

    def answer(connection: socket.socket) -> None:
        while not connection.recv(65_536).endswith(b"{}"):
            pass
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntaken")
        assert is_cut or ended.wait(10)

    with _served(answer) as url:
        reply = await _posted(url, timeout_seconds=10.0 if is_cut else 2.0)
        ended.set()
    assert (reply.status_code, reply.body, reply.error) == (200, "taken", None)


@pytest.mark.parametrize("url", ["https://[::/", "", "https://\ud800/"])
async def test_no_address_makes_the_sender_raise(url: str) -> None:
    reply = await _posted(url)
    assert reply.status_code is None
    assert reply.error


async def test_what_cannot_be_put_into_a_request_is_an_error_too() -> None:
    with Receiver() as receiver:
        async with _sender() as sender:
            reply = await sender.post(receiver.url, b"{}", {"X-Odd": "\u2713"})
    assert reply.error == "UnicodeEncodeError: it could not be sent"
