from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api.asking import ADMIN_KEY, Api

pytestmark = pytest.mark.anyio

NOW = "2026-09-21T14:13:20.000Z"


async def test_a_key_is_shown_once_and_works_until_revoked(api: Api) -> None:
    body = {"name": "n8n", "scopes": ["read", "search"], "expires_in_days": 7}
    made = await api.post("/api-keys", body, status=201)
    key = made.pop("key")
    assert re.fullmatch(r"sk_live_[0-9a-f]{48}", key)
    assert made == {
        "key_id": made["key_id"],
        "key_prefix": key[:14],
        "name": "n8n",
        "scopes": ["read", "search"],
        "created_at": NOW,
        "last_used_at": None,
        "revoked_at": None,
        "expires_at": "2026-09-28T14:13:20.000Z",
        "is_active": True,
    }
    headers = {"X-API-Key": key}
    assert (await api.client.get("/api/v2/connectors", headers=headers)).status_code == 200
    admin, listed = sorted(await api.get("/api-keys"), key=lambda each: str(each["name"]))
    assert listed == {**made, "last_used_at": NOW}
    assert admin["key_prefix"] == ADMIN_KEY[:14]
    revoked = await api.post(f"/api-keys/{made['key_id']}/revoke")
    assert revoked == {**listed, "revoked_at": NOW, "is_active": False}
    assert await api.post(f"/api-keys/{made['key_id']}/revoke") == revoked
    assert (await api.client.get("/api/v2/connectors", headers=headers)).status_code == 401


async def test_a_key_may_read_by_default_and_does_not_expire(api: Api) -> None:
    made = await api.post("/api-keys", {"name": "a"}, status=201)
    assert (made["scopes"], made["expires_at"]) == (["read"], None)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": "admin"},
        {"expires_in_days": 0},
        {"expires_in_days": 366},
        {"expires_in_days": "7"},
        {"key": "sk_live_mine"},
    ],
)
async def test_what_cannot_be_is_refused(api: Api, change: dict[str, Any]) -> None:
    await api.error("POST", "/api-keys", 422, json={"name": "a", **change})
    assert len(await api.get("/api-keys")) == 1


async def test_an_unknown_key_is_not_found(api: Api) -> None:
    error = await api.error("POST", "/api-keys/key_none/revoke", 404)
    assert error["code"] == "resource_api_key_not_found"
