"""POST /workflow/process: a prompt over what an import makes, or over what is there."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.api.story import INDEX, Story
from tests.store.footage import led, shot, told
from vvwatch.core.imports import ImportStatus
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.imports import imports
from vvwatch.store.runs import runs
from vvwatch.store.schema import import_jobs, media, prompt_runs

pytestmark = pytest.mark.anyio

PROMPT = catalog.DEFAULT_PROMPT_ID


async def process(api: Api, **body: Any) -> Any:
    return await api.post("/workflow/process", {"prompt_id": PROMPT, **body}, status=202)


async def refused(api: Api, status: int, **body: Any) -> Any:
    return await api.error("POST", "/workflow/process", status, json={"prompt_id": PROMPT, **body})


async def importing(database: Database, **values: Any) -> str:
    """An import job under way."""
    row = {"id": "job_1", "index_id": INDEX, "status": ImportStatus.IMPORTING, "total_files": 1, **values}
    await database.write(lambda tx: tx.insert(import_jobs, **row))
    return "job_1"


async def import_ended(database: Database) -> None:
    def end(tx: Tx) -> None:
        tx.execute(sa.update(media).values(import_job_id="job_1"))
        job = imports.get(tx, "job_1")
        tx.update(
            import_jobs, "job_1", status=ImportStatus.COMPLETED, run_id=runs.start_after_import(tx, job)
        )

    await database.write(end)


async def test_media_is_processed(api: Api, database: Database) -> None:
    video, *_ = await shot(database, 2)
    answer = await process(api, video_ids=video)
    run_id = answer["run_id"]
    assert answer["run"] == await api.get(f"/prompt-runs/{run_id}")
    assert answer["prompt"] == await api.get(f"/prompts/{PROMPT}")
    assert answer["status_url"] == f"/api/v2/prompt-runs/{run_id}"
    assert answer["results_url"] == f"/api/v2/workflow/runs/{run_id}/results"
    assert answer["prompt_created_inline"] is False
    assert answer["run"]["total_videos"] == 1


@pytest.mark.parametrize("name", ["index_id", "index_name"])
async def test_an_index_is_processed(api: Api, database: Database, name: str) -> None:
    await shot(database, 2)
    answer = await process(api, **{name: INDEX if name == "index_id" else "main"})
    assert answer["run"]["run_context"] == {"type": "index", "index_id": INDEX}


async def test_nothing_named_is_the_playground(api: Api, database: Database) -> None:
    [video] = await shot(database, 1)
    await database.write(lambda tx: tx.update(media, video, index_id=catalog.ensure_playground(tx).id))
    assert (await process(api))["run"]["run_context"]["is_playground"] is True


async def test_the_names_of_either_client_are_understood(api: Api, database: Database) -> None:
    await shot(database, 1)
    ours = {"segmentation_mode": "fixed", "fixed_segment_duration_seconds": 9}
    simple = await process(
        api, index_id=INDEX, **ours, advanced_transcription=False, create_image_embeddings=True
    )
    run = simple["run"]
    assert (run["video_segmentation_type"], run["video_segment_duration"]) == ("fixed", 9)
    assert (run["audio_segmentation_type"], run["audio_segment_duration"]) == ("fixed", 9)
    assert (run["enable_transcription"], run["enable_image_embedding"]) == (False, False)
    assert list(run["not_done"]) == ["image_embedding"], "nobody asked for a transcript"
    whole = await process(
        api,
        index_id=INDEX,
        video_segmentation_type="fixed",
        video_segment_duration=4,
        enable_transcription=False,
    )
    assert (whole["run"]["video_segment_duration"], whole["run"]["enable_transcription"]) == (4, False)


async def test_a_run_waits_for_the_import_and_then_begins(api: Api, database: Database) -> None:
    await shot(database, 2)
    job_id = await importing(database)
    answer = await process(api, import_job_id=job_id)
    run = answer["run"]
    assert (run["status"], run["total_videos"], run["import_job_id"]) == ("pending", 0, job_id)
    execution = (await api.get(f"/import-jobs/{job_id}"))["execution"]
    assert (execution["status"], execution["run_id"]) == ("pending", run["run_id"])
    await import_ended(database)
    await led(database)
    begun = await api.get(f"/prompt-runs/{run['run_id']}")
    assert (begun["total_videos"], begun["total_audios"]) == (1, 1)
    assert await told(database) == ["started"]


async def test_an_import_with_a_prompt_of_its_own_is_followed_by_both(api: Api, database: Database) -> None:
    await shot(database, 2)
    job_id = await importing(database, prompt_preset={"prompt_id": PROMPT}, imported=2)
    waiting = (await process(api, import_job_id=job_id))["run"]
    assert waiting["import_job_id"] == job_id
    await import_ended(database)
    await database.write(lambda tx: tx.execute(sa.update(prompt_runs).values(next_at=tx.now)))
    await led(database)
    both = await api.get("/prompt-runs")
    assert len(both) == 2
    assert [run["total_videos"] for run in both] == [1, 1]
    assert (await api.get(f"/import-jobs/{job_id}"))["execution"]["run_id"] != waiting["run_id"]


async def test_what_an_import_made_is_processed_as_often_as_one_likes(api: Api, story: Story) -> None:
    for _ in range(2):
        run = (await process(api, import_job_id=story.job_id))["run"]
        assert (run["total_videos"], run["import_job_id"]) == (1, story.job_id)
        assert run["run_context"]["type"] == "import_job"
    execution = (await api.get(f"/import-jobs/{story.job_id}"))["execution"]
    assert execution["run_id"] == story.run_id


async def test_an_import_that_made_nothing_is_nothing_to_process(api: Api, database: Database) -> None:
    await shot(database, 1)
    job_id = await importing(database, status=ImportStatus.FAILED)
    assert "made no media" in (await refused(api, 422, import_job_id=job_id))["message"]
    assert (await refused(api, 404, import_job_id="job_none"))["code"] == "resource_import_job_not_found"


async def test_a_prompt_that_a_model_would_have_to_write_is_refused(api: Api, database: Database) -> None:
    await shot(database, 1)
    asked = {"prompt_instruction": "find the dogs", "index_id": INDEX}
    error = await api.error("POST", "/workflow/process", 422, json=asked)
    assert "prompt_id" in error["details"]["hint"]


@pytest.mark.parametrize(
    "body",
    [
        {"prompt_instruction": "find the dogs"},
        {"prompt_id": None},
        {"import_job_id": "job_1", "index_id": INDEX},
        {"import_job_id": "job_1", "video_ids": "vid_1"},
        {"index_id": INDEX, "index_name": "main"},
        {"fixed_segment_duration_seconds": 4},
        {"segmentation_mode": "content_aware", "fixed_segment_duration_seconds": 4},
        {"video_ids": []},
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, database: Database, body: Any) -> None:
    await shot(database, 1)
    await refused(api, 422, **body)


async def test_an_index_by_another_name_is_not_found(api: Api, database: Database) -> None:
    await shot(database, 1)
    assert (await refused(api, 404, index_name="films"))["code"] == "resource_index_not_found"
