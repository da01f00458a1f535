from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest

from tests.receiver import Receiver
from vvwatch.errors import DeliveryRefused
from vvwatch.ports import Reply
from vvwatch.senders.http import Guard, HttpSender

pytestmark = pytest.mark.anyio

_OPEN = Guard(allow_http=True, allow_private_addresses=True)


@asynccontextmanager
async def _sender(guard: Guard = _OPEN, timeout_seconds: float = 10.0) -> AsyncIterator[HttpSender]:
    sender = HttpSender(guard, timeout_seconds)
    try:
        yield sender
    finally:
        await sender.aclose()


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
        reply = await _posted(receiver.url, Guard(allow_http=True))
    assert reply.status_code is None
    assert "private address" in str(reply.error)
    assert receiver.received == []


async def test_http_is_refused_unless_it_is_allowed() -> None:
    with Receiver() as receiver:
        reply = await _posted(receiver.url, Guard(allow_private_addresses=True))
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
    assert (reply.status_code, reply.error) == (None, "ConnectError: the connection failed")


async def test_of_a_long_answer_the_first_kilobyte_is_kept() -> None:
    with Receiver(body=b"x" * 5000) as receiver:
        reply = await _posted(receiver.url)
    assert reply.body == "x" * 1024


async def test_a_host_beyond_ascii_is_asked_by_its_ascii_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def resolved(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(None, None, None, "", ("127.0.0.1", port))]

    monkeypatch.setattr("vvwatch.senders.http.anyio.getaddrinfo", resolved)
    with Receiver() as receiver:
        reply = await _posted(receiver.url.replace("127.0.0.1", "bücher.example"))
    assert (reply.status_code, reply.error) == (200, None)
    assert asked == ["xn--bcher-kva.example"]
    assert receiver.received[0].headers["Host"].startswith("xn--bcher-kva.example:")


@pytest.mark.parametrize("url", ["https://a..b/", "https://" + "ü" * 80 + ".example/", "https://h:99999/"])
async def test_an_impossible_host_is_refused(url: str) -> None:
    with pytest.raises(DeliveryRefused, match="no valid host"):
        await _OPEN.pinned(url)


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
