"""What the API says of what is no longer kept."""

from __future__ import annotations

import pytest

from tests.api.asking import Api
from tests.api.story import CONNECTOR, INDEX, Story
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.admin.test_retention import SOON, nothing_to_prune
from vvwatch.store.db.database import Database
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.housekeeping import Pruner

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pruned(database: Database, clock: FakeClock, story: Story) -> Story:
    """The story, when all that can go is gone."""
    clock.advance(2 * 86_400)
    await Pruner(database, nothing_to_prune, clock, Telemetry("test")).run(SOON)
    return story


async def conclusion(api: Api, key: str) -> str:
    [place] = (await api.get("/explain", connector_id=CONNECTOR, key=key))["places"]
    return str(place["indexes"][0]["conclusion"])


async def test_an_imported_file_is_explained(api: Api, pruned: Story) -> None:
    said = await conclusion(api, "a.mp4")
    assert said == f"imported as {pruned.video_id} by {pruned.job_id}; it is processed"
    [place] = (await api.get("/explain", connector_id=CONNECTOR, key="a.mp4"))["places"]
    [version] = place["indexes"][0]["versions"]
    assert [run["run_id"] for run in version["runs"]] == [pruned.run_id]
    assert [export["export_id"] for export in version["exports"]] == [pruned.export_id]
    assert (version["file_status"], version["deliveries"]) == (None, [])


async def test_a_file_that_failed_is_explained_as_far_as_is_known(api: Api, pruned: Story) -> None:
    said = await conclusion(api, "b.mp4")
    assert said == f"import job {pruned.job_id} created no media item of it; the reason is no longer kept"


async def test_what_is_gone_is_still_explained(api: Api, pruned: Story, storage: FakeStorage) -> None:
    storage.remove("a.mp4")
    assert pruned.video_id in await conclusion(api, "a.mp4")


async def test_a_run_whose_results_are_gone_still_answers(api: Api, pruned: Story) -> None:
    run = await api.get(f"/prompt-runs/{pruned.run_id}")
    assert (run["status"], run["total_segments"], run["completed_videos"]) == ("completed", 1, 1)
    results = await api.get(f"/prompt-runs/{pruned.run_id}/results", video_id=pruned.video_id)
    assert results["data"] == []
    video = await api.get(f"/prompt-runs/{pruned.run_id}/videos/{pruned.video_id}/video-result")
    assert (video["status"], video["metadata"]) == ("completed", {})


async def test_everything_else_still_answers(api: Api, pruned: Story) -> None:
    assert await api.get("/import-jobs") == []
    assert [window["import_job_id"] for window in await api.get("/windows")] == [pruned.job_id]
    assert (await api.get(f"/videos/{pruned.video_id}"))["import_job_id"] == pruned.job_id
    assert (await api.get(f"/exports/{pruned.export_id}"))["status"] == "completed"
    automation = await api.get(f"/indexes/{INDEX}/automations/import")
    assert automation["last_import_job_id"] == pruned.job_id
    assert await api.get(f"/webhooks/{pruned.webhook_id}/deliveries") == []
