"""Media as the API tells of them, one, many and all."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.api.story import INDEX, Story
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.schema import media, prompt_runs

pytestmark = pytest.mark.anyio


async def test_a_batch_keeps_its_order_and_leaves_out_what_is_not_there(
    api: Api, story: Story, database: Database
) -> None:
    others = [f"vid_{number}" for number in range(3)]
    await database.write(_more_media, others)
    wanted = [others[2], "none", story.video_id, others[0], others[2]]
    found = await api.post("/videos/batch", {"video_ids": wanted})
    assert [video["video_id"] for video in found] == [others[2], story.video_id, others[0]]


def _more_media(tx: Tx, ids: list[str]) -> None:
    for media_id in ids:
        tx.insert(media, id=media_id, index_id=INDEX, title="x", media_type="video", created_at=tx.now)


async def test_a_batch_tells_all_that_one_request_tells_and_pictures(api: Api, story: Story) -> None:
    [video] = await api.post("/videos/batch", {"video_ids": [story.video_id]})
    one = await api.get(f"/videos/{story.video_id}")
    assert video == {**one, "gif_data": None, "first_thumbnail": None}


async def test_the_status_of_a_batch_names_each_run(api: Api, story: Story) -> None:
    [status] = await api.post("/videos/batch/status", {"video_ids": [story.video_id, "none"]})
    [run] = status.pop("processing_status")
    assert status == {"video_id": story.video_id, "status": "processed"}
    assert (run["run_id"], run["status"], run["video_level"]) == (story.run_id, "completed", None)
    assert [segment["status"] for segment in run["segments"]] == ["completed"] * run["total_segments"]


async def test_a_run_with_a_video_level_says_how_that_stands(
    api: Api, story: Story, database: Database
) -> None:
    def level(tx: Tx) -> None:
        run = tx.first(sa.select(prompt_runs).where(prompt_runs.c.id == story.run_id))
        assert run is not None
        video_level = {"instructions_text": "sum up", "json_schema": {"type": "object"}}
        schema = {"type": "object", "properties": {"mood": {}, "actor": {}}}
        told = {**run.prompt, "video_level": video_level, "json_schema": schema}
        tx.update(prompt_runs, story.run_id, prompt=told)

    await database.write(level)
    [listed] = (await api.get(f"/indexes/{INDEX}/videos"))["data"]
    [run] = listed["processing_status"]
    whole = run["video_level"]
    assert (whole["status"], whole["result_available"], whole["successful_segment_count"]) == (
        "completed",
        True,
        1,
    )
    assert (run["segments"], listed["metadata_keys"]) == ([], ["actor", "mood"])


@pytest.mark.parametrize("path", ["/videos/batch", "/videos/batch/status"])
@pytest.mark.parametrize("body", [{}, {"video_ids": []}, {"video_ids": ["x"] * 101}, {"video_ids": [7]}, []])
async def test_a_batch_has_one_to_a_hundred_ids(api: Api, path: str, body: Any) -> None:
    await api.error("POST", path, 422, json=body)


async def test_the_runs_of_a_video_are_told(api: Api, story: Story) -> None:
    path = f"/videos/{story.video_id}/prompt-runs"
    assert await api.get(path, limit=1) == [await api.get(f"/prompt-runs/{story.run_id}")]
    await api.error("GET", path, 422, params={"limit": 201})
    assert (await api.error("GET", "/videos/none/prompt-runs", 404))["code"] == "resource_video_not_found"


async def test_the_playground_is_empty(api: Api) -> None:
    empty = {"data": [], "pagination": {"limit": 20, "has_more": False, "next_cursor": None}}
    assert await api.get("/playground/videos", limit=20) == empty


async def test_media_of_an_index_are_paged_while_more_arrive(
    api: Api, story: Story, database: Database
) -> None:
    await database.write(lambda tx: tx.execute(sa.update(media).values(title="first")))
    await database.write(_more_media, ["vid_1", "vid_2", "vid_3"])
    first = await api.get(f"/indexes/{INDEX}/videos", limit=2)
    await database.write(_more_media, ["vid_4"])
    cursor = first["pagination"]["next_cursor"]
    second = await api.get(f"/indexes/{INDEX}/videos", limit=2, cursor=cursor)
    seen = [video["video_id"] for page in (first, second) for video in page["data"]]
    assert len(set(seen)) == 4
    assert "vid_4" not in seen
