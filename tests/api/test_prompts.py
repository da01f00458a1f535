from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import PROMPT, Api
from tests.api.story import prepared
from vvwatch.store.database import Database

pytestmark = pytest.mark.anyio


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"inner": schema}}
    return schema


async def test_a_prompt_is_made_and_found_again(api: Api) -> None:
    body = {
        **PROMPT,
        "description": "what is seen",
        "video_level": {"instructions_text": "Sum up.", "json_schema": {"type": "object"}},
        "semantic_indexing": {"disabled_segment_fields": ["subject"], "disabled_video_level_fields": []},
    }
    made = await api.post("/prompts", body, status=201)
    assert made == {
        "prompt_id": made["prompt_id"],
        "user_id": "user_local",
        **body,
        "prompt_version": 1,
        "is_active": True,
        "is_default": False,
        "declared": False,
        "created_at": "2026-09-21T14:13:20.000Z",
        "updated_at": "2026-09-21T14:13:20.000Z",
    }
    assert await api.get(f"/prompts/{made['prompt_id']}") == made
    assert await api.get("/prompts") == {"prompts": [made], "total_count": 1, "active_count": 1}


async def test_what_is_not_said_has_a_default(api: Api) -> None:
    made = await api.post("/prompts", PROMPT, status=201)
    assert (made["description"], made["video_level"]) == ("", None)
    assert made["semantic_indexing"] == {"disabled_segment_fields": [], "disabled_video_level_fields": []}


async def test_the_default_prompt_may_be_left_out(api: Api, database: Database) -> None:
    await database.write(prepared)
    [default] = (await api.get("/prompts"))["prompts"]
    assert (default["prompt_id"], default["is_default"]) == ("prompt_technical", True)
    assert await api.get("/prompts", include_defaults="false", active_only="false") == {
        "prompts": [],
        "total_count": 0,
        "active_count": 0,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"name": "ab"},
        {"name": "x" * 101},
        {"description": "x" * 501},
        {"description": None},
        {"prompt_text": "too short"},
        {"prompt_text": "x" * 5001},
        {"json_schema": None},
        {"json_schema": []},
        {"json_schema": {"type": "array"}},
        {"json_schema": {"type": "object", "properties": {"a": {"type": "strin"}}}},
        {"json_schema": {"type": "object", "properties": {"a": {"$ref": "https://example.com/s.json"}}}},
        {"json_schema": nested(20)},
        {"json_schema": nested(400)},
        {"json_schema": {"type": "object", "description": "x" * 70_000}},
        {"video_level": {"instructions_text": "", "json_schema": {"type": "object"}}},
        {"video_level": {"instructions_text": "Sum up.", "json_schema": {"type": "string"}}},
        {"video_level": {"instructions_text": "Sum up."}},
        {"semantic_indexing": {"disabled": []}},
        {"selection_filter": {}},
    ],
)
async def test_what_cannot_be_is_refused(api: Api, change: dict[str, Any]) -> None:
    error = await api.error("POST", "/prompts", 422, json={**PROMPT, **change})
    assert error["code"] == "validation_error"
    assert (await api.get("/prompts"))["total_count"] == 0


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", '"\\ud800"', '{"\\udfff": 1}'])
async def test_what_could_never_be_answered_is_not_kept(api: Api, value: str) -> None:
    body = (
        '{"name": "Shots", "prompt_text": "Describe every shot.", '
        f'"json_schema": {{"type": "object", "default": {value}}}}}'
    )
    headers = {"Content-Type": "application/json"}
    error = await api.error("POST", "/prompts", 422, content=body, headers=headers)
    assert error["details"]["errors"][0]["where"] == "body.json_schema"


async def test_an_unknown_prompt_is_not_found(api: Api) -> None:
    assert (await api.error("GET", "/prompts/none", 404))["code"] == "resource_prompt_not_found"
