from __future__ import annotations

import pytest

from tests.api.asking import Api
from tests.api.story import INDEX, Story
from tests.store.footage import items, shot, started
from vvwatch.store.db.database import Database
from vvwatch.store.runs import runs

pytestmark = pytest.mark.anyio

MOMENT = "2026-09-21T14:18:20.000Z"
NOT_DONE = {
    "image_embedding": "the processor 'technical' makes no image embeddings",
}
MARKER = {"marker_id": None, "color": None, "note": None, "updated_at": None}


async def test_a_run_counts_by_media_type(api: Api, story: Story) -> None:
    run = await api.get(f"/prompt-runs/{story.run_id}")
    counters = {
        f"{end}_{kind}s": 0
        for end in ("total", "completed", "failed", "partial", "cancelled")
        for kind in ("video", "audio", "image")
    }
    assert run == {
        "run_id": story.run_id,
        "prompt_id": "prompt_technical",
        "prompt_name": "technical",
        "prompt_type": "custom",
        "prompt_version": 1,
        "executed_at": MOMENT,
        "executed_by": story.automation_id,
        "status": "completed",
        "run_context": {"type": "index", "index_id": INDEX},
        "import_job_id": story.job_id,
        **counters,
        "total_videos": 1,
        "completed_videos": 1,
        "total_segments": 1,
        "completed_segments": 1,
        "field_extraction_failures": 0,
        "transcription_failures": 0,
        "image_embedding_failures": 0,
        "field_extraction_succeeded": True,
        "transcription_succeeded": None,
        "image_embedding_succeeded": False,
        "error_message": None,
        "video_segmentation_type": "smart",
        "audio_segmentation_type": "content_aware",
        "image_segmentation_type": "image",
        "video_segment_duration": None,
        "audio_segment_duration": None,
        "created_new_segments": True,
        "processing_model": None,
        "total_video_seconds": 4.0,
        "enable_transcription": True,
        "enable_image_embedding": False,
        "not_done": NOT_DONE,
        "video_level_enabled": False,
        "video_level_total_items": 0,
        "video_level_completed_items": 0,
        "video_level_failed_items": 0,
        "video_level_partial_items": 0,
        "stop_state": {
            "requested_at": None,
            "requested_by": None,
            "mode": None,
            "observed_at": None,
            "completed_at": None,
        },
        "cost": {
            "calls": 0,
            "input_tokens": 0,
            "output_tokens": 0,
            "usd": 0.0,
            "unpriced_calls": 0,
            "reserved_usd": 0.0,
        },
        "billing_estimated_mt": 0.0,
        "billing_actual_mt": 0.0,
        "billing_status": None,
        "billing_error": None,
        "marker": MARKER,
        "started_at": MOMENT,
        "completed_at": MOMENT,
        "updated_at": MOMENT,
    }
    assert await api.get("/prompt-runs") == [run]
    page = await api.get(f"/indexes/{INDEX}/prompt-runs")
    assert page == {"data": [run], "pagination": {"limit": 50, "has_more": False, "next_cursor": None}}


async def test_results_come_segment_by_segment(api: Api, story: Story) -> None:
    page = await api.get(f"/prompt-runs/{story.run_id}/results", video_id=story.video_id)
    [segment] = page["data"]
    assert segment == {
        "result_type": "segment",
        "result_id": f"segment:{segment['segment_id']}:{story.run_id}",
        "segment_id": segment["segment_id"],
        "video_id": story.video_id,
        "run_id": story.run_id,
        "prompt_id": "prompt_technical",
        "prompt_run_id": story.run_id,
        "video_name": "a.mp4",
        "source_index_id": INDEX,
        "executed_at": MOMENT,
        "start_time": 0.0,
        "end_time": 4.0,
        "metadata": {"loudness": -23.0},
        "metadata_text": "a shot",
        "processing_warning": None,
        "field_extraction_succeeded": True,
        "field_extraction_error": None,
        "transcription_succeeded": None,
        "transcription_error": None,
        "image_embedding_succeeded": False,
        "image_embedding_error": NOT_DONE["image_embedding"],
        "transcript": None,
        "thumbnail_available": False,
        "thumbnail_uri": None,
        "gif_available": False,
        "marker": MARKER,
        "metadata_markers": {},
    }


async def test_the_result_for_the_whole_item(api: Api, story: Story) -> None:
    result = await api.get(f"/prompt-runs/{story.run_id}/videos/{story.video_id}/video-result")
    assert result == {
        "result_type": "video",
        "result_id": f"video:{story.video_id}:{story.run_id}",
        "run_id": story.run_id,
        "prompt_id": "prompt_technical",
        "prompt_run_id": story.run_id,
        "video_id": story.video_id,
        "video_name": "a.mp4",
        "source_index_id": INDEX,
        "executed_at": MOMENT,
        "status": "completed",
        "metadata": {"cuts": 0},
        "metadata_text": "one shot",
        "processing_warning": None,
        "successful_segment_count": 1,
        "failed_segment_count": 0,
        "error_code": None,
        "error_message": None,
        "damage": [],
        "warnings": [],
        "started_at": MOMENT,
        "completed_at": MOMENT,
        "marker": MARKER,
    }


async def test_a_run_that_failed_filled_no_fields(api: Api, database: Database) -> None:
    await shot(database, 1)
    run_id = await started(database)
    [job] = items(database)
    await database.write(runs.fail_item, job, "media_unreadable", "moov atom not found")
    run = await api.get(f"/prompt-runs/{run_id}")
    assert (run["status"], run["field_extraction_succeeded"]) == ("failed", False)


async def test_results_need_a_video(api: Api, story: Story) -> None:
    error = await api.error("GET", f"/prompt-runs/{story.run_id}/results", 422)
    assert error["details"]["errors"][0]["where"] == "query.video_id"
    error = await api.error("GET", f"/prompt-runs/{story.run_id}/results?video_id=vid_other", 404)
    assert error["code"] == "resource_video_not_found"


async def test_an_unknown_run_is_not_found(api: Api) -> None:
    for tail in ("", "/results?video_id=v", "/videos/v/video-result"):
        error = await api.error("GET", f"/prompt-runs/run_none{tail}", 404)
        assert error["code"] == "resource_prompt_run_not_found"


async def test_the_media_item_of_a_run(api: Api, story: Story) -> None:
    video = await api.get(f"/videos/{story.video_id}")
    [processing] = video.pop("processing_status")
    [segment] = processing.pop("segments")
    assert processing == {
        "run_id": story.run_id,
        "prompt_id": "prompt_technical",
        "status": "completed",
        "total_segments": 1,
        "pending_segments": 0,
        "processing_segments": 0,
        "successful_segments": 1,
        "failed_segments": 0,
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "error_message": None,
        "attempt_id": None,
        "video_level": None,
    }
    assert (segment["video_id"], segment["status"], segment["error_message"]) == (
        story.video_id,
        "completed",
        None,
    )
    assert set(video) == {
        "video_id",
        "index_id",
        "title",
        "video_uri",
        "status",
        "media_type",
        "duration_seconds",
        "size_bytes",
        "source_connector_id",
        "source_key",
        "source_version",
        "import_job_id",
        "probe",
        "facts",
        "metadata_keys",
        "marker",
        "created_at",
        "updated_at",
    }
    assert (video["status"], video["media_type"], video["duration_seconds"]) == ("processed", "video", 4.0)
    [listed] = (await api.get(f"/indexes/{INDEX}/videos"))["data"]
    assert listed.pop("processing_status") == [{**processing, "segments": []}]
    assert listed == video
    assert (await api.error("GET", "/videos/vid_none", 404))["code"] == "resource_video_not_found"
