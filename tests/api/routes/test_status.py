"""The status: typed, over everything, with what needs attention, and so many queries however much there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api, client_of
from tests.api.routes.test_scans import REPORT
from tests.api.story import INDEX, Story, deliver
from tests.clock import FakeClock
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.wire import to_iso
from vvwatch.core.absence import Doubt
from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.windows import WindowPolicy
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.delivery import events
from vvwatch.store.schema import exports as exports_table
from vvwatch.store.schema import (
    import_automations,
    import_files,
    import_jobs,
    prompt_runs,
    webhooks,
)
from vvwatch.store.watching import automations
from vvwatch.store.watching.scans import record_report

pytestmark = pytest.mark.anyio

DAY = 86_400.0


async def attention(api: Api, *kinds: str) -> list[dict[str, Any]]:
    found = (await api.get("/status"))["attention"]
    return [each for each in found if not kinds or each["kind"] in kinds]


def more_jobs(tx: Tx, /, count: int, **values: Any) -> None:
    """So many jobs more, made after what there is."""
    for _ in range(count):
        usual = {"index_id": INDEX, "status": "completed", "total_files": 1, "imported": 1}
        moments = {"created_at": tx.now, "updated_at": tx.now, "completed_at": tx.now}
        tx.insert(import_jobs, id=tx.new_id("job"), **usual | moments | values)


async def test_a_failure_stays_however_many_jobs_follow(
    api: Api, story: Story, database: Database, clock: FakeClock
) -> None:
    await database.write(more_jobs, 300)
    clock.advance(DAY - 300)
    [found] = await attention(api, "import_job")
    assert (found["attention_id"], found["count"]) == (story.job_id, 1)
    assert found["what"] == "b.mp4: moov atom not found"
    assert found["fix"] == f"vvwatch jobs show {story.job_id}"
    clock.advance(600)
    assert await attention(api, "import_job") == [], "a day is enough"


async def test_failures_are_counted_over_everything(
    api: Api, story: Story, database: Database, clock: FakeClock
) -> None:
    clock.advance(1)
    await database.write(more_jobs, 230, status="failed", imported=0, failed=3, error_message="none of 3")
    status = await api.get("/status")
    counts = status["attention_counts"]
    assert (counts["import_jobs"], counts["import_files"]) == (231, 691)
    alike, single = [each for each in status["attention"] if each["kind"] == "import_job"]
    assert (alike["alike"], alike["count"]) == (200, 600), "the newest in words, the others by their number"
    assert single["attention_id"] == story.job_id, "what fails often hides nothing else"


async def test_a_dismissed_failure_comes_again_only_when_it_fails_anew(
    api: Api, story: Story, database: Database
) -> None:
    done = await api.post(f"/attention/{story.job_id}/dismiss")
    assert done == {"dismissed": [story.job_id]}
    assert await attention(api, "import_job") == []
    again = await api.error("POST", f"/attention/{story.job_id}/dismiss", 409)
    assert "needs no attention" in again["message"]
    assert (await api.get("/status"))["attention_counts"]["import_jobs"] == 0


async def test_dismissing_one_dismisses_those_that_say_the_same(
    api: Api, story: Story, database: Database
) -> None:
    await database.write(more_jobs, 2, status="failed", failed=0, error_message="the bucket is gone")
    await database.write(more_jobs, 1, status="failed", failed=0, error_message="denied")
    [same] = [each for each in await attention(api) if each["what"] == "the bucket is gone"]
    assert len((await api.post(f"/attention/{same['attention_id']}/dismiss"))["dismissed"]) == 2
    assert sorted(each["what"] for each in await attention(api, "import_job")) == [
        "b.mp4: moov atom not found",
        "denied",
    ]


@pytest.mark.parametrize(("identifier", "status"), [("wh_hook", 422), ("job_none", 404), ("nothing", 422)])
async def test_only_what_failed_can_be_dismissed(
    api: Api, story: Story, identifier: str, status: int
) -> None:
    error = await api.error("POST", f"/attention/{identifier}/dismiss", status)
    assert error["message"]


async def test_a_file_that_is_tried_again_needs_nobody(api: Api, story: Story, database: Database) -> None:
    failed = sa.select(import_files.c.id).where(import_files.c.status == "failed")
    file_id = await database.read(lambda tx: tx.execute(failed).scalar_one())
    for _ in range(2):
        await api.post(f"/import-jobs/{story.job_id}/files/{file_id}/retry", status=202)
        assert await attention(api, "import_job") == []
    job = await database.read(lambda tx: tx.require(import_jobs, "job", story.job_id))
    assert job.retried == 1, "a second retry is of the same file"


async def test_runs_exports_and_deliveries_that_failed_need_somebody(
    api: Api, story: Story, database: Database, clock: FakeClock
) -> None:
    now = clock.now()
    failed = {"status": "failed", "error_message": "the folder is full", "completed_at": now}
    await database.write(lambda tx: tx.update(exports_table, story.export_id, **failed))
    run = {"failed_items": 2, "status": "completed_with_failures", "updated_at": now}
    await database.write(lambda tx: tx.update(prompt_runs, story.run_id, **run))
    found = {each["kind"]: each for each in await attention(api, "prompt_run", "export")}
    assert found["export"]["what"] == "the folder is full"
    assert found["export"]["fix"] == f"vvwatch retry {story.export_id}"
    assert (found["prompt_run"]["attention_id"], found["prompt_run"]["count"]) == (story.run_id, 2)
    for identifier in (story.run_id, story.export_id):
        await api.post(f"/attention/{identifier}/dismiss")
    assert await attention(api, "prompt_run", "export") == []


async def test_deliveries_that_were_given_up_are_one_for_each_webhook(
    api: Api, story: Story, database: Database
) -> None:
    def tell(tx: Tx) -> None:
        for number in range(3):
            events.announce(tx, "import_job.started", f"job_{number}", INDEX, {"job_id": f"job_{number}"})

    await database.write(tell)
    await deliver(database, DeliveryStatus.FAILED)
    [found] = await attention(api, "delivery")
    assert (found["count"], found["dismissable"]) == (3, True)
    assert found["what"].startswith("an event for hook and 2 more were given up")
    assert len((await api.post(f"/attention/{found['attention_id']}/dismiss"))["dismissed"]) == 3
    assert await attention(api, "delivery") == []


async def test_an_export_that_waits_for_room_says_why_and_when_it_is_tried(
    api: Api, story: Story, database: Database, clock: FakeClock
) -> None:
    full = "No space left on device: the artefact"
    waits = {"status": "pending", "completed_at": None, "last_error": full, "next_at": clock.now() + 40}
    await database.write(lambda tx: tx.update(exports_table, story.export_id, **waits))
    [found] = await attention(api, "export")
    assert (found["what"], found["state"], found["dismissable"]) == (full, "waiting", False)
    status = await api.get("/status")
    assert found["next_try_at"] == status["work"]["exports"]["newest"][0]["next_try_at"]
    assert status["attention_counts"]["exports_waiting"] == 1
    findings = (await api.get("/doctor"))["findings"]
    [told] = [each for each in findings if each["about"] == "export"]
    assert (told["state"], full in told["detail"]) == ("problem", True)


async def test_the_doctor_tells_what_failed(api: Api, story: Story) -> None:
    [told] = [each for each in (await api.get("/doctor"))["findings"] if each["about"] == "import_job"]
    assert (told["id"], told["state"]) == (story.job_id, "warning")
    assert "moov atom" in told["detail"]
    assert told["fix"] == f"vvwatch jobs show {story.job_id}"


async def test_paused_exports_are_told_everywhere(api: Api, story: Story) -> None:
    answer = await api.post(f"/indexes/{INDEX}/automations/export/pause")
    assert (answer["status"], answer["automation_id"] != story.automation_id) == ("paused", True)
    [automation] = (await api.get("/status"))["automations"]
    assert automation["export"]["automation_id"] == answer["automation_id"]
    assert automation["export"]["status"] == "paused"
    assert any("exports are paused" in each for each in automation["remarks"])
    findings = (await api.get("/doctor"))["findings"]
    [told] = [each for each in findings if each["id"] == answer["automation_id"]]
    assert (told["state"], told["fix"]) == ("warning", f"vvwatch resume {INDEX} --exports")


async def test_a_webhook_that_fails_says_why(api: Api, story: Story, database: Database) -> None:
    failing = {"failure_count": 2, "last_error": "the connection was refused: nothing listens there"}
    await database.write(lambda tx: tx.update(webhooks, story.webhook_id, **failing))
    [found] = await attention(api, "webhook")
    assert "'hook' failed 2 times in a row: the connection was refused" in found["what"]
    assert found["fix"].startswith("start the receiver")
    [told] = [each for each in (await api.get("/doctor"))["findings"] if each["about"] == "webhook"]
    assert (told["detail"], told["fix"]) == (found["what"], found["fix"])


@contextmanager
def statements(database: Any) -> Iterator[list[str]]:
    """What is asked of the database in the block."""
    asked: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    engine = database._reader.engine
    engine = getattr(engine, "sync_engine", engine)
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def another(tx: Tx, number: int) -> None:
    """An index with an automation and a failed job."""
    index_id = f"idx_{number}"
    catalog.declare_index(tx, index_id, index_id)
    spec = automations.ImportSpec(
        connector_id="conn_in",
        source_prefix="",
        file_pattern="*",
        recursive=True,
        debounce_interval="5m",
        policy=WindowPolicy(300, 1800, 10_000),
        scan_seconds=60,
        settle_seconds=5,
        preset={"prompt_id": catalog.DEFAULT_PROMPT_ID},
    )
    automations.save_import(tx, index_id, spec)
    automations.save_export(tx, index_id, automations.ExportSpec("conn_in", f"results{number}"))
    more_jobs(tx, 1, index_id=index_id, status="failed", failed=0, error_message=f"denied {number}")


async def test_the_number_of_queries_does_not_grow(api: Api, story: Story, database: Database) -> None:
    with statements(database) as few:
        await api.get("/status")
    for number in range(30):
        await database.write(another, number)
    with statements(database) as many:
        status = await api.get("/status")
    assert len(status["automations"]) == 31
    assert len(many) == len(few) < 40


def children_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The parts of a schema of an object or a list; True: anything."""
    if schema.get("type") == "array":
        return {"[]": schema.get("items", True)}
    if schema.get("type") == "object":
        return schema.get("properties") or {"*": schema.get("additionalProperties", True)}
    return {} if "type" in schema else {"?": True}


def untyped_parts(schema: Any, schemas: dict[str, Any], at: str) -> Iterator[str]:
    """Where a schema, and what it refers to, allows anything. No schema of the status refers to itself."""
    if schema is True:
        yield at
        return
    for part in schema.get("anyOf", [schema]):
        if name := part.get("$ref", "").rpartition("/")[2]:
            yield from untyped_parts(schemas[name], schemas, name)
        else:
            for key, each in children_of(part).items():
                yield from untyped_parts(each, schemas, f"{at}.{key}")


def numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(each)
    elif isinstance(value, int | float):
        yield value


async def test_every_moment_of_the_status_is_iso_8601_and_every_part_is_typed(
    api: Api, story: Story, clock: FakeClock
) -> None:
    status = await api.get("/status")
    assert status["automations"]
    assert [each for each in numbers_in(status) if each > clock.now() / 2] == [], "a moment as a number"
    document = (await api.client.get("/openapi.json")).json()
    answer = document["paths"]["/api/v2/status"]["get"]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    assert list(untyped_parts(schema, document["components"]["schemas"], "Status")) == []


async def test_what_matches_nothing_is_told(api: Api, story: Story, database: Database) -> None:
    automation = await database.read(automations.get_import, INDEX)
    nothing = replace(REPORT, listed=20_000, matched=0, known=0, created=0, changed=0)
    await database.write(record_report, automation, nothing)
    await database.write(lambda tx: tx.update(import_automations, automation.id, file_pattern="*.jpg"))
    [told] = (await api.get("/status"))["automations"]
    assert "20,000 listed, none matches *.jpg" in told["remarks"]


async def test_a_mass_loss_that_is_not_believed_is_told_with_the_line_to_type(
    api: Api, story: Story, database: Database, clock: FakeClock
) -> None:
    doubt = Doubt(clock.now(), 2, 30, "30 of 53 known objects are missing at once", proven=True)
    await database.write(
        lambda tx: tx.update(import_automations, story.automation_id, doubt=doubt.document())
    )
    line = f"vvwatch scan {INDEX} --accept-missing"
    [told] = (await api.get("/status"))["automations"]
    assert any("30 of 53" in each and line in each for each in told["remarks"])
    [finding] = [each for each in (await api.get("/doctor"))["findings"] if each["subject"] == "missing"]
    assert (finding["state"], finding["fix"]) == ("warning", line)
    await api.post(f"/indexes/{INDEX}/automations/import/scan?accept_missing=true", status=202)
    row = await database.read(automations.get_import, INDEX)
    assert row.accept_missing is True


async def test_a_failing_listing_says_since_when(
    api: Api, story: Story, database: Database, clock: FakeClock
) -> None:
    failing = {
        "last_error": "denied",
        "last_error_hint": "grant it",
        "failing_since": clock.now(),
        "failures": 7,
    }
    await database.write(lambda tx: tx.update(import_automations, story.automation_id, **failing))
    [found] = await attention(api, "automation")
    assert (found["what"], found["fix"]) == ("denied (7 scans in a row)", "grant it")
    [told] = (await api.get("/status"))["automations"]
    assert told["failing_since"] == found["since"] == to_iso(clock.now())


async def test_the_explanation_says_that_exports_are_paused(
    api: Api, story: Story, database: Database
) -> None:
    await database.write(lambda tx: tx.execute(sa.delete(exports_table)))
    await api.post(f"/indexes/{INDEX}/automations/export/pause")
    told = await api.get("/explain", connector_id="conn_in", key="a.mp4")
    [index] = told["places"][0]["indexes"]
    assert index["export_status"] == "paused"
    assert (
        f"exports are paused, so its results are not delivered: `vvwatch resume {INDEX}"
        in index["conclusion"]
    )


async def test_an_id_without_its_prefix_is_told_from_one_that_is_not_there(api: Api, story: Story) -> None:
    for path, meant in (
        ("/prompts/technical", "prompt_technical"),
        ("/indexes/main", INDEX),
        ("/connectors/in", "conn_in"),
        ("/webhooks/hook", "wh_hook"),
    ):
        error = await api.error("GET", path, 404)
        assert error["details"]["hint"] == f"did you mean {meant!r}?"
    for unknown in ("nothing", "%00", "%00technical"):
        assert "hint" not in (await api.error("GET", f"/prompts/{unknown}", 404))["details"]


async def test_a_store_that_hangs_is_told(context: ApiContext, story: Story, clock: FakeClock) -> None:
    health = {"state": "degraded", "reason": "its store has not answered for 20 s", "hint": "", "since": 1.0}

    async def status() -> dict[str, Any]:
        full = {"writable": False, "error": "the database does not work: database or disk is full"}
        return {"connectors": {"conn_in": health}, "database": full, "started_at": 5.0}

    async with client_of(replace(context, status=status)) as client:
        told = await (await Api.prepared(client, context)).get("/status")
    assert told["connectors"]["conn_in"]["since"] == "1970-01-01T00:00:01.000Z"
    assert told["started_at"] == "1970-01-01T00:00:05.000Z"
    kinds = [each["kind"] for each in told["attention"]]
    assert kinds[:2] == ["database", "connector"]
    assert told["database"]["writable"] is False
