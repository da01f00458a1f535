"""What failed in a run over the API, and trying it again."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.store.footage import HALF, items, shot, started
from tests.store.pipeline import RESULT, jobs_of
from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.ports import Kind
from vvwatch.store.db.database import Database
from vvwatch.store.runs import runs, segment_retries
from vvwatch.store.schema import prompt_runs, segment_results

pytestmark = pytest.mark.anyio

NONE = {"field_extraction": 0, "transcription": 0, "image_embedding": 0, "processing": 0}
MENDED = ProcessingResult(
    tuple(Segment(each.start_time, each.end_time, {}, "ok") for each in HALF.segments), {}, ""
)


@pytest.fixture
async def run_id(api: Api, database: Database) -> str:
    """A run of three items: one came out half, one failed as a whole, one is good."""
    await shot(database, 3)
    run_id = await started(database)
    half, failed, good = items(database)
    await database.write(runs.finish_item, half, HALF)
    await database.write(runs.fail_item, failed, "media_unreadable", "moov atom not found")
    await database.write(runs.finish_item, good, RESULT)
    return run_id


async def manifest(api: Api, run_id: str, **params: Any) -> Any:
    return await api.get(f"/prompt-runs/{run_id}/failed-segments", **params)


async def test_the_manifest_names_what_failed(api: Api, run_id: str) -> None:
    found = await manifest(api, run_id)
    half, whole = found.pop("videos")
    assert found == {
        "run_id": run_id,
        "status": "completed_with_failures",
        "videos_with_failures": 2,
        "failed_segments": 2,
        "operation_counts": {**NONE, "field_extraction": 1, "processing": 1},
        "next_cursor": None,
    }
    assert (half["failed_segments"], half["operation_counts"]) == (1, {**NONE, "field_extraction": 1})
    [segment] = half["segments"]
    assert (segment["failed_operations"], segment["start_time"]) == (["field_extraction"], 2.0)
    assert (segment["failure_message"], segment["retryable"]) == ("the answer was cut off", True)
    [all_of_it] = whole["segments"]
    assert all_of_it["segment_id"].endswith("_whole")
    assert (all_of_it["failure_code"], all_of_it["start_time"]) == ("media_unreadable", None)
    assert all_of_it["failed_operations"] == ["processing"]


async def test_the_manifest_has_pages(api: Api, run_id: str) -> None:
    first = await manifest(api, run_id, limit=1)
    second = await manifest(api, run_id, limit=1, cursor=first["next_cursor"])
    assert first["videos_with_failures"] == second["videos_with_failures"] == 2
    assert first["videos"] + second["videos"] == (await manifest(api, run_id))["videos"]
    assert second["next_cursor"] is None


async def test_a_run_without_failures_has_an_empty_manifest(api: Api, database: Database) -> None:
    await shot(database, 1)
    run_id = await started(database)
    assert (await manifest(api, run_id))["videos"] == []
    await api.error("GET", "/prompt-runs/run_none/failed-segments", 404)


async def test_what_failed_is_retried_until_nothing_has(api: Api, database: Database, run_id: str) -> None:
    for video in (await manifest(api, run_id))["videos"]:
        [segment] = video["segments"]
        path = f"/prompt-runs/{run_id}/videos/{video['video_id']}/segments/{segment['segment_id']}"
        begun = await api.post(f"{path}/retry", status=202)
        assert (begun["status"], begun["segment_id"]) == ("pending", segment["segment_id"])
        assert begun.pop("message")
        assert begun.pop("idempotency_key") is None
        assert await api.get(f"{path}/retries/{begun['retry_id']}") == begun
        assert (await api.error("POST", f"{path}/retry", 409))["code"] == "conflict"
        [job] = jobs_of(database).take(Kind.SEGMENT_RETRY)
        await database.write(segment_retries.begin, job)
        await database.write(segment_retries.finish, job, MENDED)
        ended = await api.get(f"{path}/retries/{begun['retry_id']}")
        assert (ended["status"], ended["error"]) == ("completed", None)
        assert ended["field_extraction_succeeded"] is True
        assert ended["completed_at"] is not None
    run = await api.get(f"/prompt-runs/{run_id}")
    assert (run["status"], run["failed_audios"], run["partial_videos"]) == ("completed", 0, 0)
    assert (run["completed_videos"], run["completed_segments"], run["total_segments"]) == (1, 5, 5)
    assert (await manifest(api, run_id))["videos"] == []


async def test_a_retry_that_failed_says_why(api: Api, database: Database, run_id: str) -> None:
    video = (await manifest(api, run_id))["videos"][1]
    path = f"/prompt-runs/{run_id}/videos/{video['video_id']}/segments/{video['segments'][0]['segment_id']}"
    begun = await api.post(f"{path}/retry", status=202)
    [job] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    await database.write(segment_retries.fail, job, "media_unreadable", "moov atom not found")
    ended = await api.get(f"{path}/retries/{begun['retry_id']}")
    assert (ended["status"], ended["error"]) == ("failed", "moov atom not found")
    assert ended["field_extraction_succeeded"] is False


async def test_the_same_request_makes_one_retry(api: Api, run_id: str) -> None:
    video = (await manifest(api, run_id))["videos"][0]
    path = f"/prompt-runs/{run_id}/videos/{video['video_id']}/segments/{video['segments'][0]['segment_id']}/retry"
    again: dict[str, Any] = {"status": 202, "headers": {"Idempotency-Key": "once"}}
    assert await api.ask("POST", path, **again) == await api.ask("POST", path, **again)


async def test_what_is_not_there_is_not_retried(api: Api, run_id: str) -> None:
    video = (await manifest(api, run_id))["videos"][0]
    segment = video["segments"][0]["segment_id"]
    its = f"/prompt-runs/{run_id}/videos/{video['video_id']}/segments"
    for path, code in (
        (f"/prompt-runs/run_none/videos/{video['video_id']}/segments/{segment}/retry", "prompt_run"),
        (f"/prompt-runs/{run_id}/videos/vid_none/segments/{segment}/retry", "video"),
        (f"{its}/seg_1_1000/retry", "segment"),
    ):
        assert (await api.error("POST", path, 404))["code"] == f"resource_{code}_not_found"
    error = await api.error("GET", f"{its}/{segment}/retries/retry_none", 404)
    assert error["code"] == "resource_segment_retry_not_found"


async def test_what_retention_has_dropped_cannot_be_retried(
    api: Api, database: Database, run_id: str
) -> None:
    await database.write(lambda tx: tx.update(prompt_runs, run_id, results="dropped"))
    found = await manifest(api, run_id)
    assert [segment["retryable"] for video in found["videos"] for segment in video["segments"]] == [
        False,
        False,
    ]


async def test_segments_that_retention_has_dropped_are_still_counted(
    api: Api, database: Database, run_id: str
) -> None:
    before = await manifest(api, run_id)
    await database.write(lambda tx: tx.execute(sa.delete(segment_results)))
    after = await manifest(api, run_id)
    before["videos"][0]["segments"] = []
    assert after == before
