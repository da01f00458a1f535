"""How often a key may ask, and what it is told of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from tests.api.asking import ADMIN_KEY, Api, client_of, key_with
from tests.clock import FakeClock
from vvwatch.api.http.context import ApiContext, ApiSettings
from vvwatch.core.keys import Scope
from vvwatch.core.rate_limits import Limits

pytestmark = pytest.mark.anyio

MINUTE_LEFT = 40  # the clock of the tests stands 20 s after a full minute
RESET_AT = 1_790_000_040


@pytest.fixture
async def limited(context: ApiContext, settings: ApiSettings) -> AsyncIterator[Api]:
    """A server that lets every key ask three times a minute and five times an hour."""
    strict = replace(context, settings=replace(settings, limits=Limits(3, 5)))
    async with client_of(strict) as client:
        yield await Api.prepared(client, strict)


async def test_one_request_too_many_is_told_when_to_come_back(limited: Api) -> None:
    left = [(await limited.client.get("/api/v2/indexes")).headers["x-ratelimit-remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    response = await limited.client.post("/api/v2/indexes", json={"name": "a"})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (429, "rate_limit_exceeded")
    assert (response.headers["retry-after"], error["retry_after"]) == (str(MINUTE_LEFT), MINUTE_LEFT)
    assert response.headers["x-ratelimit-limit"] == "3"
    assert response.headers["x-ratelimit-reset"] == str(RESET_AT)
    assert "requests_per_minute" in error["details"]["hint"]


async def test_the_next_minute_begins_anew(limited: Api, clock: FakeClock) -> None:
    for _ in range(3):
        await limited.get("/indexes")
    await limited.error("GET", "/indexes", 429)
    clock.advance(MINUTE_LEFT)
    assert await limited.get("/indexes") == []


async def test_a_refusal_of_another_kind_counts_too(limited: Api) -> None:
    response = await limited.client.get("/api/v2/indexes/idx_none")
    assert (response.status_code, response.headers["x-ratelimit-remaining"]) == (404, "2")


async def test_each_key_has_its_own_limit(limited: Api) -> None:
    other = {"X-API-Key": await key_with(limited.context, Scope.READ)}
    for _ in range(3):
        await limited.get("/indexes")
    assert (await limited.client.get("/api/v2/indexes", headers=other)).status_code == 200


async def test_what_is_left_is_told_and_asking_for_it_is_free(limited: Api) -> None:
    await limited.get("/indexes")
    for _ in range(9):
        told = await limited.get("/rate-limit/status")
        assert (await limited.client.get("/api/v2/auth/validate")).status_code == 204
    assert told == {
        "user_id": "user_local",
        "plan_id": "self_hosted",
        "categories": {
            "api": {
                "minute_used": 1,
                "minute_limit": 3,
                "minute_remaining": 2,
                "hour_used": 1,
                "hour_limit": 5,
                "hour_remaining": 4,
                "reset_at": RESET_AT,
            }
        },
    }
    assert await limited.post("/rate-limit/refresh") == told


async def test_without_limits_there_is_no_category(api: Api) -> None:
    told = await api.get("/rate-limit/status")
    assert told == {"user_id": "user_local", "plan_id": "self_hosted", "categories": {}}
    assert "x-ratelimit-limit" not in (await api.client.get("/api/v2/indexes")).headers


async def test_who_has_no_key_is_not_counted(limited: Api) -> None:
    async with httpx2.AsyncClient(transport=limited.client._transport, base_url="http://127.0.0.1") as client:
        for _ in range(9):
            assert (await client.get("/api/v2/indexes")).status_code == 401
        headers = {"X-API-Key": ADMIN_KEY}
        assert (await client.get("/api/v2/indexes", headers=headers)).status_code == 200
