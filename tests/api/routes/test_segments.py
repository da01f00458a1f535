"""Segments of media: by one run, by the latest, by all."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.api.story import INDEX, Story
from vvwatch.api.routes import segments as routes
from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource, Word
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.runs.transcripts import store_transcript
from vvwatch.store.schema import prompt_runs, run_items, segment_results

pytestmark = pytest.mark.anyio

FIELDS = [
    "segment_id",
    "video_id",
    "start_time",
    "end_time",
    "gcs_uri",
    "thumbnail_gcs_uri",
    "gif_gcs_uri",
    "thumbnail_uri",
    "gif_uri",
    "processed",
    "processing_failed",
    "segment_status",
    "failure_stage",
    "failure_message",
    "attempt_id",
    "status_source",
    "metadata",
    "metadata_text",
    "created_at",
    "processed_at",
    "error_message",
    "processing_warning",
    "thumbnail_data",
    "thumbnail_available",
    "gif_data",
    "gif_available",
    "from_run_id",
    "marker",
    "metadata_markers",
    "field_extraction_succeeded",
    "transcription_succeeded",
    "image_embedding_succeeded",
    "field_extraction_error",
    "transcription_error",
    "image_embedding_error",
    "transcript",
]
SAID = Transcript(
    TranscriptSource.EMBEDDED, "track 2, srt", "en", (Cue(1.0, 2.0, "one", (Word(1.0, 2.0, "one"),)),)
)


def another_run(tx: Tx, video_id: str, count: int) -> None:
    """A later run of the same prompt, which found more."""
    tx.insert(
        prompt_runs,
        id="run_zz",
        index_id=INDEX,
        prompt_id="prompt_technical",
        prompt={"name": "x", "video_level": None},
        settings={},
        status="completed",
        created_at=tx.now,
    )
    tx.insert(run_items, run_id="run_zz", media_id=video_id, status="completed", segment_count=count)
    item_id = tx.execute(run_items.select().where(run_items.c.run_id == "run_zz")).one().id
    for ordinal in range(count):
        error = "no picture" if ordinal == 1 else None
        tx.insert(
            segment_results,
            run_item_id=item_id,
            ordinal=ordinal,
            start_time=10.0 * ordinal,
            end_time=10.0 * ordinal + 10,
            metadata={"n": ordinal},
            metadata_text=str(ordinal),
            error=error,
        )


@pytest.fixture
async def twice(story: Story, database: Database) -> Story:
    """The story, whose video a later run had as well, with five segments."""
    await database.write(another_run, story.video_id, 5)
    return story


async def test_a_segment_has_every_field(api: Api, story: Story) -> None:
    [segment] = (await api.get(f"/videos/{story.video_id}/segments"))["data"]
    assert sorted(segment) == sorted(FIELDS)
    [result] = (await api.get(f"/prompt-runs/{story.run_id}/results", video_id=story.video_id))["data"]
    same = ("segment_id", "video_id", "start_time", "end_time", "metadata", "metadata_text")
    assert {name: segment[name] for name in same} == {name: result[name] for name in same}
    assert (segment["from_run_id"], segment["segment_status"]) == (story.run_id, "completed")


async def runs_of(api: Api, story: Story, **params: Any) -> list[str]:
    found = await api.get(f"/videos/{story.video_id}/segments", **params)
    return [segment["from_run_id"] for segment in found["data"]]


async def test_the_latest_run_is_told_unless_all_or_one_is_asked_for(api: Api, twice: Story) -> None:
    assert await runs_of(api, twice) == ["run_zz"] * 5
    assert await runs_of(api, twice, latest_run="true") == ["run_zz"] * 5
    assert await runs_of(api, twice, latest_run="false") == ["run_zz"] * 5 + [twice.run_id]
    assert await runs_of(api, twice, run_id=twice.run_id) == [twice.run_id]
    assert await runs_of(api, twice, run_id=twice.run_id, latest_run="true") == [twice.run_id]


async def test_a_segment_that_failed_says_so(api: Api, twice: Story) -> None:
    segment = (await api.get(f"/videos/{twice.video_id}/segments"))["data"][1]
    assert (segment["processed"], segment["processing_failed"], segment["segment_status"]) == (
        False,
        True,
        "failed",
    )
    assert segment["error_message"] == segment["field_extraction_error"] == "no picture"


async def test_pages_keep_to_the_run_they_began_with(api: Api, story: Story, database: Database) -> None:
    path = f"/videos/{story.video_id}/segments"
    await database.write(another_run, story.video_id, 5)
    seen, cursor = [], None
    while True:
        page = await api.get(path, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [segment["metadata"]["n"] for segment in page["data"]]
        cursor = page["pagination"]["next_cursor"]
        assert page["pagination"]["has_more"] is (cursor is not None)
        if cursor is None:
            break
    assert seen == [0, 1, 2, 3, 4]


async def test_a_cursor_of_another_list_is_refused(api: Api, story: Story) -> None:
    for cursor in ("YWZ0ZXI6MQ", "YWZ0ZXI6MS54", "!", "YWZ0ZXI6MS4yLjM"):
        error = await api.error("GET", f"/videos/{story.video_id}/segments", 400, params={"cursor": cursor})
        assert error["code"] == "invalid_cursor"


async def test_segments_of_what_is_not_there_are_not_found(api: Api, story: Story) -> None:
    error = await api.error("GET", "/videos/none/segments", 404)
    assert error["code"] == "resource_video_not_found"
    error = await api.error("GET", f"/videos/{story.video_id}/segments", 404, params={"run_id": "none"})
    assert error["code"] == "resource_prompt_run_not_found"


async def test_a_batch_tells_segments_by_video_or_by_target(api: Api, twice: Story) -> None:
    video_id = twice.video_id
    [found] = await api.post("/videos/batch/segments", {"video_ids": [video_id, "none", video_id]})
    assert (found["video_id"], found["run_id"], len(found["segments"])) == (video_id, None, 5)
    targets = [{"video_id": video_id, "run_id": twice.run_id}, {"video_id": video_id}]
    found = await api.post("/videos/batch/segments", {"targets": targets})
    assert [(each["run_id"], len(each["segments"])) for each in found] == [(twice.run_id, 1), (None, 5)]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"video_ids": []},
        {"video_ids": ["x"] * 51},
        {"targets": []},
        {"video_ids": ["x"], "targets": [{"video_id": "x"}]},
        {"targets": [{"run_id": "x"}]},
    ],
)
async def test_a_batch_is_of_one_to_fifty_either_way(api: Api, body: Any) -> None:
    await api.error("POST", "/videos/batch/segments", 422, json=body)


async def test_a_batch_that_would_be_endless_is_refused(
    api: Api, twice: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_MAX_TOGETHER", 4)
    body = {"video_ids": [twice.video_id]}
    error = await api.error("POST", "/videos/batch/segments", 422, json=body)
    assert "more than 4 segments" in error["message"]


def transcribe(tx: Tx, found: Transcript | None, error: str | None = None) -> None:
    [item_id] = tx.execute(sa.select(run_items.c.id)).scalars()
    store_transcript(tx, item_id, found, error)


async def test_segments_say_what_is_said_in_them(api: Api, story: Story, database: Database) -> None:
    await database.write(transcribe, SAID)
    run, video = story.run_id, story.video_id
    lists = [
        (await api.get(f"/videos/{video}/segments"))["data"],
        (await api.post("/videos/batch/segments", {"video_ids": [video]}))[0]["segments"],
        (await api.get(f"/prompt-runs/{run}/results", video_id=video))["data"],
        (await api.get(f"/workflow/runs/{run}/results"))["unfiltered"]["data"],
    ]
    for [segment] in lists:
        assert segment["transcript"] == {
            "text": "one",
            "language": "en",
            "source": "embedded",
            "words": [{"text": "one", "start_time": 1.0, "end_time": 2.0}],
        }
        assert (segment["transcription_succeeded"], segment["transcription_error"]) == (True, None)


async def test_without_a_transcript_they_say_why(api: Api, story: Story, database: Database) -> None:
    await database.write(transcribe, None, "embedded: no caption track")
    [segment] = (await api.get(f"/videos/{story.video_id}/segments"))["data"]
    assert (segment["transcription_succeeded"], segment["transcript"]) == (False, None)
    assert segment["transcription_error"] == "embedded: no caption track"
