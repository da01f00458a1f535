"""The shortcuts: upload, process and search, without an index made beforehand."""

from __future__ import annotations

import io
from typing import Any

import pytest
import videovector

from tests.sdk.twins import Twin
from tests.sdk.world import World

SOON = {"poll_interval": 0.05, "timeout": 30}
CUT = {"field": "opened_by", "operator": "equals", "value": "cut", "type": "string"}


def named(data: bytes, name: str) -> io.BytesIO:
    file = io.BytesIO(data)
    file.name = name
    return file


def test_a_file_goes_the_whole_way(sdk: Twin, world: World) -> None:
    index_name = world.name("by name")
    file = named(world.media["clip.mp4"], "clip.mp4")
    job = sdk.workflow.upload(file, title="The boat", index_name=index_name)
    assert job.source_kind == "upload"
    begun = sdk.workflow.process(prompt_id="prompt_technical", import_job_id=job.job_id)
    assert (begun.prompt.prompt_id, begun.prompt_created_inline) == ("prompt_technical", False)
    assert begun.status_url == f"/api/v2/prompt-runs/{begun.run.run_id}"
    run = sdk.workflow.wait_until_searchable(begun.run.run_id, **SOON)
    assert (run.status, run.total_videos, run.completed_videos) == ("completed", 1, 1)
    [index] = [each for each in sdk.indexes.list() if each.name == index_name]
    page = sdk.workflow.search(filters=[CUT], index_name=index_name)
    assert (page.response.mode, page.response.result_level) == ("condition", "segment")
    [found] = page.data
    assert (found.video_name, found.source_index_id) == ("The boat", index.index_id)
    assert found.extracted_metadata["opened_by"] == "cut"
    assert not page.has_more
    again = named(world.media["picture.png"], "picture.png")
    second = sdk.workflow.upload(again, index_name=index_name)
    assert second.target_index_id == index.index_id


def test_a_repeated_upload_is_the_same_job(sdk: Twin, world: World) -> None:
    key, index_id = world.name("key"), world.index()
    first, again = [
        sdk.workflow.upload(
            named(world.media["picture.png"], "picture.png"), index_id=index_id, idempotency_key=key
        )
        for _ in range(2)
    ]
    assert first == again
    sdk.import_jobs.wait_for_completion(first.job_id, **SOON)
    [video] = sdk.indexes.list_videos(index_id).data
    assert video.title == "picture"


def test_media_are_processed_as_they_are_named(sdk: Twin, world: World) -> None:
    begun = sdk.workflow.process(
        prompt_id="prompt_technical",
        video_ids=world.video_ids["clip.mp4"],
        segmentation_mode="fixed",
        fixed_segment_duration_seconds=3,
        advanced_transcription=False,
        create_image_embeddings=False,
    )
    assert (begun.run.video_segmentation_type, begun.run.video_segment_duration) == ("fixed", 3)
    assert (begun.run.enable_transcription, begun.run.enable_image_embedding) == (False, False)
    run = sdk.workflow.wait_until_searchable(begun.run.run_id, **SOON)
    assert run.total_videos == 1
    picture, key = [world.video_ids["picture.png"]], world.name("key")
    first, again = [
        sdk.workflow.process(prompt_id="prompt_technical", video_ids=picture, idempotency_key=key)
        for _ in range(2)
    ]
    assert first == again


def test_results_are_found_a_page_at_a_time(sdk: Twin, world: World) -> None:
    request: dict[str, Any] = {
        "filters": [{"field": "shot_changes", "operator": "less_equal", "value": 5, "type": "integer"}],
        "index_id": world.index_id,
        "prompt_run_ids": [world.run_id],
    }
    page = sdk.workflow.search(**request, limit=3)
    assert (len(page.data), page.has_more) == (3, True)
    assert page.response.pagination.limit == 3
    rest = page.next_page()
    assert (len(rest.data), rest.has_more, rest.next_page()) == (1, False, None)
    assert sdk.workflow.search(cursor=page.next_cursor).data == rest.data
    every = page.auto_paging_iter()
    assert len({found.result_id for found in every}) == 4
    assert {found.run_id or found.prompt_run_id for found in every} == {world.run_id}
    whole = sdk.workflow.search(
        filters=[{"field": "probe.width", "operator": "equals", "value": 160, "type": "number"}],
        result_level="video",
        prompt_run_ids=world.run_id,
    )
    assert {found.video_name for found in whole.data} == {"clip.mp4", "picture.png"}


def test_nobody_waits_for_what_will_never_be(sdk: Twin, world: World) -> None:
    prefix, index_id = world.prefix(), world.index()
    world.put(f"{prefix}picture.png", world.media["picture.png"])
    world.imported(index_id, prefix)
    world.remove(f"{prefix}picture.png")
    run = world.processed(type="index", index_id=index_id)
    with pytest.raises(videovector.ProcessingError):
        sdk.workflow.wait_until_searchable(run["run_id"], **SOON)


def test_a_shortcut_needs_what_it_names(sdk: Twin, world: World) -> None:
    with pytest.raises(videovector.NotFoundError) as caught:
        sdk.workflow.process(prompt_id="prompt_technical", import_job_id="job_none")
    assert caught.value.error_code == "resource_import_job_not_found"
    with pytest.raises(videovector.NotFoundError):
        sdk.workflow.search(filters=[CUT], index_name=world.name("there is none"))
