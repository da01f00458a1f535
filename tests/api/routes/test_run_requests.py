"""Prompt runs over the API: asked for, estimated, cancelled."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.api.story import INDEX, Story
from tests.store.footage import items, shot, told
from tests.store.pipeline import RESULT, jobs_of
from vvwatch.ports import Kind, Priority
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.store.runs import runs
from vvwatch.store.schema import media, prompt_runs, prompts

pytestmark = pytest.mark.anyio

PROMPT = catalog.DEFAULT_PROMPT_ID
OF_INDEX = {"type": "index", "index_id": INDEX}


def body(target: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return {"prompt_id": PROMPT, "target": target or OF_INDEX, **options}


async def execute(api: Api, target: dict[str, Any] | None = None, **options: Any) -> Any:
    return await api.post("/prompt-runs/execute", body(target, **options), status=202)


async def test_a_run_over_an_index_begins(api: Api, database: Database) -> None:
    await shot(database, 4)
    run = await execute(api)
    assert (run["status"], run["run_context"], run["prompt_type"]) == ("pending", OF_INDEX, "custom")
    assert (run["total_videos"], run["total_audios"], run["total_images"]) == (2, 1, 1)
    assert run["executed_by"].startswith("key_")
    assert run["import_job_id"] is None
    jobs = items(database)
    assert [job.priority for job in jobs] == [Priority.MANUAL] * 4
    for job in jobs:
        await database.write(runs.begin_item, job)
        await database.write(runs.finish_item, job, RESULT)
    ended = await api.get(f"/prompt-runs/{run['run_id']}")
    assert (ended["status"], ended["completed_videos"], ended["completed_segments"]) == ("completed", 2, 4)


async def test_who_asked_for_a_run_is_logged_once(api: Api, database: Database) -> None:
    [video_id] = await shot(database, 1)
    logged: list[Any] = []
    api.context.telemetry.subscribe(lambda event, fields: logged.append((event, fields.get("run"))))
    ways: list[tuple[str, dict[str, Any]]] = [
        ("/prompt-runs/execute", {"json": body()}),
        ("/workflow/process", {"json": {"prompt_id": PROMPT, "index_id": INDEX}}),
        (f"/videos/{video_id}/process", {}),
    ]
    for path, request in ways:
        made = [
            await api.ask("POST", path, status=202, headers={"Idempotency-Key": "k1"}, **request)
            for _ in range(2)
        ]
        assert sorted(logged) == [("audit.recorded", None), ("run.requested", made[0]["run_id"])]
        logged.clear()


async def test_a_run_over_some_videos_has_each_once(api: Api, database: Database) -> None:
    first, _, third = await shot(database, 3)
    run = await execute(api, {"type": "videos", "video_ids": [third, first, third], "index_id": INDEX})
    told_of = {"type": "videos", "video_ids": [third, first], "video_count": 2, "index_id": INDEX}
    assert run["run_context"] == told_of
    assert run["total_videos"] + run["total_images"] == 2


async def test_videos_of_several_indexes_are_run_together(api: Api, database: Database) -> None:
    first, second = await shot(database, 2)
    other = await api.index()
    await database.write(lambda tx: tx.update(media, second, index_id=other))
    run = await execute(api, {"type": "videos", "video_ids": [first, second]})
    assert run["run_context"]["index_id"] is None
    error = await api.error(
        "POST",
        "/prompt-runs/execute",
        404,
        json=body({"type": "videos", "video_ids": [first, second], "index_id": INDEX}),
    )
    assert error["code"] == "resource_video_not_found"


async def test_a_run_over_the_playground(api: Api, database: Database) -> None:
    refused = await api.error("POST", "/prompt-runs/execute", 422, json=body({"type": "playground"}))
    assert "nothing to process" in refused["message"]
    [video] = await shot(database, 1)
    await database.write(lambda tx: tx.update(media, video, index_id=catalog.ensure_playground(tx).id))
    run = await execute(api, {"type": "playground"})
    assert (run["run_context"]["is_playground"], run["total_videos"]) == (True, 1)


async def test_an_index_without_media_is_nothing_to_process(api: Api) -> None:
    index = await api.index()
    prompt = await api.prompt()
    asked = {"prompt_id": prompt, "target": {"type": "index", "index_id": index}}
    for path in ("execute", "estimate"):
        error = await api.error("POST", f"/prompt-runs/{path}", 422, json=asked)
        assert "nothing to process" in error["message"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prompt_id": "prompt_none"}, "resource_prompt_not_found"),
        ({"target": {"type": "index", "index_id": "idx_none"}}, "resource_index_not_found"),
        ({"target": {"type": "videos", "video_ids": ["vid_none"]}}, "resource_video_not_found"),
    ],
)
async def test_what_is_not_there_is_named(api: Api, database: Database, changes: Any, code: str) -> None:
    await shot(database, 1)
    for path in ("execute", "estimate"):
        error = await api.error("POST", f"/prompt-runs/{path}", 404, json={**body(), **changes})
        assert error["code"] == code


@pytest.mark.parametrize(
    "changes",
    [
        {"video_segmentation_type": "cuts"},
        {"video_segmentation_type": "fixed", "video_segment_duration": 301},
        {"processing_model": "gpt"},
        {"enable_transcription": "yes"},
        {"target": {"type": "index"}},
        {"target": {"type": "videos", "video_ids": []}},
        {"target": {"type": "playground", "video_ids": ["vid_1"]}},
        {"target": {"type": "library"}},
        {"colour": "red"},
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, database: Database, changes: Any) -> None:
    await shot(database, 1)
    await api.error("POST", "/prompt-runs/execute", 422, json={**body(), **changes})
    assert await database.read(lambda tx: tx.first(sa.select(prompt_runs))) is None


async def test_a_prompt_that_no_processor_can_do_is_refused(api: Api, database: Database) -> None:
    await shot(database, 1)
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}}
    prompt = await api.prompt(json_schema=schema)
    error = await api.error("POST", "/prompt-runs/execute", 422, json=body() | {"prompt_id": prompt})
    assert "mood" in error["message"]


async def test_what_is_left_out_is_as_the_prompt_has_it(api: Api, database: Database) -> None:
    await shot(database, 1)
    usual = {"video_segmentation_type": "fixed", "video_segment_duration": 7, "enable_transcription": False}
    prompt = await api.prompt(execution_config=usual, selection_filter=None)
    kept = (await api.get(f"/prompts/{prompt}"))["execution_config"]
    assert usual.items() <= kept.items()
    run = await execute(api, prompt_id=prompt, enable_transcription=True)
    assert (run["video_segmentation_type"], run["video_segment_duration"]) == ("fixed", 7)
    assert (run["enable_transcription"], run["enable_image_embedding"]) == (True, False)
    assert run["not_done"] == {"image_embedding": "the processor 'technical' makes no image embeddings"}
    refused = await api.error("PUT", f"/prompts/{prompt}", 422, json={"selection_filter": {"query": "dogs"}})
    assert "model" in refused["message"]


@pytest.mark.parametrize(
    ("prompts_own", "sent", "seconds"),
    [
        ({}, {"video_segmentation_type": "fixed"}, 10),
        ({"video_segment_duration": 7}, {"video_segmentation_type": "fixed"}, 7),
        (
            {"video_segmentation_type": "fixed", "video_segment_duration": 7},
            {"video_segment_duration": None},
            10,
        ),
        ({"video_segmentation_type": "fixed"}, {"video_segment_duration": 3}, 3),
        ({}, {"audio_segmentation_type": "fixed", "video_segment_duration": 4}, 4),
    ],
    ids=str,
)
async def test_fixed_segments_have_ten_seconds_when_nobody_says(
    api: Api, database: Database, prompts_own: dict[str, Any], sent: dict[str, Any], seconds: int
) -> None:
    await shot(database, 1)
    await database.write(lambda tx: tx.update(prompts, PROMPT, execution_config=prompts_own))
    assert (await execute(api, **sent))["video_segment_duration"] == seconds
    await api.post("/prompt-runs/estimate", body(**sent))


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3-pro-preview", "gpt-5", "claude-x"])
async def test_a_model_of_the_hosted_service_is_run_by_the_processor_that_answers_to_it(
    api: Api, database: Database, model: str
) -> None:
    await shot(database, 1)
    await api.post("/prompt-runs/estimate", body(processing_model=model))
    run = await execute(api, processing_model=model)
    row = await database.read(
        lambda tx: tx.first(sa.select(prompt_runs).where(prompt_runs.c.id == run["run_id"]))
    )
    assert row is not None
    assert (run["processing_model"], row.processor) == (model, "technical")


async def test_a_prompt_that_is_deactivated_begins_nothing(api: Api, database: Database) -> None:
    await shot(database, 1)
    prompt = await api.prompt()
    await database.write(lambda tx: tx.update(prompts, prompt, is_active=False))
    for route in ("execute", "estimate"):
        error = await api.error("POST", f"/prompt-runs/{route}", 409, json=body() | {"prompt_id": prompt})
        assert "deactivated" in error["message"]


async def test_the_same_request_begins_one_run(api: Api, database: Database) -> None:
    await shot(database, 1)
    key = {"Idempotency-Key": "once"}
    asked: dict[str, Any] = {"status": 202, "json": body(), "headers": key}
    first = await api.ask("POST", "/prompt-runs/execute", **asked)
    assert await api.ask("POST", "/prompt-runs/execute", **asked) == first
    assert len(await api.get("/prompt-runs")) == 1


async def test_an_estimate_says_what_there_is_to_do_and_begins_nothing(api: Api, database: Database) -> None:
    await shot(database, 4)
    options: dict[str, Any] = {"video_segmentation_type": "fixed", "video_segment_duration": 3}
    estimate = await api.post("/prompt-runs/estimate", body(**options))
    assert (estimate["estimated_mt"], estimate["sufficient_balance"]) == (0.0, True)
    assert isinstance(estimate["current_balance_mt"], float)
    found = estimate["breakdown"]
    assert (found["items"], found["seconds"]) == (4, 16.0)
    video = {"items": 2, "seconds": 8.0, "segments_at_least": 3, "segments_at_most": 4}
    video |= {"calls": 0, "input_tokens": 0, "output_tokens": 0, "usd": 0.0}
    assert found["by_media_type"]["video"] == video
    assert found["by_media_type"]["image"]["segments_at_most"] == 1
    assert await told(database) == []


async def test_an_estimate_of_some_videos(api: Api, database: Database) -> None:
    first, *_ = await shot(database, 3)
    found = await api.post("/prompt-runs/estimate", body({"type": "videos", "video_ids": [first]}))
    assert found["breakdown"]["items"] == 1


async def test_a_run_is_cancelled_when_what_is_under_way_has_ended(api: Api, database: Database) -> None:
    await shot(database, 3)
    run_id = (await execute(api))["run_id"]
    begun, *_ = items(database)
    await database.write(runs.begin_item, begun)
    stopping = await api.post(f"/prompt-runs/{run_id}/cancel")
    assert stopping["status"] == "processing"
    state = stopping["stop_state"]
    assert (state["mode"], state["completed_at"]) == ("graceful", None)
    assert state["requested_at"] == state["observed_at"] is not None
    assert stopping["cancelled_audios"] + stopping["cancelled_images"] == 2
    assert await api.post(f"/prompt-runs/{run_id}/cancel") == stopping
    await database.write(runs.finish_item, begun, RESULT)
    ended = await api.get(f"/prompt-runs/{run_id}")
    assert (ended["status"], ended["completed_videos"]) == ("cancelled", 1)
    assert ended["stop_state"]["completed_at"] is not None
    assert jobs_of(database).take(Kind.EXPORT) == []


async def test_a_run_that_is_cancelled_at_once_is_told_of_once(api: Api, database: Database) -> None:
    await shot(database, 1)
    run_id = (await execute(api))["run_id"]
    logged: list[Any] = []
    api.context.telemetry.subscribe(lambda event, fields: logged.append((event, fields)))
    for _ in range(2):
        assert (await api.post(f"/prompt-runs/{run_id}/cancel"))["status"] == "cancelled"
    finished = [(event, fields) for event, fields in logged if event != "audit.recorded"]
    assert finished == [("run.finished", {"run": run_id, "status": "cancelled"})]


async def test_a_run_that_has_ended_is_answered_as_it_is(api: Api, story: Story) -> None:
    run = await api.get(f"/prompt-runs/{story.run_id}")
    assert await api.post(f"/prompt-runs/{story.run_id}/cancel") == run
    error = await api.error("POST", "/prompt-runs/run_none/cancel", 404)
    assert error["code"] == "resource_prompt_run_not_found"
