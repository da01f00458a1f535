from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import ADMIN_KEY, Api
from vvwatch.api.http.context import ApiContext
from vvwatch.store.db.database import Database
from vvwatch.store.schema import receipts

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


async def test_one_key_is_shown_without_itself(api: Api) -> None:
    made = await api.post("/api-keys", {"name": "a"}, status=201)
    del made["key"]
    assert await api.get(f"/api-keys/{made['key_id']}") == made


async def test_the_same_idempotency_key_makes_one_key_and_shows_it_once(api: Api) -> None:
    api.client.headers["Idempotency-Key"] = "make-it"
    made = await api.post("/api-keys", {"name": "a"}, status=201)
    error = await api.error("POST", "/api-keys", 409, json={"name": "a"})
    assert error["code"] == "idempotency_answer_not_kept"
    assert made["key_id"] in error["message"], "who lost the answer learns which key to rotate"
    assert "rotate" in error["details"]["hint"]
    assert made["key"] not in repr(error)
    assert len(await api.get("/api-keys")) == 2
    rotate = f"/api-keys/{made['key_id']}/rotate"
    new = (await api.post(rotate))["new_key"]
    error = await api.error("POST", rotate, 409)
    assert (error["code"], new["key_id"] in error["message"]) == ("idempotency_answer_not_kept", True)
    assert len(await api.get("/api-keys")) == 3


async def test_no_receipt_holds_a_key(api: Api, database: Database, context: ApiContext) -> None:
    api.client.headers["Idempotency-Key"] = "k"
    made = await api.post("/api-keys", {"name": "a"}, status=201)
    new = await api.post(f"/api-keys/{made['key_id']}/rotate")
    hook = {"name": "h", "url": "https://example.com/hook", "events": ["export.ready"]}
    hook_id = (await api.post("/webhooks", hook, status=201))["webhook_id"]
    secret = (await api.post(f"/webhooks/{hook_id}/rotate-secret"))["new_secret"]
    kept = await database.read(lambda tx: tx.execute(sa.select(receipts.c.answer)).scalars().all())
    texts = [context.box.open(answer) for answer in kept]
    assert len(texts) == 3, "a new webhook has no receipt: its row is one"
    assert not [
        text for text in texts for shown in (made["key"], new["new_key"]["key"], secret) if shown in text
    ]


@pytest.mark.parametrize("how", ["revoke", "delete", "rotate"])
async def test_the_receipts_of_a_key_go_with_it(api: Api, database: Database, how: str) -> None:
    async def kept() -> list[str]:
        return await database.read(lambda tx: list(tx.execute(sa.select(receipts.c.key_id)).scalars()))

    made = await api.post("/api-keys", {"name": "a", "scopes": ["admin"]}, status=201)
    own = {"X-API-Key": made["key"], "Idempotency-Key": "k"}
    for headers in (own, own | {"X-API-Key": ADMIN_KEY}):
        answer = await api.client.post("/api/v2/indexes", json={"name": "i"}, headers=headers)
        assert answer.status_code == 201
    assert sorted(await kept()) == sorted(["key_admin", made["key_id"]])
    path = f"/api-keys/{made['key_id']}"
    await (api.ask("DELETE", path) if how == "delete" else api.post(f"{path}/{how}"))
    assert await kept() == ["key_admin"]


async def test_a_rotated_key_is_revoked_and_another_one_is_like_it(api: Api) -> None:
    old = await api.post("/api-keys", {"name": "a", "scopes": ["search"], "expires_in_days": 3}, status=201)
    answer = await api.post(f"/api-keys/{old['key_id']}/rotate")
    new = answer["new_key"]
    assert answer == {"old_key_id": old["key_id"], "new_key": new}
    assert new["key"] != old["key"]
    assert {name: new[name] for name in ("name", "scopes", "expires_at")} == {
        name: old[name] for name in ("name", "scopes", "expires_at")
    }
    for key, status in ((old["key"], 401), (new["key"], 200)):
        response = await api.client.get("/api/v2/indexes", headers={"X-API-Key": key})
        assert response.status_code == status
    error = await api.error("POST", f"/api-keys/{old['key_id']}/rotate", 409)
    assert "cannot be rotated" in error["message"]


async def test_a_deleted_key_opens_nothing_and_is_not_listed(api: Api) -> None:
    made = await api.post("/api-keys", {"name": "a"}, status=201)
    path = f"/api-keys/{made['key_id']}"
    answer = await api.ask("DELETE", path)
    assert answer == {"message": f"key 'a' ({made['key_id']}) was deleted"}
    for method in ("GET", "DELETE"):
        assert (await api.error(method, path, 404))["code"] == "resource_api_key_not_found"
    headers = {"X-API-Key": made["key"]}
    assert (await api.client.get("/api/v2/indexes", headers=headers)).status_code == 401


async def test_nobody_can_be_locked_out_by_mistake(api: Api) -> None:
    own = (await api.get("/api-keys"))[0]["key_id"]
    error = await api.error("POST", f"/api-keys/{own}/revoke", 409)
    assert error["details"]["hint"] == "create another one with this scope first"
    body = {"name": "second", "scopes": ["admin"]}
    second = await api.post("/api-keys", body, status=201)
    assert not (await api.post(f"/api-keys/{own}/revoke"))["is_active"]
    api.client.headers["X-API-Key"] = second["key"]
    for method, path in (("POST", "/revoke"), ("DELETE", "")):
        await api.error(method, f"/api-keys/{second['key_id']}{path}", 409)


async def test_the_operators_own_key_is_neither_rotated_nor_deleted(api: Api) -> None:
    """It would come again with the next start."""
    own = (await api.get("/api-keys"))[0]["key_id"]
    await api.post("/api-keys", {"name": "second", "scopes": ["admin"]}, status=201)
    for method, path in (("POST", "/rotate"), ("DELETE", "")):
        assert "operator" in (await api.error(method, f"/api-keys/{own}{path}", 409))["message"]
