from __future__ import annotations

import pytest

from tests.api.asking import Api
from tests.api.story import INDEX, Story
from vvwatch.api.http.pagination import encode_cursor
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.runs import run_queries
from vvwatch.store.schema import media, segment_results

pytestmark = pytest.mark.anyio


async def test_every_item_comes_once(api: Api, story: Story, database: Database) -> None:
    def add(tx: Tx) -> None:
        for number in range(6):
            tx.insert(media, id=f"vid_{number}", index_id=INDEX, created_at=tx.now)

    await database.write(add)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for has_more in (True, True, True, False):
        page = await api.get(f"/indexes/{INDEX}/videos", limit=2, **cursor)
        seen += [video["video_id"] for video in page["data"]]
        assert page["pagination"]["limit"] == 2
        assert page["pagination"]["has_more"] is has_more
        assert (page["pagination"]["next_cursor"] is not None) is has_more
        cursor = {"cursor": page["pagination"]["next_cursor"]}
    assert seen == sorted([f"vid_{number}" for number in range(6)] + [story.video_id], reverse=True)


async def test_segments_are_paged_by_number(api: Api, story: Story, database: Database) -> None:
    def add(tx: Tx) -> None:
        item = run_queries.get_item(tx, story.run_id, story.video_id).item
        for ordinal in range(1, 12):
            tx.insert(
                segment_results,
                run_item_id=item.id,
                ordinal=ordinal,
                start_time=float(ordinal),
                end_time=ordinal + 1.0,
                metadata={},
            )

    await database.write(add)
    path = f"/prompt-runs/{story.run_id}/results"
    starts: list[float] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = await api.get(path, video_id=story.video_id, limit=4, **cursor)
        starts += [segment["start_time"] for segment in page["data"]]
        cursor = {"cursor": page["pagination"]["next_cursor"]}
    assert starts == [float(ordinal) for ordinal in range(12)]
    assert cursor == {"cursor": None}


async def test_an_empty_cursor_begins_at_the_first_page(api: Api, story: Story) -> None:
    path = f"/import-jobs/{story.job_id}/files"
    assert await api.get(path, cursor="") == await api.get(path)


@pytest.mark.parametrize("cursor", ["x", "é", "AAAA", "bm90IG91cnM", "=", "a" * 8193])
async def test_a_cursor_that_is_not_ours_is_refused(api: Api, story: Story, cursor: str) -> None:
    paths = (
        f"/indexes/{INDEX}/videos",
        f"/indexes/{INDEX}/prompt-runs",
        f"/import-jobs/{story.job_id}/files",
        f"/import-jobs/{story.job_id}/outputs",
        f"/prompt-runs/{story.run_id}/results",
    )
    for path in paths:
        params = {"cursor": cursor, "video_id": story.video_id}
        status = 422 if len(cursor) > 8192 else 400
        error = await api.error("GET", path, status, params=params)
        assert error["code"] == ("validation_error" if status == 422 else "invalid_cursor")


@pytest.mark.parametrize("last", ["x", "-1", "9" * 19, "9" * 5000, "²", "1.0"])
async def test_a_cursor_of_another_list_is_refused(api: Api, story: Story, last: str) -> None:
    params = {"cursor": encode_cursor(last), "video_id": story.video_id}
    error = await api.error("GET", f"/prompt-runs/{story.run_id}/results", 400, params=params)
    assert error["code"] == "invalid_cursor"


@pytest.mark.parametrize("limit", ["0", "101", "x"])
async def test_pages_have_their_limits(api: Api, story: Story, limit: str) -> None:
    for path in (f"/indexes/{INDEX}/videos", f"/indexes/{INDEX}/prompt-runs"):
        error = await api.error("GET", f"{path}?limit={limit}", 422)
        assert error["details"]["errors"][0]["where"] == "query.limit"
