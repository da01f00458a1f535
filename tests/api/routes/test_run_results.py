"""The results of a run in all of its media, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import Api
from tests.api.compat.test_search import run, town, video
from tests.api.story import Story
from vvwatch.api.http.pagination import encode_cursor
from vvwatch.store.db.database import Database

pytestmark = pytest.mark.anyio

HALF_A_CHARACTER = encode_cursor('["\\ud800",0]')
PATH = "/workflow/runs/run_2/results"


@pytest.fixture
async def filled(api: Api, database: Database) -> Api:
    await database.write(town)
    return api


async def test_a_finished_run_tells_what_it_found(api: Api, story: Story) -> None:
    answer = await api.get(f"/workflow/runs/{story.run_id}/results")
    assert (answer["run_id"], answer["status"], answer["result_level"]) == (
        story.run_id,
        "completed",
        "segment",
    )
    assert answer["filtered"] is None
    assert answer["selection_summary"] == {
        "status": "not_configured",
        "selected_media_count": 0,
        "selected_video_count": 0,
        "selected_segment_count": 0,
    }
    results = f"/prompt-runs/{story.run_id}/results"
    assert answer["unfiltered"]["data"] == (await api.get(results, video_id=story.video_id))["data"]


async def test_media_as_a_whole_are_told_as_elsewhere(api: Api, story: Story) -> None:
    answer = await api.get(f"/workflow/runs/{story.run_id}/results", result_level="video")
    video_result = await api.get(f"/prompt-runs/{story.run_id}/videos/{story.video_id}/video-result")
    assert answer["unfiltered"]["data"] == [video_result]


@pytest.mark.parametrize("level", ["segment", "video"])
@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_pages_come_past_everything_once(
    filled: Api, database: Database, level: str, limit: int
) -> None:
    def more(tx: Any) -> None:
        video(tx, "vid_d", "idx_1")
        run(tx, "run_9", "idx_1", {"vid_a": [{"n": 1}, {"n": 2}], "vid_b": [{"n": 3}], "vid_d": [{"n": 4}]})

    await database.write(more)
    found, cursor = [], None
    while True:
        params = {"result_level": level, "limit": limit} | ({"unfiltered_cursor": cursor} if cursor else {})
        page = (await filled.get("/workflow/runs/run_9/results", **params))["unfiltered"]
        found += [(result["video_id"], result["metadata"]["n"]) for result in page["data"]]
        cursor = page["pagination"]["next_cursor"]
        if cursor is None:
            break
    whole = [("vid_a", 2), ("vid_b", 1), ("vid_d", 1)]
    parts = [("vid_a", 1), ("vid_a", 2), ("vid_b", 3), ("vid_d", 4)]
    assert found == (parts if level == "segment" else whole)


async def test_one_media_item_may_be_asked_for(filled: Api) -> None:
    page = (await filled.get(PATH, video_id="vid_b"))["unfiltered"]
    assert [result["metadata"]["n"] for result in page["data"]] == [3, 9]
    await filled.error("GET", PATH, 404, params={"video_id": "vid_c"})
    await filled.error("GET", "/workflow/runs/run_x/results", 404)


async def test_the_filtered_stream_alone_is_nothing(filled: Api) -> None:
    answer = await filled.get(PATH, view="filtered")
    assert answer["filtered"] is answer["unfiltered"] is None
    assert (await filled.get(PATH, view="unfiltered"))["unfiltered"] is not None


async def test_what_was_deleted_is_left_out(filled: Api) -> None:
    await filled.ask("DELETE", "/videos/vid_a", status=202)
    for level in ("segment", "video"):
        page = (await filled.get(PATH, result_level=level))["unfiltered"]
        assert {result["video_id"] for result in page["data"]} == {"vid_b"}


async def test_of_a_deleted_index_nothing_is_found_any_more(filled: Api) -> None:
    await filled.ask("DELETE", "/indexes/idx_1", status=202)
    for level in ("segment", "video"):
        assert (await filled.get(PATH, result_level=level))["unfiltered"]["data"] == []
    await filled.error("GET", PATH, 404, params={"video_id": "vid_a"})
    for path in ("results?video_id=vid_a", "videos/vid_a/video-result"):
        await filled.error("GET", f"/prompt-runs/run_2/{path}", 404)


@pytest.mark.parametrize("name", ["filtered_cursor", "unfiltered_cursor"])
async def test_a_foreign_cursor_is_refused(filled: Api, name: str) -> None:
    for cursor in ("???", "YWZ0ZXI6MQ", "YWZ0ZXI6WzEsMl0", HALF_A_CHARACTER):
        error = await filled.error("GET", PATH, 400, params={name: cursor})
        assert error["code"] == "invalid_cursor"
