"""What can be made over the API has a ceiling; what exists goes on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import Api
from vvwatch.store.admin import keys
from vvwatch.store.catalog import catalog, ceilings
from vvwatch.store.db.database import Database

pytestmark = pytest.mark.anyio

HOOK = {"url": "https://example.com/hook", "events": ["export.ready"]}
BODIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "API keys": ("/api-keys", "key_id", {}),
    "indexes": ("/indexes", "index_id", {}),
    "webhooks": ("/webhooks", "webhook_id", HOOK),
    "prompts": (
        "/prompts",
        "prompt_id",
        {"prompt_text": "what is in it, please", "json_schema": {"type": "object", "properties": {}}},
    ),
}


@pytest.mark.parametrize("what", BODIES)
async def test_the_next_one_is_refused_and_there_is_room_again_after_a_deletion(
    api: Api, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, name, body = BODIES[what]
    there = len(await api.get(path))
    monkeypatch.setattr(ceilings, "MAX_PER_KIND", max(there, 1) + 2)
    made = []
    for number in range(10):
        answer = await api.client.post(f"/api/v2{path}", json={"name": f"name {number}", **body})
        if answer.status_code == 409:
            break
        assert answer.status_code in (200, 201), answer.text
        made.append(answer.json()[name])
    assert 1 <= len(made) < 10
    error = answer.json()["error"]
    assert error["code"] == "limit_reached"
    assert what in error["message"]
    assert f"DELETE /api/v2{path}/" in error["details"]["hint"]
    gone = await api.client.delete(f"/api/v2{path}/{made[0]}")
    assert gone.status_code in (200, 202), gone.text
    again = await api.client.post(f"/api/v2{path}", json={"name": "again", **body})
    assert again.status_code in (200, 201), again.text


async def test_a_key_is_rotated_and_a_repeated_request_answered_when_there_are_most(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await api.post("/api-keys", {"name": "a"}, status=201)
    once: dict[str, Any] = {"headers": {"Idempotency-Key": "k"}, "json": {"name": "i"}, "status": 201}
    index = await api.ask("POST", "/indexes", **once)
    monkeypatch.setattr(ceilings, "MAX_PER_KIND", 1)
    await api.error("POST", "/api-keys", 409, json={"name": "b"})
    assert (await api.post(f"/api-keys/{made['key_id']}/rotate"))["old_key_id"] == made["key_id"]
    assert await api.ask("POST", "/indexes", **once) == index


async def test_what_the_file_declares_is_not_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceilings, "MAX_PER_KIND", 0)
    await database.write(catalog.declare_index, "idx_a", "a")
    await database.write(keys.seed_admin, "sk_live_" + "b" * 48)
