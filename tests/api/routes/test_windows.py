from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.api.asking import Api, client_of
from tests.api.story import INDEX, Story
from tests.fakes import FakeStorage
from tests.store.pipeline import jobs_of
from vvwatch.api.http.context import ApiContext
from vvwatch.ports import Kind
from vvwatch.store.db.database import Database
from vvwatch.store.watching import automations, windows
from vvwatch.telemetry import Telemetry

pytestmark = pytest.mark.anyio


async def test_windows_come_newest_first(
    api: Api, story: Story, database: Database, storage: FakeStorage
) -> None:
    row = await database.read(automations.get_import, INDEX)
    found = [storage.put("d.mp4", b"d")]
    await database.write(windows.accept_objects, row.id, row.generation, found)
    open_one, closed = await api.get("/windows")
    assert (open_one["state"], open_one["max_objects"]) == ("open", 10_000)
    assert closed == {
        "window_id": closed["window_id"],
        "automation_id": story.automation_id,
        "index_id": INDEX,
        "import_job_id": story.job_id,
        "state": "closed",
        "held": False,
        "object_count": 2,
        "size_bytes": 6,
        "opened_at": "2026-09-21T14:13:20.000Z",
        "last_change_at": "2026-09-21T14:13:20.000Z",
        "due_at": "2026-09-21T14:18:20.000Z",
        "reason": "quiet",
        "closed_at": "2026-09-21T14:18:20.000Z",
    }
    assert await api.get("/windows", state="open") == [open_one]
    assert await api.get("/windows", state="closed", index_id=INDEX) == [closed]
    assert await api.get("/windows", index_id="idx_other") == []
    assert await api.get("/windows", limit=1) == [open_one]
    await api.error("GET", "/windows?state=ajar", 422)


PATH = f"/indexes/{INDEX}/automations/import"


async def gather(database: Database, storage: FakeStorage, *keys: str) -> None:
    """New objects join the open window."""
    row = await database.read(automations.get_import, INDEX)
    found = [storage.put(key, b"new") for key in keys]
    await database.write(windows.accept_objects, row.id, row.generation, found)


async def test_a_window_is_held_released_and_held_again(
    api: Api, story: Story, database: Database, storage: FakeStorage
) -> None:
    await gather(database, storage, "d.mp4")
    before = (await api.get(f"{PATH}/window"))["window"]
    for _ in range(2):
        assert await api.post(f"{PATH}/window/hold") == {**before, "held": True}
    assert (await api.get(PATH))["next_run_at"] is None
    assert [each["held"] for each in await api.get("/windows")] == [True, False]
    for _ in range(2):
        assert await api.post(f"{PATH}/window/release") == before
    assert (await api.get(PATH))["next_run_at"] == before["due_at"]


async def test_a_window_is_fired_and_answers_with_its_job(
    api: Api, story: Story, database: Database, storage: FakeStorage
) -> None:
    await gather(database, storage, "d.mp4", "e.mp4")
    await api.post(f"{PATH}/window/hold")
    jobs_of(database).take(Kind.IMPORT_FILE)
    fired = await api.post(f"{PATH}/window/fire")
    assert (fired["state"], fired["reason"], fired["held"]) == ("closed", "manual", False)
    job = await api.get(f"/import-jobs/{fired['import_job_id']}")
    assert (job["status"], job["progress"]["total_files"]) == ("importing", 2)
    assert len(jobs_of(database).take(Kind.IMPORT_FILE)) == 2
    assert await api.get(f"{PATH}/window") == {"window": None}


@pytest.mark.parametrize("steer", ["fire", "hold", "release"])
async def test_what_cannot_be_steered_says_why(api: Api, story: Story, steer: str) -> None:
    error = await api.error("POST", f"{PATH}/window/{steer}", 409)
    assert error["message"] == f"no window of automation {story.automation_id!r} is open"
    index = await api.index()
    error = await api.error("POST", f"/indexes/{index}/automations/import/window/{steer}", 404)
    assert error["message"] == f"index {index!r} has no import automation"
    error = await api.error("POST", f"/indexes/idx_none/automations/import/window/{steer}", 404)
    assert error["code"] == "resource_index_not_found"


async def test_a_paused_automation_fires_nothing_and_keeps_the_hold(
    api: Api, story: Story, database: Database, storage: FakeStorage
) -> None:
    await gather(database, storage, "d.mp4")
    await api.post(f"{PATH}/pause")
    assert (
        "is paused: its window stays open" in (await api.error("POST", f"{PATH}/window/fire", 409))["message"]
    )
    await api.post(f"{PATH}/window/hold")
    await api.post(f"{PATH}/resume")
    assert (await api.get(f"{PATH}/window"))["window"]["held"] is True


async def test_what_a_person_steers_is_told(
    api: Api, story: Story, database: Database, storage: FakeStorage, context: ApiContext
) -> None:
    telemetry, told = Telemetry("test"), list[tuple[str, Any]]()
    telemetry.subscribe(lambda event, said: told.append((event, said.get("reason"))))
    await gather(database, storage, "d.mp4")
    async with client_of(replace(context, telemetry=telemetry), headers=api.client.headers) as client:
        for steer in ("hold", "hold", "release", "release", "fire"):
            assert (await client.post(f"/api/v2{PATH}/window/{steer}")).status_code == 200
    assert [each for each in told if each[0] != "audit.recorded"] == [
        ("window.held", None),
        ("window.released", None),
        ("window.closed", "manual"),
        ("import.started", None),
    ]
    assert told.count(("audit.recorded", None)) == 3, "of what changed nothing, nothing is recorded"
