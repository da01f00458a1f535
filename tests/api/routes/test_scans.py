"""What sweeps came to, and how automations are watched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.api.asking import Api, client_of
from tests.api.story import CONNECTOR, INDEX, Story
from tests.clock import FakeClock
from vvwatch.api.http.context import ApiContext
from vvwatch.core.cadence import ScanSchedule
from vvwatch.core.filters import Reason, explain_reason
from vvwatch.core.store_notes import describe_oddity
from vvwatch.store.db.database import Database
from vvwatch.store.models.watching import ScanReport
from vvwatch.store.schema import connectors, import_automations, quarantine
from vvwatch.store.watching import automations
from vvwatch.store.watching.scans import record_report

pytestmark = pytest.mark.anyio

PATH = f"/indexes/{INDEX}/automations/import/reconciles"
REPORT = ScanReport(
    id="rec_1",
    started_at=1_790_000_000.0,
    finished_at=1_790_000_002.5,
    complete=True,
    proof=True,
    remark="",
    listed=1000,
    matched=900,
    known=895,
    created=4,
    changed=1,
    gone=2,
    recovered=3,
    list_calls=1,
    cost_usd=0.000005,
    duration_seconds=2.5,
    left_out={"incomplete_entry": 2, "key_too_long": 1},
    odd=("no_versions",),
)


async def swept(database: Database, *reports: ScanReport) -> None:
    for report in reports:
        automation = await database.read(automations.get_import, INDEX)
        await database.write(record_report, automation, report)


async def test_sweeps_come_newest_first(api: Api, story: Story, database: Database) -> None:
    assert await api.get(PATH) == []
    broken = replace(
        REPORT, id="rec_2", started_at=1_790_000_060.0, complete=False, proof=False, remark="denied"
    )
    await swept(database, REPORT, broken)
    second, first = await api.get(PATH)
    assert first == {
        "reconcile_id": "rec_1",
        "automation_id": story.automation_id,
        "started_at": "2026-09-21T14:13:20.000Z",
        "finished_at": "2026-09-21T14:13:22.500Z",
        "complete": True,
        "proof": True,
        "remark": "",
        "listed": 1000,
        "matched": 900,
        "known": 895,
        "created": 4,
        "changed": 1,
        "gone": 2,
        "recovered": 3,
        "list_calls": 1,
        "cost_usd": 0.000005,
        "duration_seconds": 2.5,
        "left_out": [
            {
                "reason": "incomplete_entry",
                "count": 2,
                "explanation": explain_reason(Reason.INCOMPLETE_ENTRY),
            },
            {"reason": "key_too_long", "count": 1, "explanation": explain_reason(Reason.KEY_TOO_LONG)},
        ],
        "store_notes": [describe_oddity("no_versions")],
    }
    assert (second["reconcile_id"], second["complete"], second["remark"]) == ("rec_2", False, "denied")
    assert [each["reconcile_id"] for each in await api.get(PATH, limit=1)] == ["rec_2"]
    assert await api.get("/reconciles") == [second], "the last one of each automation"


async def test_an_index_without_an_automation_has_no_sweeps(api: Api) -> None:
    index_id = await api.index()
    error = await api.error("GET", f"/indexes/{index_id}/automations/import/reconciles", 404)
    assert error["code"] == "resource_automation_not_found"


async def watching(api: Api, story: Story) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get("/status"))["watching"][story.automation_id]
    return found


async def test_status_tells_how_an_automation_is_watched(api: Api, story: Story, database: Database) -> None:
    found = await watching(api, story)
    assert (found["learnt_by"], found["source"], found["last_sweep"]) == ("listing", None, None)
    assert (found["scan_seconds"], found["sweep_seconds"], found["stretched"]) == (60, 60, False)
    await swept(database, REPORT)
    assert (await watching(api, story))["last_sweep"] == (await api.get(PATH))[0]


async def test_status_tells_what_is_stretched_and_why(
    api: Api, story: Story, database: Database, clock: FakeClock
) -> None:
    now = clock.now()
    hot = {"": "b/9", "a/": "a/9", "b/": "b/9"}
    learnt = ScanSchedule(now, now + 600, 100, 61.0, stretched=True, hot=hot)
    paced = {"cadence": learnt.document(), "max_list_calls_per_hour": 600}
    await database.write(lambda tx: tx.update(import_automations, story.automation_id, **paced))
    found = await watching(api, story)
    assert (found["stretched"], found["sweep_seconds"], found["max_list_calls_per_hour"]) == (True, 600, 600)
    assert (found["calls_per_hour"], found["hot_prefixes"]) == (61.0, 2)


async def test_status_tells_the_state_of_the_queue_that_is_heard(
    context: ApiContext, story: Story, database: Database, clock: FakeClock
) -> None:
    events = {"queue": "q", "mode": "shared", "sweep_seconds": 1800}
    await database.write(lambda tx: tx.update(connectors, CONNECTOR, events=events))
    seen = {"first_seen_at": clock.now(), "last_seen_at": clock.now(), "reason": "foreign", "excerpt": ""}
    row = {"connector_id": CONNECTOR, "message_id": "1", "detail": "", **seen}
    await database.write(lambda tx: tx.insert(quarantine, **row))
    health = {"state": "degraded", "reason": "no answer", "hint": "look at the network", "since": 1.0}

    async def status() -> dict[str, Any]:
        return {"queues": {CONNECTOR: health}}

    async with client_of(replace(context, status=status)) as client:
        found = await watching(await Api.prepared(client, context), story)
    told = health | {"since": "1970-01-01T00:00:01.000Z"}
    assert (found["learnt_by"], found["source"], found["sweep_seconds"]) == ("events", told, 1800)
    assert found["refused_messages"] == 1


async def test_status_tells_nothing_of_what_stands_still(api: Api, story: Story, database: Database) -> None:
    await api.post(f"/indexes/{INDEX}/automations/import/pause")
    assert (await api.get("/status"))["watching"] == {}
