"""Runs of prompts by a program and by a model's endpoint, as the official clients begin, follow and mend them."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import videovector
from anyio.from_thread import BlockingPortal

from tests.daemon_process import ADMIN_KEY, Daemon, wait_until
from tests.model_server import ModelServer
from tests.sdk.twins import CLIENTS, Twin
from vvwatch.workflow.pipeline.artifact_schema import json_schema

SOON = {"poll_interval": 0.05, "timeout": 60}
INDEX = {"type": "index", "index_id": "idx_main"}
CUT = {
    "video_segmentation_type": "fixed",
    "video_segment_duration": 2,
    "audio_segmentation_type": "fixed",
    "audio_segment_duration": 2,
}
SEGMENTS = {"clip.mp4": 3, "sound.wav": 2, "picture.png": 1}
SCHEMA = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
WHOLE = {
    "instructions_text": "Sum up the episode.",
    "json_schema": {"type": "object", "required": ["summary"], "properties": {"summary": {"type": "string"}}},
}
PROGRAM = """
    import json, os, sys
    request = json.load(sys.stdin)
    prompt, whole = request["prompt"]["prompt_text"], request["level"] == "video"
    fails = {{
        "no segment": not whole,
        "no second segment": not whole and request["segment"]["index"] == 1,
        "no whole": whole,
    }}
    if fails.get(prompt.partition(": ")[2]) and not os.path.exists({mended!r}):
        sys.exit("cannot see it")
    metadata = {{"summary": "a boat"}} if whole else {{"title": "a boat"}}
    usage = {{"input_tokens": 10, "output_tokens": 2, "cost_usd": 0.25}}
    json.dump({{"metadata": metadata, "metadata_text": "a boat", "usage": usage}}, sys.stdout)
"""
CONFIG = """
[processing]
default = "script"
[processors.script]
type = "command"
command = ["{python}", "{script}"]
models = ["gemini-*"]
level = "segment"
[processors.vision]
type = "openai"
base_url = "{url}"
model = "stub-vision"
models = ["gpt-*"]
send_audio = true
[processors.vision.prices."stub-*"]
input_usd_per_million = 1000
output_usd_per_million = 0
"""


@dataclass
class Studio:
    """A daemon with two processors, and a film, a sound and a picture by title."""

    daemon: Daemon
    video_ids: dict[str, str]
    mended: Path

    def count(self, *titles: str) -> int:
        return sum(SEGMENTS[title] for title in titles or SEGMENTS)


@pytest.fixture(scope="module")
def studio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    from tests import samples

    request.config.hook.pytest_timeout_cancel_timer(item=request._pyfuncitem)
    base = tmp_path_factory.mktemp("studio")
    script, mended = base / "describe.py", base / "mended"
    script.write_text(textwrap.dedent(PROGRAM.format(mended=str(mended))))
    with ModelServer() as server:
        extra = CONFIG.format(python=sys.executable, script=script, url=server.url)
        with Daemon(base / "daemon", automation="enabled = false", extra=extra) as daemon:
            samples.video(daemon.incoming / "clip.mp4", seconds=5.5, cuts=(3.0,))
            samples.audio(daemon.incoming / "sound.wav", seconds=3.5)
            samples.image(daemon.incoming / "picture.png")
            with videovector.VideoVector(api_key=ADMIN_KEY, base_url=f"{daemon.url}/api/v2") as client:
                job = client.import_jobs.create(connector_id="conn_in", index_id="idx_main")
                client.import_jobs.wait_for_completion(job.job_id, **SOON)
                found = {video.title: video.video_id for video in client.indexes.list_videos("idx_main").data}
            yield Studio(daemon, found, mended)


@pytest.fixture(params=CLIENTS)
def sdk(request: pytest.FixtureRequest, studio: Studio, portal: BlockingPortal) -> Iterator[Twin]:
    client = CLIENTS[request.param](api_key=ADMIN_KEY, base_url=f"{studio.daemon.url}/api/v2", max_retries=0)
    twin = Twin(client, portal if request.param == "async" else None)
    studio.mended.unlink(missing_ok=True)
    yield twin
    twin.close()


def prompt(sdk: Twin, fails: str = "nothing", **more: Any) -> str:
    made = sdk.prompts.create(
        name="Episode", prompt_text=f"It fails at: {fails}", json_schema=SCHEMA, video_level=WHOLE, **more
    )
    prompt_id: str = made.prompt_id
    return prompt_id


def run_over(sdk: Twin, prompt_id: str, *video_ids: str, **options: Any) -> Any:
    target = {"type": "videos", "video_ids": list(video_ids)} if video_ids else INDEX
    run = sdk.prompt_runs.execute(prompt_id=prompt_id, target=target, **CUT | options)
    return sdk.prompt_runs.wait_for_completion(run.run_id, **SOON)


def export_of(sdk: Twin, run_id: str) -> Any:
    export = sdk.exports.create_prompt_run_export(run_id)
    export = sdk.exports.wait_for_completion(export.export_id, **SOON)
    document = json.loads(b"".join(sdk.exports.iter_download(export.export_id)))
    jsonschema.validate(document, json_schema(), format_checker=jsonschema.FormatChecker())
    return document


@pytest.mark.parametrize(
    ("model", "name", "cost"), [("gemini-2.5-pro", "script", 0.25), ("gpt-5", "vision", 0.1)]
)
def test_a_prompt_runs_by_the_processor_of_its_model(
    sdk: Twin, studio: Studio, model: str, name: str, cost: float
) -> None:
    prompt_id, calls = prompt(sdk), studio.count() + len(SEGMENTS)
    asked = {"prompt_id": prompt_id, "target": INDEX, "processing_model": model, **CUT}
    estimate = sdk.prompt_runs.estimate(**asked)
    assert estimate.breakdown["calls"] >= calls
    assert estimate.sufficient_balance
    run = run_over(sdk, prompt_id, processing_model=model)
    assert (run.status, run.processing_model, run.error_message) == ("completed", model, None)
    assert (run.completed_segments, run.total_segments) == (studio.count(), studio.count())
    assert (run.video_level_enabled, run.video_level_completed_items, run.video_level_total_items) == (
        True,
        3,
        3,
    )
    assert (run.field_extraction_succeeded, run.transcription_succeeded) == (True, False)
    assert run.billing_actual_mt == pytest.approx(calls * cost * 1000)
    for title, count in SEGMENTS.items():
        results = sdk.prompt_runs.list_results(run.run_id, video_id=studio.video_ids[title]).data
        assert [result.metadata["title"] for result in results] == ["a boat"] * count
        for result in results:
            assert (result.field_extraction_succeeded, result.field_extraction_error) == (True, None)
            assert result.image_embedding_succeeded is False
            if title.endswith(".png"):  # a picture says nothing
                assert (result.transcription_succeeded, result.transcription_error) == (None, None)
            else:
                assert result.transcription_succeeded is False
                assert "no caption track" in result.transcription_error
            assert f"{name!r} makes no image embeddings" in result.image_embedding_error
        whole = sdk.prompt_runs.get_video_result(run.run_id, studio.video_ids[title])
        assert (whole.status, whole.metadata) == ("completed", {"summary": "a boat"})
    made = sdk.prompt_runs.get_llm_calls(run.run_id)
    assert len(made) == calls
    assert [call.llm_call_id for call in made] == sorted(call.llm_call_id for call in made)
    assert {call.status for call in made} == {"completed"}
    assert sum(call.segment_id is None for call in made) == len(SEGMENTS)
    document = export_of(sdk, run.run_id)
    [told] = document["runs"]
    assert (told["processing_model"], told["cost"]["calls"]) == (model, calls)
    assert told["cost"]["usd"] == pytest.approx(calls * cost)
    assert told["not_done"].keys() == {"image_embedding"}


def test_a_segment_that_failed_leaves_the_others_and_is_mended(sdk: Twin, studio: Studio) -> None:
    clip = studio.video_ids["clip.mp4"]
    run = run_over(sdk, prompt(sdk, "no second segment"), clip)
    assert (run.status, run.partial_videos) == ("completed_with_failures", 1)
    assert (run.completed_segments, run.total_segments, run.field_extraction_failures) == (2, 3, 1)
    assert run.field_extraction_succeeded is False
    manifest = sdk.prompt_runs.get_failed_segments(run.run_id)
    assert (manifest.videos_with_failures, manifest.failed_segments) == (1, 1)
    assert manifest.operation_counts.model_dump() == {
        "field_extraction": 1,
        "transcription": 1,  # the clip has no captions, and nothing here transcribes speech
        "image_embedding": 0,
        "processing": 0,
    }
    [segment] = manifest.videos[0].segments
    assert (segment.start_time, segment.end_time, segment.retryable) == (2.0, 4.0, True)
    assert (segment.failure_stage, segment.failure_code) == ("field_extraction", "segment_failed")
    assert "cannot see it" in segment.field_extraction_error
    results = sdk.prompt_runs.list_results(run.run_id, video_id=clip).data
    assert [result.field_extraction_succeeded for result in results] == [True, False, True]
    assert "cannot see it" in results[1].field_extraction_error
    assert export_of(sdk, run.run_id)["runs"][0]["status"] == "completed_with_failures"
    status = retried(sdk, studio, run.run_id, clip, segment.segment_id)
    assert (status.status, status.billing_actual_mt) == ("completed", pytest.approx(250))
    mended = sdk.prompt_runs.retrieve(run.run_id)
    assert (mended.status, mended.completed_videos, mended.completed_segments) == ("completed", 1, 3)
    assert mended.billing_actual_mt == pytest.approx(run.billing_actual_mt + 250)


def retried(sdk: Twin, studio: Studio, run_id: str, video_id: str, segment_id: str) -> Any:
    """The ended retry, after what made it fail is mended."""
    studio.mended.touch()
    retry = sdk.prompt_runs.retry_segment(run_id, video_id, segment_id)
    told = {"run_id": run_id, "video_id": video_id, "segment_id": segment_id, "retry_id": retry.retry_id}
    wait_until(lambda: sdk.prompt_runs.get_segment_retry_status(**told).completed_at is not None, "the retry")
    return sdk.prompt_runs.get_segment_retry_status(**told)


def test_a_run_without_a_single_result_has_failed_and_says_why(sdk: Twin, studio: Studio) -> None:
    clip = studio.video_ids["clip.mp4"]
    target = {"type": "videos", "video_ids": [clip]}
    run = sdk.prompt_runs.execute(prompt_id=prompt(sdk, "no segment"), target=target, **CUT)
    with pytest.raises(videovector.ProcessingError):
        sdk.prompt_runs.wait_for_completion(run.run_id, **SOON)
    run = sdk.prompt_runs.retrieve(run.run_id)
    assert (run.status, run.failed_videos, run.partial_videos) == ("failed", 1, 0)
    assert (run.completed_segments, run.total_segments) == (0, 3)
    whole = sdk.prompt_runs.get_video_result(run.run_id, clip)
    assert whole.status == "failed"
    assert "all of its 3 segments failed" in whole.error_message
    assert "cannot see it" in whole.error_message
    [video] = sdk.prompt_runs.get_failed_segments(run.run_id).videos
    assert [segment.failure_stage for segment in video.segments] == ["field_extraction"] * 3
    export_of(sdk, run.run_id)
    first = retried(sdk, studio, run.run_id, clip, video.segments[0].segment_id)
    assert first.status == "completed"
    run = sdk.prompt_runs.retrieve(run.run_id)
    assert (run.status, run.failed_videos, run.partial_videos) == ("completed_with_failures", 0, 1)
    assert sdk.prompt_runs.get_video_result(run.run_id, clip).metadata == {"summary": "a boat"}
    item = video.segments[0].segment_id.rpartition("_")[0]
    with pytest.raises(videovector.ConflictError):
        sdk.prompt_runs.retry_segment(run.run_id, clip, f"{item}_whole")


def test_a_whole_that_is_missing_is_counted_named_and_mended(sdk: Twin, studio: Studio) -> None:
    clip = studio.video_ids["clip.mp4"]
    run = run_over(sdk, prompt(sdk, "no whole"), clip)
    assert (run.status, run.completed_segments) == ("completed_with_failures", 3)
    wholes = run.video_level_completed_items, run.video_level_failed_items, run.video_level_partial_items
    assert wholes == (0, 1, 0)
    [told] = [each for each in sdk.videos.retrieve(clip).processing_status if each.run_id == run.run_id]
    assert (told.video_level.status, told.video_level.result_available) == ("failed", False)
    assert "cannot see it" in told.video_level.error_message
    manifest = sdk.prompt_runs.get_failed_segments(run.run_id)
    assert (manifest.failed_segments, manifest.operation_counts.processing) == (1, 1)
    [whole] = manifest.videos[0].segments
    assert (whole.failure_stage, whole.failure_code, whole.retryable) == (
        "video_level",
        "video_level_failed",
        True,
    )
    assert "cannot see it" in whole.failure_message
    assert export_of(sdk, run.run_id)["media"][0]["video_result"]["error_code"] == "video_level_failed"
    status = retried(sdk, studio, run.run_id, clip, whole.segment_id)
    assert (status.status, status.billing_actual_mt) == ("completed", pytest.approx(250)), (
        "one call, no segment again"
    )
    run = sdk.prompt_runs.retrieve(run.run_id)
    assert (run.status, run.video_level_completed_items, run.video_level_failed_items) == ("completed", 1, 0)
    assert sdk.prompt_runs.get_failed_segments(run.run_id).videos == []
    assert sdk.prompt_runs.get_video_result(run.run_id, clip).metadata == {"summary": "a boat"}


def test_the_shortcut_runs_by_the_usual_processor(sdk: Twin, studio: Studio) -> None:
    begun = sdk.workflow.process(
        prompt_id=prompt(sdk),
        video_ids=[studio.video_ids["clip.mp4"]],
        segmentation_mode="fixed",
        fixed_segment_duration_seconds=2,
    )
    run = sdk.workflow.wait_until_searchable(begun.run.run_id, **SOON)
    assert (run.status, run.total_segments, run.completed_segments) == ("completed", 3, 3)


def test_a_run_is_cancelled(sdk: Twin, studio: Studio) -> None:
    run = sdk.prompt_runs.execute(prompt_id=prompt(sdk), target=INDEX, **CUT)
    sdk.prompt_runs.cancel(run.run_id)
    run = sdk.prompt_runs.wait_for_completion(run.run_id, **SOON)
    assert run.status == "cancelled"
    assert all(call.status != "started" for call in sdk.prompt_runs.get_llm_calls(run.run_id))


@pytest.mark.parametrize("method", ["execute", "estimate"])
def test_a_model_that_nobody_answers_to_is_refused_with_the_choices(sdk: Twin, method: str) -> None:
    with pytest.raises(videovector.ValidationError) as caught:
        getattr(sdk.prompt_runs, method)(
            prompt_id=prompt(sdk), target=INDEX, processing_model="claude-5", **CUT
        )
    assert (caught.value.status_code, caught.value.error_code) == (422, "model_not_configured")
    assert all(
        name in (caught.value.details or {})["hint"] for name in ("script", "vision", "gpt-*", "gemini-*")
    )
