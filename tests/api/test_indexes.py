from __future__ import annotations

import pytest

from tests.api.asking import Api

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


async def test_an_unknown_index_is_not_found(api: Api) -> None:
    assert (await api.error("GET", "/indexes/idx_none", 404))["code"] == "resource_index_not_found"
    assert (await api.error("GET", "/indexes/idx_none/videos", 404))["code"] == "resource_index_not_found"
