"""The audit trail: every change with who made it, every refusal counted, and neither more than once."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from tests.api.asking import ADMIN_KEY, BASE_URL, PROMPT, Api, client_of, key_with
from tests.api.openapi.described import DescribedTransport
from tests.api.route_scopes import SCOPES
from tests.api.serving import served
from tests.api.story import INDEX, Story
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from vvwatch.api.app import create_app
from vvwatch.api.compat.unavailable import router as unavailable
from vvwatch.api.http.auditing import ACTIONS
from vvwatch.api.http.auth import ScopedRoute
from vvwatch.api.http.context import ApiContext
from vvwatch.core.keys import Scope, digest_key
from vvwatch.core.rate_limits import Limits
from vvwatch.store.admin import audit, keys
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.watching import automations, windows

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.anyio

CHANGES_NOTHING = {
    "POST /prompts/test-schema",
    "POST /connectors/{connector_id}/browse",
    "POST /search/filter/playground",
    "POST /search/filter/{index_id}",
    "POST /workflow/search",
    "POST /playground/search",
    "POST /indexes/{index_id}/search",
    "POST /search/multi-run",
    "POST /search/sql/{index_id}/execute",
    "POST /videos/batch",
    "POST /videos/batch/status",
    "POST /videos/batch/segments",
    "POST /prompt-runs/estimate",
    "POST /auth/processing-activity",
    "POST /rate-limit/refresh",
    "POST /alerts/{receiver_id}/test",
    # these give addresses: `link.created` in the log
    "POST /videos/signed-url",
    "POST /workflow/media-grants",
    "POST /exports/{export_id}/download-url",
}
WEBHOOK = {"name": "w", "url": "https://example.com/x", "events": ["export.ready"]}
TRAIL: dict[str, Any] = {"limit": 200}


async def trail(api: Api, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get("/audit", **TRAIL, **query))["data"]
    return found


def test_every_route_that_changes_something_has_an_action() -> None:
    refusing = {route.scope_name for route in unavailable.routes if isinstance(route, ScopedRoute)}
    posting = {name for name in SCOPES if not name.startswith("GET ")} - refusing
    assert posting - CHANGES_NOTHING == set(ACTIONS)
    assert not CHANGES_NOTHING & set(ACTIONS)


async def test_a_change_names_who_made_it_and_by_which_request(api: Api, context: ApiContext) -> None:
    key = await key_with(context, Scope.WRITE)
    headers = {"X-API-Key": key, "X-Request-ID": "mine-1"}
    async with client_of(context, headers=headers) as client:
        made = (await client.post("/api/v2/indexes", json={"name": "Films"})).json()
        await client.patch(f"/api/v2/indexes/{made['index_id']}", json={"description": "x"})
    changed, created = await trail(api, resource_id=made["index_id"])
    assert created == {
        "audit_id": created["audit_id"],
        "at": created["at"],
        "last_at": created["at"],
        "actor": created["actor"],
        "actor_name": "test",
        "action": "index.created",
        "outcome": "done",
        "resource_id": made["index_id"],
        "route": "POST /indexes",
        "request_id": "mine-1",
        "address": "127.0.0.1",
        "times": 1,
        "details": {"name": "Films"},
    }
    assert created["actor"].startswith("key_")
    assert changed["action"] == "index.changed"
    assert changed["details"] == {"name": "Films", "fields": ["description"]}


async def test_a_failed_change_leaves_no_entry(api: Api) -> None:
    await api.ask("DELETE", "/indexes/idx_nothing", status=404)
    await api.post("/indexes", {"name": ""}, status=422)
    assert await trail(api, action="index") == []


async def test_a_repetition_leaves_no_second_entry(api: Api) -> None:
    headers = {"Idempotency-Key": "one"}
    for _ in range(2):
        await api.client.post("/api/v2/indexes", json={"name": "Films"}, headers=headers)
    for _ in range(2):
        await api.client.post("/api/v2/webhooks", json=WEBHOOK, headers=headers)
    assert [each["action"] for each in await trail(api)] == ["webhook.created", "index.created"]


async def test_keys_leave_entries_without_themselves(api: Api) -> None:
    made = await api.post("/api-keys", {"name": "ci", "scopes": ["write"]}, status=201)
    rotated = await api.post(f"/api-keys/{made['key_id']}/rotate")
    await api.post(f"/api-keys/{rotated['new_key']['key_id']}/revoke")
    await api.ask("DELETE", f"/api-keys/{made['key_id']}")
    found = await trail(api, action="key")
    assert [each["action"] for each in found] == ["key.deleted", "key.revoked", "key.rotated", "key.created"]
    assert found[3]["details"] == {"name": "ci", "scopes": ["write"]}
    assert found[2]["details"] == {"new_key_id": rotated["new_key"]["key_id"]}
    assert "sk_live_" not in str(found)
    secret = (await api.post("/webhooks", WEBHOOK, status=201))["secret"]
    assert secret not in str(await trail(api))


async def test_the_trail_is_read_in_pages_and_filtered(api: Api, clock: FakeClock) -> None:
    for number in range(5):
        await api.post("/indexes", {"name": f"i{number}"}, status=201)
        clock.advance(10)
    await api.post("/prompts", PROMPT, status=201)
    first = await api.get("/audit", limit=4)
    assert first["pagination"]["has_more"]
    rest = await api.get("/audit", limit=4, cursor=first["pagination"]["next_cursor"])
    names = [each["details"]["name"] for each in first["data"] + rest["data"]]
    assert names == ["Shots", "i4", "i3", "i2", "i1", "i0"]
    since, until = first["data"][2]["at"], first["data"][1]["at"]
    assert [each["details"]["name"] for each in await trail(api, since=since, until=until)] == ["i3"]
    assert [each["action"] for each in await trail(api, action="prompt.created")] == ["prompt.created"]
    assert await trail(api, actor="cli") == []
    assert len(await trail(api, actor=first["data"][0]["actor"])) == 6
    await api.error("GET", "/audit?since=yesterday", 422)


async def test_a_repair_of_queues_has_an_entry(api: Api) -> None:
    await api.post("/doctor/repair")
    [repaired] = await trail(api)
    assert (repaired["action"], repaired["resource_id"]) == ("queue.repaired", "")


async def test_refusals_are_counted_together(
    api: Api, stranger: httpx2.AsyncClient, context: ApiContext, clock: FakeClock
) -> None:
    weak = await key_with(context, Scope.SEARCH)
    revoked = await key_with(context, Scope.ADMIN)
    for row in await context.database.read(keys.list_all):
        if row.digest == digest_key(revoked):
            await context.database.write(keys.revoke, row.id)
    expired = await key_with(context, Scope.ADMIN, expires_at=clock.now())
    for key in ["", "sk_live_" + "0" * 48, weak, revoked, expired] * 7:
        await stranger.post("/api/v2/indexes", json={}, headers={"X-API-Key": key})
    await stranger.get("/api/v2/exports/exp_1/download", params={"token": "nonsense"})
    await stranger.get("/api/v2/indexes", headers={"Host": "evil.example"})
    await stranger.post("/api/v2/indexes", headers={"Origin": "https://evil.example"})
    await context.refused.flush()
    found = {each["details"]["reason"]: each for each in await trail(api, action="request.refused")}
    counts = {reason: each["times"] for reason, each in found.items()}
    each_seven = dict.fromkeys(
        ("no_key", "unknown_key", "insufficient_scope", "revoked_key", "expired_key"), 7
    )
    assert counts == each_seven | {"link": 1, "host": 1, "origin": 1}
    assert found["unknown_key"]["actor"] == ""
    assert found["revoked_key"]["actor"].startswith("key_")
    assert {each["outcome"] for each in found.values()} == {"refused"}
    assert await context.database.read(lambda tx: len(catalog.list_indexes(tx))) == 0


async def test_the_rate_limit_refuses_with_an_entry(context: ApiContext) -> None:
    limited = replace(context, settings=replace(context.settings, limits=Limits.of(3, None)))
    async with client_of(limited) as client:
        api = await Api.prepared(client, limited)
        for _ in range(6):
            await api.client.get("/api/v2/indexes")
    await context.refused.flush()
    found = await context.database.read(audit.list_newest, audit.AuditFilter(), None, 10)
    assert [(row.details, row.times) for row in found] == [({"reason": "rate_limit"}, 3)]


async def test_who_guesses_keys_shows_up(
    api: Api, stranger: httpx2.AsyncClient, context: ApiContext, clock: FakeClock
) -> None:
    bad = {"X-API-Key": "sk_live_" + "0" * 48}
    for _ in range(19):
        await stranger.get("/api/v2/indexes", headers=bad)
    await context.refused.flush()
    assert [each["kind"] for each in (await api.get("/status"))["attention"]] == []
    await stranger.get("/api/v2/indexes", headers=bad)
    await context.refused.flush()
    [told] = (await api.get("/status"))["attention"]
    assert (told["kind"], told["attention_id"], told["count"]) == ("address", "127.0.0.1", 20)
    findings = (await api.get("/doctor"))["findings"]
    assert [each["id"] for each in findings if each["about"] == "address"] == ["127.0.0.1"]
    clock.advance(3601)
    assert (await api.get("/status"))["attention"] == []


async def test_reading_the_trail_needs_an_admin(context: ApiContext) -> None:
    key = await key_with(context, Scope.WRITE)
    async with client_of(context, headers={"X-API-Key": key}) as client:
        assert (await client.get("/api/v2/audit")).status_code == 403


@pytest.mark.parametrize("host", ["a" * 5000, "", "10.0.0.1\nx", "::1%" + "z" * 500])
async def test_what_is_no_address_is_unknown(api: Api, context: ApiContext, host: str) -> None:
    transport = DescribedTransport(create_app(context), client=(host, 1))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        headers = {"X-API-Key": ADMIN_KEY}
        assert (await client.post("/api/v2/indexes", json={"name": "x"}, headers=headers)).status_code == 201
    [entry] = await trail(api)
    assert len(entry["address"]) <= 64
    assert "\n" not in entry["address"]


async def test_changes_that_come_at_once_leave_one_entry_each(api: Api, context: ApiContext) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(_make, api, number)
    names = {each["details"]["name"] for each in await trail(api)}
    assert names == {f"i{number}" for number in range(20)}
    assert await context.database.read(_count) == 20


async def _make(api: Api, number: int) -> None:
    await api.post("/indexes", {"name": f"i{number}"}, status=201)


def _count(tx: Tx) -> int:
    return len(audit.list_newest(tx, audit.AuditFilter(), None, 200))


async def test_what_steers_a_pipeline_has_an_entry(
    api: Api, story: Story, database: Database, storage: FakeStorage
) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(windows.accept_objects, row.id, row.generation, [storage.put("d.mp4", b"d")])
    path = f"/indexes/{INDEX}/automations/import"
    for step in ("window/hold", "window/hold", "window/release", "window/fire", "pause", "resume"):
        await api.post(f"{path}/{step}")
    await api.post(f"{path}/scan", status=202)
    found = [(each["action"], each["resource_id"]) for each in reversed(await trail(api))]
    window = found[0][1]
    assert window.startswith("win_")
    assert found == [
        *((f"window.{done}", window) for done in ("held", "released", "fired")),
        *((f"automation.{done}", row.id) for done in ("paused", "resumed", "scan_requested")),
    ], "a window that is held already is not held again"


@pytest.mark.parametrize(("moment", "times"), [("before", 0), ("after", 1)])
async def test_a_crash_leaves_the_change_and_its_entry_or_neither(
    tmp_path: Path, moment: str, times: int
) -> None:
    """A process that dies right before, or right after, the commit of a change."""
    place = tmp_path / "vvwatch.db"
    database = SqliteDatabase(place, FakeClock())
    async with database.opened():
        await database.write(keys.seed_admin, ADMIN_KEY)
    program = [sys.executable, "-m", "tests.api.routes.dying_answer", str(place)]
    request = ["POST", "/indexes", '{"name": "films"}', "one"]
    environ = {**os.environ, "DIE": moment}
    done = await anyio.run_process([*program, *request], cwd=ROOT, check=False, env=environ)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    database = SqliteDatabase(place, FakeClock())
    async with database.opened():
        made = await database.read(catalog.list_indexes, include_defaults=False)
        kept = await database.read(audit.list_newest, audit.AuditFilter(action="index"), None, 10)
        assert [row.name for row in made] == ["films"] * times
        assert [row.resource_id for row in kept] == [row.id for row in made]
        assert [row.actor for row in kept] == [keys.ADMIN_KEY_ID] * times


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ((), "203.0.113.9", "127.0.0.1"),
        (("10.0.0.0/8",), "203.0.113.9", "127.0.0.1"),
        (("127.0.0.1/32",), "203.0.113.9", "203.0.113.9"),
        (("127.0.0.1/32",), "198.51.100.7, 203.0.113.9", "203.0.113.9"),
        (("127.0.0.1/32", "203.0.113.0/24"), "198.51.100.7, 203.0.113.9", "198.51.100.7"),
        (("127.0.0.1/32",), "x" * 3000, "unknown"),
    ],
)
async def test_only_a_trusted_proxy_names_the_client(
    api: Api, context: ApiContext, trusted: tuple[str, ...], forwarded: str, address: str
) -> None:
    headers = {"X-API-Key": ADMIN_KEY, "X-Forwarded-For": forwarded}
    async with (
        served(context, trusted) as server,
        httpx2.AsyncClient(base_url=server.url, headers=headers) as client,
    ):
        assert (await client.post("/api/v2/indexes", json={"name": "x"})).status_code == 201
    [entry] = await trail(api)
    assert entry["address"] == address
