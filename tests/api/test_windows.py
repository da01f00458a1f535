from __future__ import annotations

import pytest

from tests.api.asking import Api
from tests.api.story import INDEX, Story
from tests.fakes import FakeStorage
from vvwatch.store import automations, windows
from vvwatch.store.database import Database

pytestmark = pytest.mark.anyio


async def test_windows_come_newest_first(
    api: Api, story: Story, database: Database, storage: FakeStorage
) -> None:
    row = await database.read(automations.get_import, INDEX)
    found = [storage.put("d.mp4", b"d")]
    await database.write(windows.accept, row.id, row.generation, found)
    open_one, closed = await api.get("/windows")
    assert (open_one["state"], open_one["max_objects"]) == ("open", 10_000)
    assert closed == {
        "window_id": closed["window_id"],
        "automation_id": story.automation_id,
        "index_id": INDEX,
        "import_job_id": story.job_id,
        "state": "closed",
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
