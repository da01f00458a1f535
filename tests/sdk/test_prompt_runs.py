"""Prompt runs: what the technical processor measured, and what to do when it could not."""

from __future__ import annotations

from typing import Any

import pytest
import videovector

from tests.daemon_process import wait_until
from tests.sdk.twins import Twin
from tests.sdk.world import World

TECHNICAL = "prompt_technical"
SOON = {"poll_interval": 0.05, "timeout": 30}


def run_over(sdk: Twin, *video_ids: str, **options: Any) -> Any:
    """The ended run over some media."""
    target = {"type": "videos", "video_ids": list(video_ids)}
    run = sdk.prompt_runs.execute(prompt_id=TECHNICAL, target=target, **options)
    return sdk.prompt_runs.wait_for_completion(run.run_id, **SOON)


def test_media_are_processed_and_counted(sdk: Twin, world: World) -> None:
    target = {"type": "index", "index_id": world.index_id}
    begun = sdk.prompt_runs.execute(prompt_id=TECHNICAL, target=target)
    assert begun.status in {"pending", "processing", "completed"}
    run = sdk.prompt_runs.wait_for_completion(begun.run_id, **SOON)
    assert (run.status, run.prompt_id, run.error_message) == ("completed", TECHNICAL, None)
    assert run.run_context == {"type": "index", "index_id": world.index_id}
    assert (run.total_videos, run.total_audios, run.total_images) == (1, 1, 1)
    assert (run.completed_videos, run.completed_audios, run.completed_images) == (1, 1, 1)
    assert (run.total_segments, run.completed_segments) == (4, 4)
    assert run.video_segmentation_type == "smart"
    assert run.field_extraction_succeeded
    assert run.total_video_seconds == pytest.approx(5, abs=0.2)
    assert sdk.prompt_runs.retrieve(run.run_id) == run
    assert run in sdk.prompt_runs.list()
    assert run in sdk.videos.list_prompt_runs(world.video_ids["clip.mp4"])


def test_results_tell_what_was_measured(sdk: Twin, world: World) -> None:
    clip = world.video_ids["clip.mp4"]
    page = sdk.prompt_runs.list_results(world.run_id, video_id=clip, limit=1)
    first, second = page.auto_paging_iter()
    assert (first.video_id, first.run_id, first.prompt_id) == (clip, world.run_id, TECHNICAL)
    assert first.result_id == f"segment:{first.segment_id}:{world.run_id}"
    assert (first.start_time, first.metadata["opened_by"]) == (0.0, "start")
    assert (second.start_time, second.metadata["opened_by"]) == (pytest.approx(2, abs=0.1), "cut")
    assert second.metadata["loudness_lufs"] < 0
    assert "cut" in second.metadata_text
    whole = sdk.prompt_runs.get_video_result(world.run_id, clip)
    assert (whole.status, whole.video_name, whole.successful_segment_count) == ("completed", "clip.mp4", 2)
    assert whole.metadata["probe"]["width"] == 160
    assert whole.metadata["probe"]["video_codec"] == "h264"


def test_fixed_segments_have_the_length_that_was_asked_for(sdk: Twin, world: World) -> None:
    run = run_over(
        sdk, world.video_ids["clip.mp4"], video_segmentation_type="fixed", video_segment_duration=3
    )
    assert (run.video_segmentation_type, run.video_segment_duration) == ("fixed", 3)
    assert run.run_context["video_ids"] == [world.video_ids["clip.mp4"]]
    results = sdk.prompt_runs.list_results(run.run_id, video_id=world.video_ids["clip.mp4"]).data
    assert [round(result.start_time) for result in results] == [0, 3]


def test_nothing_has_failed_in_a_good_run(sdk: Twin, world: World) -> None:
    manifest = sdk.prompt_runs.get_failed_segments(world.run_id)
    assert (manifest.run_id, manifest.status) == (world.run_id, "completed")
    assert (manifest.failed_segments, manifest.videos) == (0, [])


def test_no_model_was_called(sdk: Twin, world: World) -> None:
    assert sdk.prompt_runs.get_llm_calls(world.run_id) == []


def test_the_cost_of_a_run_is_nothing(sdk: Twin, world: World) -> None:
    target = {"type": "index", "index_id": world.index_id}
    estimate = sdk.prompt_runs.estimate(prompt_id=TECHNICAL, target=target)
    assert (estimate.estimated_mt, estimate.sufficient_balance) == (0, True)
    assert estimate.breakdown


def test_a_cancelled_run_stays_so(sdk: Twin, world: World) -> None:
    prefix, index_id = world.prefix(), world.index()
    for number in range(6):
        world.put(f"{prefix}{number}.mp4", world.media["clip.mp4"])
    world.imported(index_id, prefix)
    run = sdk.prompt_runs.execute(prompt_id=TECHNICAL, target={"type": "index", "index_id": index_id})
    begun = sdk.prompt_runs.cancel(run.run_id, idempotency_key=run.run_id)
    assert sdk.prompt_runs.cancel(run.run_id, idempotency_key=run.run_id) == begun
    ended = sdk.prompt_runs.wait_for_completion(run.run_id, **SOON)
    assert ended.status == "cancelled"
    assert ended.completed_videos + ended.cancelled_videos == ended.total_videos == 6
    assert ended.cancelled_videos > 0
    assert ended.stop_state.requested_at
    again = sdk.prompt_runs.cancel(run.run_id)
    assert again.status == "cancelled"


def test_a_segment_that_failed_is_tried_again(sdk: Twin, world: World) -> None:
    prefix, index_id = world.prefix(), world.index()
    key = f"{prefix}clip.mp4"
    world.put(key, world.media["clip.mp4"])
    [video_id] = world.imported(index_id, prefix)["video_ids"]
    world.remove(key)
    run = sdk.prompt_runs.execute(prompt_id=TECHNICAL, target={"type": "index", "index_id": index_id})
    with pytest.raises(videovector.ProcessingError):
        sdk.prompt_runs.wait_for_completion(run.run_id, **SOON)
    manifest = sdk.prompt_runs.get_failed_segments(run.run_id)
    assert (manifest.videos_with_failures, manifest.failed_segments) == (1, 1)
    [video] = manifest.videos
    [segment] = video.segments
    assert (video.video_id, video.failed_segments, segment.retryable) == (video_id, 1, True)
    assert segment.failure_message
    world.put(key, world.media["clip.mp4"])
    retry = sdk.prompt_runs.retry_segment(run.run_id, video_id, segment.segment_id)
    assert (retry.run_id, retry.video_id, retry.segment_id) == (run.run_id, video_id, segment.segment_id)
    told = {
        "run_id": run.run_id,
        "video_id": video_id,
        "segment_id": segment.segment_id,
        "retry_id": retry.retry_id,
    }
    wait_until(lambda: sdk.prompt_runs.get_segment_retry_status(**told).completed_at is not None, "the retry")
    status = sdk.prompt_runs.get_segment_retry_status(**told)
    assert (status.status, status.error, status.field_extraction_succeeded) == ("completed", None, True)
    assert sdk.prompt_runs.retrieve(run.run_id).completed_videos == 1
    assert sdk.prompt_runs.get_failed_segments(run.run_id).videos == []
    assert len(sdk.prompt_runs.list_results(run.run_id, video_id=video_id).data) == 2


def test_the_same_key_starts_one_run(sdk: Twin, world: World) -> None:
    target = {"type": "videos", "video_ids": [world.video_ids["picture.png"]]}
    key = world.name("key")
    first, again = [
        sdk.prompt_runs.execute(prompt_id=TECHNICAL, target=target, idempotency_key=key) for _ in range(2)
    ]
    assert first == again
    assert [run.run_id for run in sdk.prompt_runs.list()].count(first.run_id) == 1


def test_what_a_run_needs_must_be_there(sdk: Twin, world: World) -> None:
    index = {"type": "index", "index_id": world.index_id}
    for request, code in (
        ({"prompt_id": "prompt_none", "target": index}, "resource_prompt_not_found"),
        (
            {"prompt_id": TECHNICAL, "target": {"type": "index", "index_id": "idx_none"}},
            "resource_index_not_found",
        ),
        (
            {"prompt_id": TECHNICAL, "target": {"type": "videos", "video_ids": ["v"]}},
            "resource_video_not_found",
        ),
    ):
        with pytest.raises(videovector.NotFoundError) as caught:
            sdk.prompt_runs.execute(**request)
        assert caught.value.error_code == code
