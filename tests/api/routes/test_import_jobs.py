from __future__ import annotations

import pytest

from tests.api.asking import Api
from tests.api.story import CONNECTOR, FAILED, INDEX, Story, prepared, window
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import jobs_of
from vvwatch.ports import Kind
from vvwatch.store.db.database import Database
from vvwatch.store.imports import imports

pytestmark = pytest.mark.anyio


async def test_a_job_tells_what_became_of_each_file(api: Api, story: Story) -> None:
    job = await api.get(f"/import-jobs/{story.job_id}")
    files = (await api.get(f"/import-jobs/{story.job_id}/files"))["items"]
    output = {
        "file_id": files[0]["file_id"],
        "file_name": "a.mp4",
        "source_ordinal": 0,
        "part_index": 0,
        "part_count": 1,
        "source_start_seconds": 0.0,
        "source_end_seconds": 4.0,
        "video_id": story.video_id,
        "title": "a.mp4",
        "status": "processed",
    }
    assert job == {
        "job_id": story.job_id,
        "status": "completed",
        "phase": None,
        "source_kind": "connector",
        "connector_id": CONNECTOR,
        "target_index_id": INDEX,
        "automation_id": story.automation_id,
        "window_id": job["window_id"],
        "source_prefix": "",
        "file_pattern": "*",
        "recursive": True,
        "exclude": [],
        "min_size_bytes": None,
        "max_size_bytes": None,
        "progress": {
            "total_files": 3,
            "imported": 1,
            "failed": 1,
            "skipped": 1,
            "bytes_transferred": 4,
            "current_file": None,
            "parts_total": 2,
            "parts_completed": 1,
            "parts_failed": 1,
        },
        "outputs": {"items": [output], "next_cursor": None, "total": 1},
        "execution": {"status": "submitted", "run_id": story.run_id, "error_code": None, "error": None},
        "video_ids": [story.video_id],
        "failed_files": [
            {
                "file_id": files[1]["file_id"],
                "path": "b.mp4",
                "error": "moov atom not found",
                "error_code": "media_unreadable",
            }
        ],
        "failed_files_next_cursor": None,
        "skipped_files": [
            {
                "file_id": files[2]["file_id"],
                "path": "c.txt",
                "reason": "unsupported_media_type",
                "message": "txt",
            }
        ],
        "error_message": None,
        "created_at": "2026-09-21T14:18:20.000Z",
        "started_at": "2026-09-21T14:18:20.000Z",
        "completed_at": "2026-09-21T14:18:20.000Z",
        "updated_at": "2026-09-21T14:18:20.000Z",
    }
    assert await api.get("/import-jobs") == [job]


async def test_each_file_of_the_manifest_has_its_outcome(api: Api, story: Story) -> None:
    page = await api.get(f"/import-jobs/{story.job_id}/files")
    assert (page["total"], page["next_cursor"]) == (3, None)
    imported, failed, skipped = page["items"]
    assert imported == {
        "file_id": imported["file_id"],
        "file_name": "a.mp4",
        "path": "a.mp4",
        "version": imported["version"],
        "size_bytes": 4,
        "source_ordinal": 0,
        "status": "imported",
        "attempts": 1,
        "part_count": 1,
        "parts_completed": 1,
        "parts_failed": 0,
        "failure": None,
        "skip_reason": None,
        "message": None,
        "video_id": story.video_id,
        "retries": 0,
        "next_retry_at": None,
    }
    assert failed["failure"] == {
        "error_code": "media_unreadable",
        "message": "moov atom not found",
        "refresh_required": False,
    }
    assert (skipped["skip_reason"], skipped["failure"], skipped["part_count"]) == (
        "unsupported_media_type",
        None,
        None,
    )


async def test_only_failed_files(api: Api, story: Story) -> None:
    page = await api.get(f"/import-jobs/{story.job_id}/files", failed_only="true")
    assert [file["path"] for file in page["items"]] == ["b.mp4"]
    assert page["total"] == 1


async def test_outputs_are_paged_by_cursor(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    automation = await database.write(prepared)
    found = [storage.put(f"{number:02}.mp4", b"x") for number in range(7)]
    await window(database, clock, automation, found)
    [job] = await api.get("/import-jobs")
    path = f"/import-jobs/{job['job_id']}/files"
    names, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = await api.get(path, limit=3, **({"cursor": cursor} if cursor else {}))
        names += [file["path"] for file in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
        assert page["total"] == 7
    assert names == [f"{number:02}.mp4" for number in range(7)]
    assert pages == 3
    assert (await api.get(f"/import-jobs/{job['job_id']}/outputs"))["items"] == []


async def test_lists_of_jobs_are_brief(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    automation = await database.write(prepared)
    found = [storage.put(f"{number:02}.mp4", b"x") for number in range(12)]
    await window(database, clock, automation, found)
    for job in jobs_of(database).take(Kind.IMPORT_FILE):
        await database.write(imports.finish_file, job, FAILED)
    [brief] = await api.get("/import-jobs")
    assert len(brief["failed_files"]) == 10
    path, cursor = f"/import-jobs/{brief['job_id']}/files", brief["failed_files_next_cursor"]
    rest = await api.get(path, failed_only="true", cursor=cursor)
    assert [file["path"] for file in rest["items"]] == ["10.mp4", "11.mp4"]
    whole = await api.get(f"/import-jobs/{brief['job_id']}")
    assert (len(whole["failed_files"]), whole["failed_files_next_cursor"]) == (12, None)


async def test_jobs_are_filtered(api: Api, story: Story) -> None:
    assert len(await api.get("/import-jobs", status="COMPLETED", index_id=INDEX, automation_only="true")) == 1
    assert await api.get("/import-jobs", status="failed") == []
    assert await api.get("/import-jobs", index_id="idx_other") == []
    error = await api.error("GET", "/import-jobs?status=done", 422)
    assert "completed" in error["details"]["hint"]


@pytest.mark.parametrize("limit", ["0", "201", "x", "-1", "1.5"])
async def test_limits_are_kept(api: Api, limit: str) -> None:
    error = await api.error("GET", f"/import-jobs?limit={limit}", 422)
    assert error["details"]["errors"][0]["where"] == "query.limit"


async def test_a_job_of_a_connector_is_not_retried_as_a_whole(api: Api, story: Story) -> None:
    error = await api.error("POST", f"/import-jobs/{story.job_id}/retry", 400)
    assert "requires an attachment job" in error["message"]


@pytest.mark.parametrize("tail", ["", "/files", "/outputs"])
async def test_an_unknown_job_is_not_found(api: Api, tail: str) -> None:
    error = await api.error("GET", f"/import-jobs/job_none{tail}", 404)
    assert error["code"] == "resource_import_job_not_found"


async def test_a_failed_file_becomes_eligible_again(api: Api, story: Story, storage: FakeStorage) -> None:
    [failed] = (await api.get(f"/import-jobs/{story.job_id}"))["failed_files"]
    path = f"/import-jobs/{story.job_id}/files/{failed['file_id']}/retry"
    answer = await api.post(path, status=202)
    assert answer["path"] == "b.mp4"
    assert answer["status"] == "eligible"
    assert "the scan that starts now" in answer["message"]
    assert await api.post(path, status=202) == answer


async def test_an_imported_file_is_not_retried(api: Api, story: Story) -> None:
    [output] = (await api.get(f"/import-jobs/{story.job_id}/outputs"))["items"]
    path = f"/import-jobs/{story.job_id}/files/{output['file_id']}/retry"
    assert (await api.error("POST", path, 409))["code"] == "conflict"


@pytest.mark.parametrize("file_id", ["0", "x", "9" * 30, "²"])
async def test_an_unknown_file_is_not_found(api: Api, story: Story, file_id: str) -> None:
    path = f"/import-jobs/{story.job_id}/files/{file_id}/retry"
    assert (await api.error("POST", path, 404))["code"] == "resource_import_file_not_found"
