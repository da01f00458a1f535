"""Is a key good, which of two counts, and what clients announce."""

from __future__ import annotations

import httpx2
import pytest

from tests.api.asking import Api, key_with
from vvwatch.api.http.context import ApiContext
from vvwatch.core.keys import Scope

pytestmark = pytest.mark.anyio

WRONG = "sk_live_" + "f" * 48


@pytest.mark.parametrize("scope", Scope)
async def test_a_valid_key_gets_an_empty_answer(
    stranger: httpx2.AsyncClient, context: ApiContext, scope: Scope
) -> None:
    headers = {"X-API-Key": await key_with(context, scope)}
    response = await stranger.get("/api/v2/auth/validate", headers=headers)
    assert (response.status_code, response.content) == (204, b"")


async def test_another_key_is_told_so(stranger: httpx2.AsyncClient) -> None:
    for headers in ({}, {"X-API-Key": WRONG}, {"Authorization": f"Bearer {WRONG}"}):
        response = await stranger.get("/api/v2/auth/validate", headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "authentication_invalid_api_key"


async def test_of_two_credentials_the_key_counts(stranger: httpx2.AsyncClient, context: ApiContext) -> None:
    good = await key_with(context, Scope.SEARCH)

    async def status(key: str, bearer: str) -> int:
        headers = {"X-API-Key": key, "Authorization": f"Bearer {bearer}"}
        return (await stranger.get("/api/v2/auth/validate", headers=headers)).status_code

    assert (await status(good, WRONG), await status(WRONG, good)) == (204, 401)


@pytest.mark.parametrize(
    "content",
    [b'{"event_id": "1", "surface": "sdk", "reason": "authentication"}', b"", b"[1]", b"{nonsense", b"\xff"],
)
async def test_whatever_a_client_announces_it_is_welcome(api: Api, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await api.ask("POST", "/auth/processing-activity", content=content, headers=headers)
    assert answer == {"accepted": True, "wake_status": "ready", "reason": "this server does not sleep"}


async def test_an_announcement_needs_a_key(stranger: httpx2.AsyncClient) -> None:
    assert (await stranger.post("/api/v2/auth/processing-activity")).status_code == 401
