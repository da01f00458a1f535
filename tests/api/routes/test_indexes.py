from __future__ import annotations

import pytest

from tests.api.asking import Api
from tests.api.story import INDEX, prepared
from tests.clock import FakeClock
from vvwatch.errors import Conflict
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.deletions import DeletionWorker

pytestmark = pytest.mark.anyio


async def test_an_index_is_made_and_found_again(api: Api) -> None:
    made = await api.post("/indexes", {"name": "films", "description": "dailies"}, status=201)
    assert made == {
        "index_id": made["index_id"],
        "name": "films",
        "user_id": "user_local",
        "description": "dailies",
        "sort_order": 0,
        "is_default": False,
        "created_at": "2026-09-21T14:13:20.000Z",
    }
    assert made["index_id"].startswith("idx_")
    assert await api.get(f"/indexes/{made['index_id']}") == made
    assert await api.get("/indexes", include_defaults="true") == [made]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 256},
        {"name": 7},
        {"name": None},
        {"name": "a", "colour": "red"},
        [],
        "a",
    ],
)
async def test_an_index_needs_a_name_and_knows_no_other_keys(api: Api, body: object) -> None:
    error = await api.error("POST", "/indexes", 422, json=body)
    assert error["code"] == "validation_error"
    assert error["details"]["errors"][0]["where"].startswith("body")


async def test_an_index_is_renamed_and_described(api: Api) -> None:
    index_id = await api.index()
    changed = await api.ask("PATCH", f"/indexes/{index_id}", json={"description": "dailies"})
    assert (changed["name"], changed["description"]) == ("films", "dailies")
    changed = await api.ask("PATCH", f"/indexes/{index_id}", json={"name": "reels", "description": None})
    assert (changed["name"], changed["description"]) == ("reels", None)
    assert await api.ask("PATCH", f"/indexes/{index_id}", json={}) == changed
    assert await api.get(f"/indexes/{index_id}") == changed


@pytest.mark.parametrize("body", [{"name": ""}, {"name": None}, {"description": 7}, {"colour": "red"}, []])
async def test_what_an_index_cannot_be_is_refused(api: Api, body: object) -> None:
    await api.error("PATCH", f"/indexes/{await api.index()}", 422, json=body)


async def test_a_declared_index_is_changed_in_the_file(api: Api, database: Database) -> None:
    await database.write(prepared)
    error = await api.error("PATCH", f"/indexes/{INDEX}", 409, json={"name": "other"})
    assert "configuration file" in error["details"]["hint"]


async def test_an_id_that_was_deleted_may_be_declared_again(
    api: Api, database: Database, clock: FakeClock
) -> None:
    index_id = await api.index()
    await api.ask("DELETE", f"/indexes/{index_id}", status=202)
    with pytest.raises(Conflict, match="is being deleted"):
        await database.write(catalog.declare_index, index_id, "films")
    await DeletionWorker(database, clock, Telemetry("test")).run()
    await database.write(catalog.declare_index, index_id, "films")
    assert (await api.get(f"/indexes/{index_id}"))["name"] == "films"


async def test_an_unknown_index_is_not_found(api: Api) -> None:
    assert (await api.error("GET", "/indexes/idx_none", 404))["code"] == "resource_index_not_found"
    assert (await api.error("GET", "/indexes/idx_none/videos", 404))["code"] == "resource_index_not_found"
