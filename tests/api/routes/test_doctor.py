"""What the doctor finds, and what it mends."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api, client_of
from tests.api.story import CONNECTOR, Story
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from vvwatch.api.http.context import ApiContext
from vvwatch.errors import AccessDenied, StorageUnavailable
from vvwatch.ports import Finding, Message
from vvwatch.providers.local import limits
from vvwatch.store.db.database import Database
from vvwatch.store.schema import connectors, import_automations, quarantine, reconciles, webhooks

pytestmark = pytest.mark.anyio

PUT_ONLY = Finding(
    "notification",
    "problem",
    "ObjectCreated:Put alone: uploads in parts are missed",
    "s3:ObjectCreated:*",
    True,
)
WHOLE = Finding("notification", "ok", "s3:ObjectCreated:*")
NO_RIGHT = Finding("rights", "problem", "sqs:DeleteMessage is missing", "grant sqs:DeleteMessage")


class FakeQueue:
    """A queue of which something is found; `repair` mends what is repairable."""

    def __init__(self, *found: Finding) -> None:
        self.found = list(found)
        self.closed = 0

    async def receive(self) -> Sequence[Message]:
        return ()

    async def acknowledge(self, messages: Sequence[Message]) -> None: ...

    async def release(self, messages: Sequence[Message]) -> None: ...

    async def examine(self) -> Sequence[Finding]:
        return self.found

    async def repair(self) -> Sequence[Finding]:
        self.found = [WHOLE if each.repairable else each for each in self.found]
        return self.found

    async def aclose(self) -> None:
        self.closed += 1


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue(WHOLE)


@pytest.fixture
async def doctor(context: ApiContext, queue: FakeQueue, tmp_path: Path) -> AsyncIterator[Api]:
    """An administrator's client of a daemon whose connectors that listen all have `queue`."""
    (tmp_path / "state").mkdir()
    settings = replace(context.settings, state_dir=tmp_path / "state")
    listening = replace(context, settings=settings, queues=lambda _: queue)
    async with client_of(listening) as client:
        yield await Api.prepared(client, listening)


async def change(database: Database, table: sa.Table, identifier: str, **values: Any) -> None:
    await database.write(lambda tx: tx.update(table, identifier, **values))


async def insert(database: Database, table: sa.Table, **values: Any) -> None:
    await database.write(lambda tx: tx.insert(table, **values))


async def listen(database: Database, connector_id: str) -> None:
    await change(database, connectors, connector_id, events={"queue": "q", "mode": "exclusive"})


async def found(api: Api, *about: str, **params: Any) -> dict[str, dict[str, Any]]:
    """What is found about that, the first of each subject; no problem goes without the line that mends it."""
    answer = await api.get("/doctor", **params)
    assert [each for each in answer["findings"] if each["state"] == "problem" and not each["fix"]] == []
    return {each["subject"]: each for each in reversed(answer["findings"]) if each["about"] in about}


async def test_all_that_is_well_is_told_too(doctor: Api, database: Database) -> None:
    await listen(database, await doctor.connector())
    answer = await doctor.get("/doctor")
    assert answer["state"] in {"ok", "warning"}, "the machine that runs the tests may be short of something"
    assert {each["about"] for each in answer["findings"]} == {"host", "database", "connector", "queue"}
    subjects = {each["subject"] for each in answer["findings"]}
    reached = {
        each["subject"]: each["detail"] for each in answer["findings"] if "addresses" in each["subject"]
    }
    assert reached == {
        "addresses of webhooks": "public addresses",
        "addresses of attachments": "public addresses",
    }
    assert {"room for the state", "open files", "writing", "schema", "size", "access", "clock"} <= subjects


async def test_a_denied_connector_is_a_problem_with_the_missing_permission(
    doctor: Api, storage: FakeStorage
) -> None:
    await doctor.connector()
    storage.broken = AccessDenied("listing bucket 'b': no right to", "grant s3:ListBucket on arn:aws:s3:::b")
    access = (await found(doctor, "connector"))["access"]
    assert (access["state"], access["fix"]) == ("problem", "grant s3:ListBucket on arn:aws:s3:::b")
    assert (await doctor.get("/doctor"))["state"] == "problem"


@pytest.mark.parametrize(("ahead", "where"), [(3600.0, "ahead of"), (-3600.0, "behind")])
async def test_skew_plus_minus_1h_is_told_with_the_line_that_mends_it(
    doctor: Api, storage: FakeStorage, ahead: float, where: str
) -> None:
    await doctor.connector()
    storage.clock_ahead_seconds = ahead
    clock = (await found(doctor, "connector"))["clock"]
    assert (clock["state"], clock["fix"]) == ("problem", "sudo timedatectl set-ntp true")
    assert f"3600 s {where} this machine's" in clock["detail"]


async def test_max_watches_20_is_too_few_for_40_folders(
    doctor: Api, story: Story, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(39):
        (tmp_path / "media" / f"{number}" / ".hidden").mkdir(parents=True)
    await change(database, connectors, CONNECTOR, settings={"root": str(tmp_path / "media")})
    monkeypatch.setattr(limits, "_read_setting", lambda _name: 20)
    watches = (await found(doctor, "host"))["inotify watches"]
    assert watches["state"] == "problem"
    assert watches["detail"].startswith("79 folders to watch, 20 granted")
    assert watches["fix"] == "sudo sysctl fs.inotify.max_user_watches=316"


async def test_a_put_only_subscription_is_found_and_mended(
    doctor: Api, database: Database, queue: FakeQueue
) -> None:
    queue.found = [PUT_ONLY, NO_RIGHT]
    connector_id = await doctor.connector()
    await listen(database, connector_id)
    assert (await found(doctor, "queue"))["notification"]["repairable"]
    done = await doctor.post("/doctor/repair")
    assert [(each["id"], each["subject"]) for each in done["repaired"]] == [(connector_id, "notification")]
    assert done["state"] == "problem", "what cannot be repaired from here still is one"
    states = {name: each["state"] for name, each in (await found(doctor, "queue")).items()}
    assert states == {"notification": "ok", "rights": "problem"}
    assert (await doctor.post("/doctor/repair"))["repaired"] == []
    assert queue.closed == 4


async def test_a_connector_is_examined_alone(doctor: Api, database: Database) -> None:
    first, second = await doctor.connector(), await doctor.connector()
    for each in (first, second):
        await listen(database, each)
    findings = (await doctor.get("/doctor", connector_id=second))["findings"]
    assert {each["id"] for each in findings} == {second}
    assert {each["about"] for each in findings} == {"connector", "queue"}
    await doctor.error("GET", "/doctor?connector_id=conn_none", 404)
    await doctor.error("POST", "/doctor/repair?connector_id=conn_none", 404)


async def test_a_disabled_connector_is_asked_nothing(
    doctor: Api, database: Database, storage: FakeStorage, queue: FakeQueue
) -> None:
    connector_id = await doctor.connector()
    await listen(database, connector_id)
    await change(database, connectors, connector_id, status="disabled")
    storage.broken, queue.found = StorageUnavailable("gone", "bring it back"), [PUT_ONLY]
    assert (await found(doctor, "connector", "queue"))["access"]["detail"].startswith("is disabled")
    assert (await doctor.post("/doctor/repair"))["findings"] == []


async def test_what_breaks_tells_no_secret(doctor: Api, storage: FakeStorage) -> None:
    await doctor.connector()
    storage.broken = RuntimeError("password=hunter2")
    text = str(await doctor.get("/doctor"))
    assert "the examination broke: RuntimeError" in text
    assert "hunter2" not in text


async def test_an_automation_in_trouble_says_what_to_do(
    doctor: Api, story: Story, database: Database
) -> None:
    learnt = {"stretched": True, "calls": 100, "full_at": None, "next_full_at": None}
    trouble = {"last_error": "the folder is gone", "last_error_hint": "mount it"}
    paced = {"cadence": learnt, "max_list_calls_per_hour": 60, "scan_seconds": 60.0}
    await change(database, import_automations, story.automation_id, **trouble, **paced)
    automation = await found(doctor, "automation")
    assert automation["listing"]["fix"] == "mount it"
    assert automation["cadence"]["fix"].startswith("max_list_calls_per_hour = 6000 ")
    assert automation["changes"]["detail"] == "are found by listing"


@pytest.mark.parametrize(("age", "state"), [(60, "ok"), (1_000, "warning"), (10_000, "problem")])
async def test_a_sweep_that_is_too_old_is_told(
    doctor: Api, story: Story, database: Database, clock: FakeClock, age: float, state: str
) -> None:
    swept_at = clock.now() - age
    moments = {"updated_at": swept_at - 9, "created_at": swept_at - 9}
    await change(database, import_automations, story.automation_id, scan_seconds=60.0, **moments)
    report = {"automation_id": story.automation_id, "started_at": swept_at - 5, "complete": True}
    await insert(database, reconciles, id="rec_1", finished_at=swept_at, **report)
    sweep = (await found(doctor, "automation"))["sweep"]
    assert (sweep["state"], bool(sweep["fix"])) == (state, state != "ok")


async def test_messages_that_told_nothing_of_use_are_counted(
    doctor: Api, story: Story, database: Database, clock: FakeClock
) -> None:
    for number, age in enumerate((10, 20, 100_000)):
        told = {"connector_id": CONNECTOR, "message_id": f"{number}", "detail": "bucket 'other'"}
        seen = {"first_seen_at": clock.now() - age, "last_seen_at": clock.now() - age}
        await insert(database, quarantine, **told, **seen, reason="foreign", excerpt="{}")
    messages = (await found(doctor, "queue"))["messages"]
    assert (messages["state"], messages["id"]) == ("warning", CONNECTOR)
    assert messages["detail"].startswith("2 in the last day are foreign: bucket 'other'")


async def test_a_webhook_that_was_given_up_is_a_problem(
    doctor: Api, story: Story, database: Database
) -> None:
    await change(database, webhooks, story.webhook_id, status="disabled", failure_count=20)
    delivery = (await found(doctor, "webhook"))["delivery"]
    assert (delivery["state"], delivery["id"]) == ("problem", story.webhook_id)
    assert "http" not in delivery["detail"], "its address may hold a secret"


async def test_a_full_disk_is_a_problem_with_a_line_that_shows_what_fills_it(
    doctor: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = os.statvfs(tmp_path)
    full = os.statvfs_result((*there[:4], 10, *there[5:]))
    monkeypatch.setattr("vvwatch.workflow.upkeep.host.os.statvfs", lambda _path: full)
    room = (await found(doctor, "host"))["room for the state"]
    assert (room["state"], room["fix"]) == ("problem", f"du -xhd1 {tmp_path}/state | sort -h")


async def test_few_open_files_are_a_problem_with_a_line_that_grants_more(
    doctor: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.workflow.upkeep.host.resource.getrlimit", lambda _which: (4, 4))
    files = (await found(doctor, "host"))["open files"]
    assert files["state"] == "problem"
    assert files["fix"].startswith(f"sudo prlimit --pid {os.getpid()} --nofile=16")


async def test_the_source_of_an_automation_and_its_queue_tell_their_state(
    context: ApiContext, story: Story, clock: FakeClock
) -> None:
    source = {
        "state": "degraded",
        "reason": "no watches left",
        "hint": "sudo sysctl …",
        "since": clock.now() - 90,
    }
    status: dict[str, Any] = {"sources": {story.automation_id: source}}

    async def told() -> dict[str, Any]:
        return status

    async with client_of(replace(context, status=told)) as client:
        api = await Api.prepared(client, context)
        changes = (await found(api, "automation"))["changes"]
        assert (changes["state"], changes["fix"]) == ("warning", "sudo sysctl …")
        assert "degraded for 90 s: no watches left" in changes["detail"]
        status = {"queues": {CONNECTOR: {**source, "state": "failed"}}}
        assert (await found(api, "automation"))["changes"]["state"] == "problem"
