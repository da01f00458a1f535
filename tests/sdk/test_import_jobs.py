"""Import jobs: what is in the bucket comes in, each file once, and the rest is told."""

from __future__ import annotations

from typing import Any

import pytest
import videovector

from tests.sdk.twins import Twin
from tests.sdk.world import World

SOON = {"poll_interval": 0.05, "timeout": 30}


def test_what_is_in_the_bucket_comes_in(sdk: Twin, world: World) -> None:
    index_id = world.index()
    job = sdk.import_jobs.create(
        connector_id=world.connector_id,
        index_id=index_id,
        source_prefix="shoot/",
        file_pattern="*.{mp4,wav,txt}",
    )
    assert job.status in {"pending", "scanning", "importing", "completed"}
    ended = sdk.import_jobs.wait_for_completion(job.job_id, **SOON)
    assert (ended.status, ended.source_kind) == ("completed", "connector")
    assert (ended.connector_id, ended.target_index_id) == (world.connector_id, index_id)
    assert (ended.source_prefix, ended.file_pattern, ended.recursive) == ("shoot/", "*.{mp4,wav,txt}", True)
    assert ended.execution.status == "not_requested"
    progress = ended.progress
    assert (progress.total_files, progress.imported, progress.failed, progress.skipped) == (4, 2, 1, 1)
    assert progress.bytes_transferred == sum(
        len(world.media[name]) for name in ("clip.mp4", "deep/sound.wav")
    )
    assert [failed["path"] for failed in ended.failed_files] == ["shoot/broken.mp4"]
    assert ended.failed_files[0]["error"]
    videos = sdk.videos.batch_retrieve(ended.video_ids)
    assert {video.title for video in videos} == {"clip.mp4", "sound.wav"}
    assert sdk.import_jobs.retrieve(job.job_id) == ended


def test_files_and_outputs_are_told_in_pages(sdk: Twin, world: World) -> None:
    first = sdk.import_jobs.files(world.job_id, limit=2)
    assert (len(first.items), first.total) == (2, 5)
    rest = sdk.import_jobs.files(world.job_id, limit=100, cursor=first.next_cursor)
    assert (len(rest.items), rest.next_cursor) == (3, None)
    files = sdk.import_jobs.iter_files(world.job_id)
    assert files == [*first.items, *rest.items]
    assert sorted(file.source_ordinal for file in files) == [*range(5)]
    [failed] = sdk.import_jobs.iter_files(world.job_id, failed_only=True)
    assert (failed.file_name, failed.status) == ("broken.mp4", "failed")
    assert failed.failure["error_code"]
    skipped = [file for file in files if file.skip_reason]
    assert [file.file_name for file in skipped] == ["notes.txt"]
    page = sdk.import_jobs.outputs(world.job_id, limit=2)
    assert (len(page.items), page.total) == (2, 3)
    outputs = sdk.import_jobs.iter_outputs(world.job_id)
    assert {output.video_id for output in outputs} == set(world.video_ids.values())
    clip = next(output for output in outputs if output.file_name == "clip.mp4")
    assert (clip.part_index, clip.part_count, clip.source_start_seconds) == (0, 1, 0.0)
    assert clip.source_end_seconds == pytest.approx(4, abs=0.2)


def test_only_attachments_can_be_fetched_again(sdk: Twin, world: World) -> None:
    for files in (None, [{"download_url": "https://example.com/a.mp4", "file_id": "a"}]):
        with pytest.raises(videovector.ValidationError) as caught:
            sdk.import_jobs.retry(world.job_id, files=files)
        assert caught.value.status_code == 400
        assert "requires an attachment job" in caught.value.message


def test_an_attachment_that_could_not_be_had_is_fetched_again(sdk: Twin, world: World) -> None:
    good, index_id = world.link("shoot/picture.png"), world.index()
    files = [
        {"file_id": "there", "download_url": good, "file_name": "there.png"},
        {"file_id": "gone", "download_url": world.link("shoot/gone.png"), "file_name": "gone.png"},
    ]
    made = world.ask("POST", "/workflow/attachments", {"files": files, "index_id": index_id}, status=202)
    first = sdk.import_jobs.wait_for_completion(made["job_id"], **SOON)
    assert (first.source_kind, first.progress.imported, first.progress.failed) == ("attachments", 1, 1)
    [failed] = sdk.import_jobs.iter_files(first.job_id, failed_only=True)
    assert failed.failure["error_code"] == "attachment_download_failed"
    assert failed.failure["refresh_required"]
    again = sdk.import_jobs.retry(first.job_id, files=[{"file_id": "gone", "download_url": good}])
    ended = sdk.import_jobs.wait_for_completion(again.job_id, **SOON)
    assert (ended.job_id, ended.progress.imported, ended.progress.failed) == (first.job_id, 2, 0)
    assert {video.title for video in sdk.indexes.list_videos(index_id).data} == {"there", "gone"}


def test_jobs_are_listed_by_status(sdk: Twin, world: World) -> None:
    job_id = world.imported(world.index(), world.prefix())["job_id"]
    assert sdk.import_jobs.list()[0].job_id == job_id
    for status in ("completed", "COMPLETED"):
        jobs = sdk.import_jobs.list(status=status)
        assert {job.status for job in jobs} == {"completed"}
        assert jobs[0].job_id == job_id
    assert job_id not in {job.job_id for job in sdk.import_jobs.list(status="cancelled")}


def test_a_cancelled_job_imports_nothing_more(sdk: Twin, world: World) -> None:
    prefix, index_id = world.prefix(), world.index()
    for number in range(30):
        world.put(f"{prefix}{number}.mp4", world.media["clip.mp4"])
    job = sdk.import_jobs.create(connector_id=world.connector_id, index_id=index_id, source_prefix=prefix)
    cancelled = sdk.import_jobs.cancel(job.job_id, idempotency_key=job.job_id)
    assert cancelled.status == "cancelled"
    assert sdk.import_jobs.cancel(job.job_id, idempotency_key=job.job_id) == cancelled
    ended = sdk.import_jobs.wait_for_completion(job.job_id, **SOON)
    assert ended.status == "cancelled"
    imported = len(sdk.indexes.list_videos(index_id, limit=100).data)
    assert imported == ended.progress.imported < 30
    with pytest.raises(videovector.ConflictError):
        sdk.import_jobs.cancel(job.job_id, idempotency_key=world.name("another"))


def test_the_same_key_starts_one_job(sdk: Twin, world: World) -> None:
    prefix, key = world.prefix(), world.name("key")
    request: dict[str, Any] = {
        "connector_id": world.connector_id,
        "index_id": world.index(),
        "source_prefix": prefix,
    }
    first, again = [sdk.import_jobs.create(**request, idempotency_key=key) for _ in range(2)]
    assert first == again
    ended = sdk.import_jobs.wait_for_completion(first.job_id, **SOON)
    assert (ended.status, ended.progress.total_files, ended.video_ids) == ("completed", 0, [])
    assert [job.source_prefix for job in sdk.import_jobs.list()].count(prefix) == 1


def test_what_a_job_needs_must_be_there(sdk: Twin, world: World) -> None:
    for request, code in (
        ({"connector_id": "conn_none", "index_id": world.index_id}, "resource_connector_not_found"),
        ({"connector_id": world.connector_id, "index_id": "idx_none"}, "resource_index_not_found"),
    ):
        with pytest.raises(videovector.NotFoundError) as caught:
            sdk.import_jobs.create(**request)
        assert caught.value.error_code == code
    with pytest.raises(videovector.NotFoundError) as caught:
        sdk.import_jobs.retrieve("job_none")
    assert caught.value.error_code == "resource_import_job_not_found"


def test_a_job_that_fails_is_raised(sdk: Twin, world: World) -> None:
    prefix = world.prefix()
    world.put(f"{prefix}broken.mp4", world.media["broken.mp4"])
    job = sdk.import_jobs.create(
        connector_id=world.connector_id, index_id=world.index(), source_prefix=prefix
    )
    with pytest.raises(videovector.ProcessingError) as caught:
        sdk.import_jobs.wait_for_completion(job.job_id, **SOON)
    assert caught.value.details == {"job_id": job.job_id}
    [failed] = sdk.import_jobs.files(job.job_id, failed_only=True).items
    assert failed.file_name == "broken.mp4"


def test_a_bucket_that_is_away_is_waited_for_until_the_job_is_cancelled(sdk: Twin, world: World) -> None:
    lost = world.connector(bucket="there-is-none")
    job = sdk.import_jobs.create(connector_id=lost, index_id=world.index())
    with pytest.raises(videovector.TimeoutError):
        sdk.import_jobs.wait_for_completion(job.job_id, poll_interval=0.05, timeout=0.5)
    assert "there-is-none" in sdk.import_jobs.retrieve(job.job_id).error_message
    sdk.import_jobs.cancel(job.job_id)
    assert sdk.import_jobs.wait_for_completion(job.job_id, **SOON).status == "cancelled"
