from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.api.asking import Api
from tests.api.conftest import documents_in
from tests.api.story import CONNECTOR, INDEX, Story
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import jobs_of
from vvwatch.core.exports import ExportStatus, QueueStatus
from vvwatch.ports import Kind
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.delivery.exports import load_work
from vvwatch.store.schema import exports

pytestmark = pytest.mark.anyio

MOMENT = "2026-09-21T14:18:20.000Z"


async def direct(database: Database, export_id: str = "exp_direct", **changes: Any) -> str:
    """A completed export for download."""
    values = {
        "export_type": "prompt_run",
        "target_id": "run_1",
        "index_id": INDEX,
        "run_id": "run_1",
        "status": ExportStatus.COMPLETED,
        "queue_status": QueueStatus.SUCCEEDED,
        "file_size_bytes": 13,
        "created_at": 1.0,
        **changes,
    }
    await database.write(lambda tx: tx.insert(exports, id=export_id, **values))
    return export_id


async def test_an_export_has_exactly_its_keys(api: Api, story: Story) -> None:
    export = await api.get(f"/exports/{story.export_id}")
    assert export == {
        "export_id": story.export_id,
        "user_id": "user_local",
        "export_type": "index",
        "target_id": INDEX,
        "index_id": INDEX,
        "run_id": story.run_id,
        "automation_id": export["automation_id"],
        "status": "completed",
        "queue_status": "succeeded",
        "attempts": 1,
        "max_attempts": 150,
        "created_at": MOMENT,
        "available_at": MOMENT,
        "started_at": MOMENT,
        "completed_at": MOMENT,
        "updated_at": MOMENT,
        "destination_type": "connector",
        "destination_connector_id": CONNECTOR,
        "destination_base_path": None,
        "destination_subpath": "results",
        "destination_uri": "file:///out/results/x.json",
        "gcs_uri": "file:///out/results/x.json",
        "download_url": None,
        "file_size_bytes": 812,
        "sha256": "00ff",
        "parts": None,
        "options": None,
        "files": None,
        "result_scope": "all",
        "error_message": None,
        "last_error": None,
        "export_params": {
            "prompt_run_ids": [story.run_id],
            "destination_connector_id": CONNECTOR,
            "destination_base_path": None,
            "destination_subpath": "results",
        },
    }
    assert await api.get("/exports") == [export]


async def test_a_direct_export_names_its_download(api: Api, database: Database) -> None:
    export = await api.get(f"/exports/{await direct(database, 'exp_a b')}")
    assert export["download_url"] == "/api/v2/exports/exp_a%20b/download"
    assert (export["destination_uri"], export["destination_connector_id"]) == (None, None)
    assert export["gcs_uri"] == "vvwatch://exports/exp_a b.json"
    assert export["export_params"]["prompt_run_ids"] is None


async def test_an_unfinished_direct_export_has_no_download(api: Api, database: Database) -> None:
    export_id = await direct(database, status=ExportStatus.PENDING, queue_status=QueueStatus.QUEUED)
    export = await api.get(f"/exports/{export_id}")
    assert (export["download_url"], export["gcs_uri"]) == (None, None)
    error = await api.error("GET", f"/exports/{export_id}/download", 409)
    assert "pending" in error["details"]["hint"]


@pytest.mark.parametrize("of_one_run", [True, False])
async def test_every_node_has_the_document(
    api: Api,
    story: Story,
    database: Database,
    clock: FakeClock,
    storage: FakeStorage,
    tmp_path: Path,
    of_one_run: bool,
) -> None:
    run_id = story.run_id if of_one_run else None
    export_id = await direct(database, run_id=run_id, created_at=clock.now())
    maker = documents_in(tmp_path / "another", database, clock, storage)
    [written] = await maker._build(await database.read(load_work, export_id))
    told = {"sha256": written.sha256, "file_size_bytes": written.size_bytes}
    await database.write(lambda tx: tx.update(exports, export_id, **told))
    clock.advance(10)
    response = await api.client.get(f"/api/v2/exports/{export_id}/download")
    assert response.content == (tmp_path / "another" / f"{export_id}.json").read_bytes()
    assert [media["video"]["title"] for media in response.json()["media"]] == ["a.mp4"]


async def test_what_is_delivered_or_gone_is_not_downloaded(
    api: Api, story: Story, database: Database
) -> None:
    delivered = await api.error("GET", f"/exports/{story.export_id}/download", 409)
    assert CONNECTOR in delivered["details"]["hint"]
    gone = await api.error("GET", f"/exports/{await direct(database)}/download", 409)
    assert "is gone" in gone["message"]


async def test_a_failed_export_is_tried_again(api: Api, story: Story, database: Database) -> None:
    def fail(tx: Tx) -> None:
        tx.update(
            exports,
            story.export_id,
            status=ExportStatus.FAILED,
            queue_status=QueueStatus.DEAD_LETTER,
            attempts=5,
            error_message="the folder is gone",
        )

    assert (await api.error("POST", f"/exports/{story.export_id}/retry", 409))["code"] == "conflict"
    await database.write(fail)
    retried = await api.post(f"/exports/{story.export_id}/retry", status=202)
    assert (retried["status"], retried["queue_status"], retried["attempts"]) == ("pending", "queued", 0)
    assert (retried["error_message"], retried["completed_at"]) == (None, None)
    [job] = jobs_of(database).take(Kind.EXPORT)
    assert (job.ref, job.run_at) == (story.export_id, database.clock.now())


async def test_an_unknown_export_is_not_found(api: Api) -> None:
    for method, tail in (("GET", ""), ("GET", "/download"), ("POST", "/download-url"), ("POST", "/retry")):
        error = await api.error(method, f"/exports/exp_none{tail}", 404)
        assert error["code"] == "resource_export_not_found"
