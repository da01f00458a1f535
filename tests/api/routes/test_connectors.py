from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.api.asking import Api, client_of
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from vvwatch.api.http.context import ApiContext, ApiSettings
from vvwatch.api.routes import browsing, connectors
from vvwatch.errors import AccessDenied, OnAnotherNode, StorageUnavailable
from vvwatch.ports import Page, Storage
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec

pytestmark = pytest.mark.anyio

NOW = "2026-09-21T14:13:20.000Z"


async def test_a_local_connector_is_made_and_tested(api: Api, settings: ApiSettings) -> None:
    [root] = settings.local_roots
    body = {
        "name": "dailies",
        "path": f"{root}//in/./deep/",
        "scopes": ["import", "export"],
        "import_mode": "new_only",
        "export_base_path": "exports",
    }
    made = await api.post("/connectors/local", body, status=201)
    assert made == {
        "connector_id": made["connector_id"],
        "name": "dailies",
        "provider": "local",
        "status": "active",
        "scopes": ["import", "export"],
        "import_mode": "new_only",
        "export_base_path": "exports",
        "path": f"{root}/in/deep",
        "bucket": None,
        "region": None,
        "storage_account": None,
        "container": None,
        "gcp_project_id": None,
        "node": None,
        "events": None,
        "declared": False,
        "created_at": NOW,
        "updated_at": NOW,
        "last_tested_at": NOW,
        "last_test_result": "success",
        "last_test_error": None,
    }
    assert await api.get(f"/connectors/{made['connector_id']}") == made
    assert await api.get("/connectors") == [made]


async def test_only_import_is_allowed_by_default(api: Api, settings: ApiSettings) -> None:
    body = {"name": "in", "path": str(settings.local_roots[0])}
    made = await api.post("/connectors/local", body, status=201)
    assert (made["scopes"], made["import_mode"], made["export_base_path"]) == (["import"], "all", None)


async def test_a_folder_belongs_to_the_node_that_is_asked_unless_it_is_shared(
    context: ApiContext, settings: ApiSettings, storage: FakeStorage
) -> None:
    there = replace(context, settings=replace(settings, node="there"))
    async with client_of(there) as client:
        api = await Api.prepared(client, there)
        body = {"name": "in", "path": str(settings.local_roots[0])}
        own = await api.post("/connectors/local", body, status=201)
        shared = await api.post("/connectors/local", {**body, "shared": True}, status=201)
    assert (own["node"], shared["node"]) == ("there", None)


async def test_what_only_another_node_can_look_at_is_said_and_not_held_against_it(
    context: ApiContext, settings: ApiSettings
) -> None:
    def elsewhere(_: object) -> Storage:
        raise OnAnotherNode("the folder is on another node", "ask there")

    here = replace(context, storages=elsewhere)
    async with client_of(here) as client:
        api = await Api.prepared(client, here)
        made = await here.database.write(
            catalog.declare_connector, "conn_far", ConnectorSpec("far", "local", {"root": "/x"}, node="far")
        )
        for action in ("test", "browse"):
            error = await api.error("POST", f"/connectors/{made.id}/{action}", 409)
            assert (error["message"], error["details"]["hint"]) == (
                "the folder is on another node",
                "ask there",
            )
        assert (await api.get(f"/connectors/{made.id}"))["last_test_result"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": " \t "},
        {"name": "a\nb"},
        {"name": "a\x9b31m"},
        {"path": ""},
        {"path": None},
        {"scopes": []},
        {"scopes": ["write"]},
        {"scopes": "import"},
        {"import_mode": "some"},
        {"export_base_path": "../up"},
        {"export_base_path": "/abs"},
        {"bucket": "b"},
    ],
)
async def test_what_cannot_be_is_refused(api: Api, settings: ApiSettings, change: dict[str, Any]) -> None:
    body = {"name": "in", "path": str(settings.local_roots[0]), **change}
    error = await api.error("POST", "/connectors/local", 422, json=body)
    [where] = {each["where"].split(".")[1] for each in error["details"]["errors"]}
    assert [where] == list(change)


async def test_a_connector_stays_below_the_allowed_roots(
    api: Api, settings: ApiSettings, tmp_path: Path
) -> None:
    [root] = settings.local_roots
    (root / "link").symlink_to(tmp_path)
    for path in (
        "/",
        "/etc",
        str(tmp_path),
        f"{root}-2",
        f"{root}/..",
        f"{root}/link",
        "relative",
        f"{root}\0",
    ):
        error = await api.error("POST", "/connectors/local", 422, json={"name": "in", "path": path})
        assert str(root) in error["details"]["hint"]
    assert await api.get("/connectors") == []


async def test_no_connector_reaches_the_daemons_state(
    api: Api, context: ApiContext, settings: ApiSettings
) -> None:
    [root] = settings.local_roots
    state = root / "app" / "state"
    (state / "exports").mkdir(parents=True)
    (root / "link").symlink_to(state)
    kept = replace(context, settings=replace(settings, state_dir=state))
    async with client_of(kept, headers=api.client.headers) as client:
        for path, status in (
            (root, 422),
            (root / "app", 422),
            (state, 422),
            (state / "exports", 422),
            (root / "link", 422),
            (root / "app" / "state-2", 201),
        ):
            body = {"name": "in", "path": str(path)}
            response = await client.post("/api/v2/connectors/local", json=body)
            assert response.status_code == status, path


async def test_a_connector_that_fails_its_test_is_made_all_the_same(
    api: Api, settings: ApiSettings, storage: FakeStorage
) -> None:
    storage.broken = StorageUnavailable("the folder is gone", "mount it")
    body = {"name": "in", "path": str(settings.local_roots[0])}
    made = await api.post("/connectors/local", body, status=201)
    assert (made["status"], made["last_test_result"]) == ("failed", "failed")
    assert made["last_test_error"] == "the folder is gone: mount it"


async def test_a_test_is_answered_and_kept(api: Api, storage: FakeStorage, clock: FakeClock) -> None:
    connector = await api.connector()
    path = f"/connectors/{connector}"
    clock.advance(60)
    assert await api.post(f"{path}/test") == {"success": True, "error_message": None, "store_notes": []}
    storage.broken = AccessDenied("permission denied")
    assert await api.post(f"{path}/test") == {
        "success": False,
        "error_message": "permission denied",
        "store_notes": [],
    }
    kept = await api.get(path)
    assert (kept["status"], kept["last_test_error"]) == ("failed", "permission denied")
    assert kept["last_tested_at"] == "2026-09-21T14:14:20.000Z"
    storage.broken = None
    await api.post(f"{path}/test")
    assert (await api.get(path))["status"] == "active"


async def browse(api: Api, connector: str, **body: Any) -> list[str]:
    found = await api.post(f"/connectors/{connector}/browse", body)
    return [file["path"] for file in found]


async def test_browsing_finds_by_prefix_and_pattern(api: Api, storage: FakeStorage) -> None:
    connector = await api.connector()
    for key in ("a.mp4", "b.MOV", "notes", "in/c.mp4", "in/deep/d.mov"):
        storage.put(key, b"12345")
    first = (await api.post(f"/connectors/{connector}/browse", {"limit": 1}))[0]
    assert first == {
        "path": "a.mp4",
        "name": "a.mp4",
        "size_bytes": 5,
        "last_modified": "1970-01-01T00:16:40.000Z",
        "content_type": "video/mp4",
        "extension": ".mp4",
    }
    assert await browse(api, connector) == ["a.mp4", "b.MOV", "notes", "in/c.mp4", "in/deep/d.mov"]
    assert await browse(api, connector, pattern="*.{mp4,mov}", recursive=False) == ["a.mp4", "b.MOV"]
    assert await browse(api, connector, prefix="in/", recursive=True) == ["in/c.mp4", "in/deep/d.mov"]
    assert await browse(api, connector, prefix="in/", pattern="deep/*") == ["in/deep/d.mov"]
    assert await browse(api, connector, prefix="in/c.mp4") == ["in/c.mp4"]
    assert await browse(api, connector, prefix="none/") == []
    [plain] = await api.post(f"/connectors/{connector}/browse", {"pattern": "notes"})
    assert (plain["extension"], plain["content_type"]) == ("", None)


async def test_browsing_without_a_body_shows_everything(api: Api, storage: FakeStorage) -> None:
    path = f"/connectors/{await api.connector()}/browse"
    assert await api.post(path) == await api.post(path, {})


async def test_browsing_says_what_went_wrong(api: Api, storage: FakeStorage) -> None:
    connector = await api.connector()
    path = f"/connectors/{connector}/browse"
    for body in ({"limit": 0}, {"limit": 10_001}, {"pattern": "["}, {"prefix": "../up"}, {"prefix": "a\0"}):
        await api.error("POST", path, 422, json=body)
    storage.broken = StorageUnavailable("the folder is gone")
    assert (await api.error("POST", path, 503, json={}))["code"] == "storage_unavailable"
    storage.broken = AccessDenied("permission denied", "chmod")
    assert (await api.error("POST", path, 502, json={}))["details"] == {"hint": "chmod"}


async def test_browsing_does_not_go_on_for_ever(
    api: Api, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(_prefix: str, *, recursive: bool) -> AsyncIterator[Page]:
        while True:
            await anyio.lowlevel.checkpoint()
            yield Page([])

    connector = await api.connector()
    monkeypatch.setattr(storage, "list", endless)
    monkeypatch.setattr(browsing, "_MAX_SECONDS", 0.05)
    error = await api.error("POST", f"/connectors/{connector}/browse", 504, json={})
    assert "prefix" in error["details"]["hint"]


async def test_an_unknown_connector_is_not_found(api: Api) -> None:
    for method, tail in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/browse")):
        error = await api.error(method, f"/connectors/conn_none{tail}", 404, json={})
        assert error["code"] == "resource_connector_not_found"


async def test_a_listing_that_is_broken_off_is_closed(
    api: Api, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    async def many(_prefix: str, *, recursive: bool) -> AsyncIterator[Page]:
        try:
            while True:
                yield Page([storage.put("a.mp4", b"a")])
        finally:
            ended.append(True)

    connector = await api.connector()
    monkeypatch.setattr(storage, "list", many)
    assert await browse(api, connector, limit=3) == ["a.mp4"] * 3
    assert ended == [True]


async def test_a_test_without_an_answer_ends(
    api: Api, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(**_: Any) -> None:
        await anyio.sleep_forever()

    connector = await api.connector()
    monkeypatch.setattr(storage, "check", silent)
    monkeypatch.setattr(connectors, "_MAX_TEST_SECONDS", 0.05)
    assert "no response" in (await api.post(f"/connectors/{connector}/test"))["error_message"]


async def test_what_is_changed_is_answered_and_the_rest_stays(api: Api, clock: FakeClock) -> None:
    connector = await api.connector("import", "export")
    before = await api.get(f"/connectors/{connector}")
    clock.advance(60)
    changes = {
        "name": "rushes",
        "import_mode": "new_only",
        "export_base_path": "a//./b/",
        "scopes": ["export"],
    }
    changed = await api.ask("PATCH", f"/connectors/{connector}", json=changes)
    later = {"updated_at": "2026-09-21T14:14:20.000Z", "last_tested_at": "2026-09-21T14:14:20.000Z"}
    assert changed == before | changes | later | {"export_base_path": "a/b"}
    assert await api.get(f"/connectors/{connector}") == changed
    assert await api.ask("PATCH", f"/connectors/{connector}", json={}) == changed
    for nothing in (None, ""):
        again = await api.ask("PATCH", f"/connectors/{connector}", json={"export_base_path": nothing})
        assert again["export_base_path"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"name": " "},
        {"scopes": []},
        {"scopes": None},
        {"import_mode": "some"},
        {"export_base_path": "../up"},
        {"status": "failed"},
        {"status": None},
        {"path": "/elsewhere"},
        {"bucket": "other"},
        {"endpoint_url": "http://169.254.169.254"},
        {"credentials": "ambient"},
        {"client_secret": "s"},
        {"credentials_json": "{}"},
    ],
)
async def test_what_cannot_be_changed_is_refused(api: Api, change: dict[str, Any]) -> None:
    connector = await api.connector()
    error = await api.error("PATCH", f"/connectors/{connector}", 422, json=change)
    [where] = {each["where"].split(".")[1] for each in error["details"]["errors"]}
    assert [where] == list(change)


async def test_a_disabled_connector_is_not_used_until_it_is_enabled(api: Api, storage: FakeStorage) -> None:
    connector = await api.connector()
    path = f"/connectors/{connector}"
    storage.broken = StorageUnavailable("nobody may ask")
    assert (await api.ask("PATCH", path, json={"status": "disabled"}))["status"] == "disabled"
    for action in ("test", "browse"):
        error = await api.error("POST", f"{path}/{action}", 409, json={})
        assert error["details"]["hint"] == "PATCH its status to active"
    assert (await api.ask("PATCH", path, json={"scopes": ["export"]}))["status"] == "disabled"
    assert (await api.ask("PATCH", path, json={"status": "active"}))["last_test_error"] == "nobody may ask"
    storage.broken = None
    assert (await api.ask("PATCH", path, json={"status": "active"}))["status"] == "active"


async def test_a_connector_in_use_is_not_deleted(api: Api) -> None:
    connector, index = await api.connector(), await api.index()
    await api.put(
        f"/indexes/{index}/automations/import",
        {
            "connector_id": connector,
            "debounce_interval": "5m",
            "prompt_preset": {"prompt_id": await api.prompt()},
        },
    )
    error = await api.error("DELETE", f"/connectors/{connector}", 409)
    assert error["message"].endswith(f"is used by the import automation of index films ({index})")
    error = await api.error("PATCH", f"/connectors/{connector}", 409, json={"scopes": ["export"]})
    assert f"the import automation of index films ({index})" in error["message"]
    assert (await api.get(f"/connectors/{connector}"))["status"] == "active"


async def test_a_connector_that_nothing_uses_is_deleted(api: Api) -> None:
    connector = await api.connector()
    answer = await api.ask("DELETE", f"/connectors/{connector}")
    assert answer == {"message": f"connector 'in' ({connector}) was deleted; imported media stay"}
    assert await api.get("/connectors") == []
    assert (await api.error("DELETE", f"/connectors/{connector}", 404))[
        "code"
    ] == "resource_connector_not_found"


async def test_a_deleted_connector_serves_no_automation(api: Api) -> None:
    index, connector = await api.index(), await api.connector("import", "export")
    await api.ask("DELETE", f"/connectors/{connector}")
    importing = {
        "connector_id": connector,
        "debounce_interval": "5m",
        "prompt_preset": {"prompt_id": await api.prompt()},
    }
    await api.error("PUT", f"/indexes/{index}/automations/import", 404, json=importing)
    exporting = {"destination_connector_id": connector}
    await api.error("PUT", f"/indexes/{index}/automations/export", 404, json=exporting)


async def test_a_declared_connector_is_read_only(api: Api, context: ApiContext) -> None:
    spec = ConnectorSpec("far", "local", {"root": "/x"})
    await context.database.write(catalog.declare_connector, "conn_far", spec)
    for method in ("PATCH", "DELETE"):
        error = await api.error(method, "/connectors/conn_far", 409, json={"name": "near"})
        assert error["message"] == "connector 'conn_far' is read-only here"
        assert "configuration file" in error["details"]["hint"]
