"""Plain HTTP to the daemon that the official clients share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from tests.daemon_process import ADMIN_KEY
from tests.sdk.world import World

Make = Callable[..., httpx2.Client]


@pytest.fixture(scope="session")
def client_with(world: World) -> Iterator[Make]:
    """Makes a client with some headers, which follows no redirect."""
    made: list[httpx2.Client] = []

    def client(**headers: str) -> httpx2.Client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        made.append(httpx2.Client(base_url=world.base_url, headers=named, timeout=30))
        return made[-1]

    yield client
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def http(client_with: Make) -> httpx2.Client:
    """The client of an administrator."""
    return client_with(X_API_Key=ADMIN_KEY)


def told(answer: httpx2.Response, status: int = 200) -> Any:
    """The JSON of an answer, which has the expected status and the marks of every answer."""
    assert answer.status_code == status, answer.text
    assert answer.headers["X-Request-ID"]
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def refused(answer: httpx2.Response, status: int, code: str) -> Any:
    """The error of an answer, in the one envelope that all clients can read."""
    body = told(answer, status)
    error = body["error"]
    assert error["code"] == code, error
    assert error["message"]
    assert isinstance(error["details"], dict)
    assert error["request_id"] == body["request_id"] == answer.headers["X-Request-ID"]
    assert "detail" not in body
    return error
