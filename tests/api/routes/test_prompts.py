from __future__ import annotations

from threading import Event
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.api.asking import PROMPT, Api
from tests.api.story import prepared
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.schema_trials import SchemaChecks
from vvwatch.api.routes import prompts
from vvwatch.store.db.database import Database

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
        "execution_config": None,
        "selection_filter": None,
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


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_while_a_schema_is_looked_at_others_are_served(
    api: Api, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    prompt_id = await api.prompt()
    begun, served = Event(), Event()

    def look(_schema: object) -> None:
        begun.set()
        assert served.wait(10)

    async def ask() -> None:
        path, status = ("/prompts", 201) if method == "POST" else (f"/prompts/{prompt_id}", 200)
        await api.ask(method, path, status=status, json=PROMPT)

    monkeypatch.setattr(prompts, "check_json_schema", look)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        assert await anyio.to_thread.run_sync(begun.wait, 10)
        await api.index()
        served.set()


async def test_an_unknown_prompt_is_not_found(api: Api) -> None:
    assert (await api.error("GET", "/prompts/none", 404))["code"] == "resource_prompt_not_found"


async def test_a_change_makes_a_new_version_and_no_change_none(api: Api) -> None:
    prompt_id = await api.prompt(description="what is seen")
    path = f"/prompts/{prompt_id}"
    changed = await api.put(path, {"prompt_text": "Describe every scene.", "description": ""})
    assert (changed["prompt_version"], changed["prompt_text"], changed["description"], changed["name"]) == (
        2,
        "Describe every scene.",
        "",
        "Shots",
    )
    for same in (
        {},
        {"description": ""},
        {"name": None},
        {"clear_video_level": True},
        {"clear_selection_filter": True},
    ):
        assert await api.put(path, same) == changed
    assert await api.get(path) == changed


async def test_what_python_takes_for_the_same_is_a_change(api: Api) -> None:
    path = f"/prompts/{await api.prompt()}"
    for version, default in enumerate((1, True, False, 0), start=2):
        schema = {"type": "object", "properties": {"loud": {"default": default}}}
        changed = await api.put(path, {"json_schema": schema})
        assert (changed["prompt_version"], str(changed["json_schema"])) == (version, str(schema))
        assert await api.put(path, {"json_schema": schema}) == changed


async def test_the_video_level_is_set_and_cleared(api: Api) -> None:
    path = f"/prompts/{await api.prompt()}"
    level = {"instructions_text": "Sum up.", "json_schema": {"type": "object"}}
    assert (await api.put(path, {"video_level": level}))["video_level"] == level
    assert (await api.put(path, {"clear_video_level": True}))["video_level"] is None
    await api.error("PUT", path, 422, json={"clear_video_level": True, "video_level": level})


@pytest.mark.parametrize(
    "change",
    [
        {"name": "ab"},
        {"name": "a\x00bc"},
        {"prompt_text": "too short"},
        {"json_schema": {"type": "array"}},
        {"json_schema": {"type": "object", "$ref": "https://example.com/s.json"}},
        {"video_level": {"instructions_text": "Sum up.", "json_schema": {"type": "string"}}},
        {"mood": "good"},
    ],
)
async def test_a_change_to_what_cannot_be_is_refused(api: Api, change: dict[str, Any]) -> None:
    path = f"/prompts/{await api.prompt()}"
    await api.error("PUT", path, 422, json=change)
    assert (await api.get(path))["prompt_version"] == 1


async def test_the_settings_of_an_automation_stay_when_its_prompt_changes(
    api: Api, database: Database
) -> None:
    index_id, prompt_id = await used(api)
    before = await api.get(f"/indexes/{index_id}/automations/import")
    await api.put(f"/prompts/{prompt_id}", {"prompt_text": "Describe every scene."})
    assert await api.get(f"/indexes/{index_id}/automations/import") == before


async def used(api: Api) -> tuple[str, str]:
    """An index with an automation, and the prompt that it asks."""
    index_id, prompt_id, connector_id = await api.index(), await api.prompt(), await api.connector()
    body = {
        "connector_id": connector_id,
        "source_prefix": "",
        "file_pattern": "*",
        "recursive": True,
        "debounce_interval": "10m",
        "prompt_preset": {"prompt_id": prompt_id},
    }
    await api.put(f"/indexes/{index_id}/automations/import", body)
    return index_id, prompt_id


async def test_a_prompt_that_nobody_asks_is_deleted(api: Api) -> None:
    path = f"/prompts/{await api.prompt()}"
    assert "is deleted" in (await api.ask("DELETE", path))["message"]
    await api.error("GET", path, 404)
    await api.error("DELETE", path, 404)


async def test_a_prompt_in_use_is_deactivated_at_most(api: Api) -> None:
    index_id, prompt_id = await used(api)
    error = await api.error("DELETE", f"/prompts/{prompt_id}", 409)
    assert f"the import automation of index {index_id}" in error["message"]
    said = await api.ask("DELETE", f"/prompts/{prompt_id}", params={"force": "true"})
    assert "deactivated" in said["message"]
    assert (await api.get(f"/prompts/{prompt_id}"))["is_active"] is False
    assert (await api.get("/prompts"))["prompts"] == []
    assert (await api.get("/prompts", active_only="false"))["total_count"] == 1


async def test_the_usage_names_who_asks(api: Api) -> None:
    index_id, prompt_id = await used(api)
    usage = await api.get(f"/prompts/{prompt_id}/usage")
    assert usage == {
        "prompt_id": prompt_id,
        "name": "Shots",
        "is_active": True,
        "is_in_use": True,
        "used_by": [f"the import automation of index {index_id}"],
        "created_at": "2026-09-21T14:13:20.000Z",
        "schema_properties_count": 1,
    }
    other = await api.prompt(json_schema={"type": "object"})
    usage = await api.get(f"/prompts/{other}/usage")
    assert (usage["is_in_use"], usage["used_by"], usage["schema_properties_count"]) == (False, [], 0)
    await api.error("GET", "/prompts/none/usage", 404)


async def test_what_comes_with_vvwatch_stays_as_it_is(api: Api, database: Database) -> None:
    await database.write(prepared)
    for method, body in (("PUT", {"description": "mine"}), ("DELETE", None)):
        error = await api.error(method, "/prompts/prompt_technical", 409, json=body)
        assert "comes with vvwatch" in error["message"]


SUBJECT = {"type": "object", "properties": {"subject": {"type": "string"}}, "required": ["subject"]}


async def verdict(api: Api, schema: dict[str, Any], sample: dict[str, Any]) -> Any:
    return await api.post("/prompts/test-schema", {"json_schema": schema, "sample_data": sample})


async def test_data_that_fits_its_schema_is_given_back(api: Api) -> None:
    sample = {"subject": "a cat", "extra": [1, 2]}
    assert await verdict(api, SUBJECT, sample) == {
        "valid": True,
        "validated_data": sample,
        "error": None,
        "message": "the data fits the schema",
    }


@pytest.mark.parametrize(
    ("schema", "sample", "why"),
    [
        (SUBJECT, {}, '"subject" is a required property'),
        (SUBJECT, {"subject": 7}, '$.subject: 7 is not of type "string"'),
        ({"type": "array"}, {}, "must have"),
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, {}, "not a JSON Schema"),
        ({"type": "object", "$ref": "https://example.com/s.json"}, {}, "may not refer to"),
        ({"type": "object", "$ref": "#/$defs/none"}, {}, "'/$defs/none' does not exist"),
        (nested(20), {}, "levels"),
    ],
)
async def test_why_a_trial_fails_is_a_verdict(
    api: Api, schema: dict[str, Any], sample: dict[str, Any], why: str
) -> None:
    answer = await verdict(api, schema, sample)
    assert (answer["valid"], answer["validated_data"]) == (False, None)
    assert why in answer["error"]


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        (
            {"type": "object", "properties": {f"{n}{'a' * 60}": {"type": "string"} for n in range(900)}},
            "65,536 characters",
        ),
        (nested(200), "levels"),
        (
            {"type": "object", "properties": {"scene.place": {"type": "string"}}},
            "cannot be the name of a field",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "http://192.0.2.1/s.json"}}}, "may not refer to"),
    ],
    ids=["80 kB", "200 levels", "a dot in a name", "a remote reference"],
)
async def test_a_schema_that_no_prompt_may_have_is_refused_at_once(
    api: Api, schema: dict[str, Any], what: str
) -> None:
    body = {"name": "Subjects", "prompt_text": "Say what is shown.", "json_schema": schema}
    level = {"instructions_text": "Sum it up, please.", "json_schema": schema}
    for sent in (body, body | {"json_schema": SUBJECT, "video_level": level}):
        with anyio.fail_after(30):
            assert what in str(await api.error("POST", "/prompts", 422, json=sent))


async def test_a_prompt_cannot_name_a_model_that_nobody_answers_to(api: Api) -> None:
    body = {"name": "Subjects", "prompt_text": "Say what is shown.", "json_schema": SUBJECT}
    named = {"execution_config": {"processing_model": "tehcnical"}}
    error = await api.error("POST", "/prompts", 422, json=body | named)
    assert error["code"] == "model_not_configured"
    assert error["details"]["hint"].startswith("did you mean 'technical'? use one of: technical")
    error = await api.error("PUT", f"/prompts/{await api.prompt()}", 422, json=named)
    assert error["code"] == "model_not_configured"


async def test_a_schema_that_takes_for_ever_is_ended() -> None:
    """Each level asks twice for the next. A text for a match with too many ways to fail is answered at once."""
    doubled = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    endless = {"type": "object", "$ref": "#/$defs/d0", "$defs": {**doubled, "d60": {"type": "object"}}}
    text = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    trials = SchemaChecks(seconds=1.5)
    assert "takes longer" in str(await trials.misfit(endless, {}))
    assert "does not match" in str(await trials.misfit(text, {"a": "a" * 60 + "!"}))
    assert await trials.misfit(SUBJECT, {"subject": "a cat"}) is None


async def test_only_a_few_schemas_are_tried_at_once() -> None:
    trials = SchemaChecks()
    refused = []

    async def ask() -> None:
        try:
            await trials.misfit(SUBJECT, {})
        except ApiError as error:
            refused.append((error.status, error.retry_after_seconds))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
    assert refused == [(429, 1)]
