"""Media: uploaded, registered where they lie, looked at and deleted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx2
import pytest
import videovector
from videovector import BatchVideoSegmentsTarget

from tests.daemon_process import wait_until
from tests.sdk.twins import Twin
from tests.sdk.world import World

SOON = {"poll_interval": 0.05, "timeout": 30}


def only_media(sdk: Twin, job: Any) -> Any:
    """The one media item of a job, once that has ended."""
    ended = sdk.import_jobs.wait_for_completion(job.job_id, **SOON)
    assert (ended.status, ended.failed_files) == ("completed", [])
    [video_id] = ended.video_ids
    return sdk.videos.retrieve(video_id)


def test_a_file_is_uploaded_into_an_index(sdk: Twin, world: World, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(world.media["clip.mp4"])
    index_id = world.index()
    job = sdk.videos.upload(file=tmp_path / "clip.mp4", title="The boat", index_id=index_id)
    assert (job.source_kind, job.target_index_id) == ("upload", index_id)
    video = only_media(sdk, job)
    assert (video.title, video.media_type, video.status) == ("The boat", "video", "not_processed")
    assert [each.video_id for each in sdk.indexes.list_videos(index_id).data] == [video.video_id]
    run = world.processed(type="index", index_id=index_id)
    assert run["status"] == "completed"
    assert sdk.videos.retrieve(video.video_id).status == "processed"


def test_without_an_index_an_upload_is_in_the_playground(sdk: Twin, world: World) -> None:
    file = io.BytesIO(world.media["picture.png"])
    file.name = "picture.png"
    video = only_media(sdk, sdk.videos.upload(file=file, title=world.name("still")))
    assert video.media_type == "image"
    assert video.video_id in {each.video_id for each in sdk.videos.list_playground().auto_paging_iter()}
    assert any(index.is_default for index in sdk.indexes.list(include_defaults=True))
    run = sdk.prompt_runs.execute(prompt_id="prompt_technical", target={"type": "playground"})
    assert sdk.prompt_runs.wait_for_completion(run.run_id, **SOON).status == "completed"
    assert video.video_id in {
        each.video_id for each in sdk.search.filter_playground(conditions=[_IS_STILL]).results
    }


_IS_STILL = {"field": "opened_by", "operator": "equals", "value": "start", "type": "string"}


def test_the_same_key_uploads_once(sdk: Twin, world: World, tmp_path: Path) -> None:
    (tmp_path / "sound.wav").write_bytes(world.media["deep/sound.wav"])
    request = {"file": tmp_path / "sound.wav", "title": "Sea", "index_id": world.index()}
    key = world.name("key")
    first, again = [sdk.videos.upload(**request, idempotency_key=key) for _ in range(2)]
    assert first == again
    only_media(sdk, first)
    assert len(sdk.indexes.list_videos(request["index_id"]).data) == 1
    (tmp_path / "sound.wav").write_bytes(world.media["deep/sound.wav"] + b"more")
    with pytest.raises(videovector.ConflictError):
        sdk.videos.upload(**request, idempotency_key=key)


def test_an_object_is_registered_where_it_lies(sdk: Twin, world: World) -> None:
    index_id = world.index()
    for uri in ("s3://footage/shoot/clip.mp4", world.uri("shoot/clip.mp4")):
        job = sdk.videos.create(
            title="As it lies",
            video_uri=uri,
            index_id=index_id,
            source_connector_id=world.connector_id,
        )
        video = only_media(sdk, job)
        assert (video.title, video.video_uri) == ("As it lies", world.uri("shoot/clip.mp4"))
    with pytest.raises(videovector.ValidationError):
        sdk.videos.create(
            title="Elsewhere",
            video_uri="s3://another-bucket/clip.mp4",
            index_id=index_id,
            source_connector_id=world.connector_id,
        )


def test_several_are_looked_at_at_once(sdk: Twin, world: World) -> None:
    clip, sound = world.video_ids["clip.mp4"], world.video_ids["sound.wav"]
    wanted = [sound, "vid_none", clip]
    assert [video.title for video in sdk.videos.batch_retrieve(wanted)] == ["sound.wav", "clip.mp4"]
    statuses = sdk.videos.batch_status(wanted)
    assert [(each.video_id, each.status) for each in statuses] == [(sound, "processed"), (clip, "processed")]
    first = next(run for run in statuses[1].processing_status if run.run_id == world.run_id)
    assert (first.status, first.total_segments, first.successful_segments) == ("completed", 2, 2)
    assert {each.video_id for each in sdk.videos.batch_segments(wanted)} == {sound, clip}
    targets = [BatchVideoSegmentsTarget(video_id=clip, run_id=world.run_id)]
    [segments] = sdk.videos.batch_segments_for_targets(targets)
    assert (segments.video_id, segments.run_id, len(segments.segments)) == (clip, world.run_id, 2)
    assert {segment.from_run_id for segment in segments.segments} == {world.run_id}


def test_segments_are_listed_by_run(sdk: Twin, world: World) -> None:
    clip = world.video_ids["clip.mp4"]
    page = sdk.videos.list_segments(clip, run_id=world.run_id, limit=1)
    assert page.has_more
    first, second = page.auto_paging_iter()
    assert (first.start_time, first.end_time) == (0.0, second.start_time)
    assert (first.segment_status, first.processed, first.processing_failed) == ("completed", True, False)
    assert first.metadata["opened_by"] == "start"
    [latest] = {segment.from_run_id for segment in sdk.videos.list_segments(clip, latest_run=True).data}
    assert latest == sdk.videos.list_prompt_runs(clip, limit=1)[0].run_id


def test_the_bytes_of_media_are_lent(sdk: Twin, world: World) -> None:
    [video] = sdk.videos.batch_retrieve([world.video_ids["picture.png"]])
    lent = sdk.videos.get_signed_url(video.video_uri)
    assert lent.expires_at
    answer = httpx2.get(lent.signed_url)
    assert (answer.status_code, answer.content) == (200, world.media["picture.png"])
    assert sdk.videos.get_signed_url(video.video_uri, force_refresh=True).signed_url
    with pytest.raises(videovector.NotFoundError):
        sdk.videos.get_signed_url("s3://footage/shoot/notes.txt")


def test_an_item_is_processed_by_the_old_call(sdk: Twin, world: World) -> None:
    prefix, index_id = world.prefix(), world.index()
    world.put(f"{prefix}picture.png", world.media["picture.png"])
    [video_id] = world.imported(index_id, prefix)["video_ids"]
    assert sdk.videos.process(video_id, prompt_id="prompt_technical").message
    wait_until(lambda: sdk.videos.retrieve(video_id).status == "processed", "the processing")


def test_a_deletion_takes_the_item_and_leaves_the_object(sdk: Twin, world: World) -> None:
    prefix, index_id = world.prefix(), world.index()
    world.put(f"{prefix}picture.png", world.media["picture.png"])
    [video_id] = world.imported(index_id, prefix)["video_ids"]
    begun = sdk.videos.delete(video_id)
    assert (begun.video_id, begun.status in {"draining", "deleting", "deleted"}) == (video_id, True)
    wait_until(lambda: sdk.videos.get_deletion(video_id).status == "deleted", "the deletion")
    with pytest.raises(videovector.NotFoundError) as caught:
        sdk.videos.retrieve(video_id)
    assert caught.value.error_code == "resource_video_not_found"
    assert sdk.indexes.list_videos(index_id).data == []
    assert world.content(f"{prefix}picture.png") == world.media["picture.png"]


def test_what_is_no_media_is_said(sdk: Twin, world: World, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(world.media["broken.mp4"])
    job = sdk.videos.upload(file=tmp_path / "broken.mp4", title="Broken", index_id=world.index())
    with pytest.raises(videovector.ProcessingError):
        sdk.import_jobs.wait_for_completion(job.job_id, **SOON)
    ended = sdk.import_jobs.retrieve(job.job_id)
    assert (ended.status, ended.progress.failed, ended.video_ids) == ("failed", 1, [])
    assert ended.failed_files[0]["error"]
