"""Import jobs that somebody asked for: begun, cancelled, tried again."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.api.story import CONNECTOR, FAILED, INDEX, Story, prepared, window
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.processing import FakeProcessor
from tests.store.pipeline import PROBE, jobs_of
from vvwatch.core.imports import FileStatus
from vvwatch.errors import OnAnotherNode
from vvwatch.ports import Kind
from vvwatch.store.admin import invariants
from vvwatch.store.db.database import Database
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome, NewFile
from vvwatch.store.schema import connectors, events, import_files, prompt_runs
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.watching.one_time import OneTimeImports

pytestmark = pytest.mark.anyio

ENDS = ("import_job.completed", "import_job.partial_completed", "import_job.failed")
ORIGIN = {"file_id": "F1", "download_url": "https://example.com/1", "file_name": "1.mp4"}


async def wanted(database: Database) -> dict[str, Any]:
    """The body for a job of an index and a connector that are there."""
    await database.write(prepared)
    return {"connector_id": CONNECTOR, "index_id": INDEX}


async def advance(database: Database, clock: FakeClock, storage: FakeStorage) -> None:
    """What a daemon does with jobs as a whole."""
    reading = Reading(clock, lambda _: storage, FakeProcessor(), {}, 3, lambda: 0.5)
    for job in jobs_of(database).take(Kind.IMPORT_JOB):
        await OneTimeImports(database, clock, Telemetry("test"), reading).advance(job)


async def import_all(database: Database, outcome: FileOutcome | None = None) -> None:
    while jobs := jobs_of(database).take(Kind.IMPORT_FILE):
        for job in jobs:
            await database.write(imports.begin_file, job)
            done = outcome or FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri=f"fake://{job.ref}")
            await database.write(imports.finish_file, job, done)


async def is_sound(database: Database) -> bool:
    found = await database.read(invariants.findings)
    return [finding for finding in found if finding.count] == []


async def test_a_job_is_accepted_and_told_as_it_goes(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    body = await wanted(database)
    storage.put("in/a.mp4", b"x")
    storage.put("in/b.txt", b"x")
    asked = {**body, "source_prefix": "in/", "file_pattern": "*.{mp4,txt}", "recursive": False}
    job = await api.post("/import-jobs", asked, status=202)
    assert (job["status"], job["phase"], job["source_kind"]) == ("pending", None, "connector")
    assert (job["connector_id"], job["target_index_id"]) == (CONNECTOR, INDEX)
    assert (job["source_prefix"], job["file_pattern"], job["recursive"]) == ("in/", "*.{mp4,txt}", False)
    assert (job["automation_id"], job["failed_files"], job["skipped_files"]) == (None, [], [])
    await advance(database, clock, storage)
    path = f"/import-jobs/{job['job_id']}"
    job = await api.get(path)
    assert (job["status"], job["phase"], job["progress"]["total_files"]) == ("importing", "importing", 2)
    assert [file["reason"] for file in job["skipped_files"]] == ["unsupported_media_type"]
    await database.write(imports.begin_file, jobs_of(database).jobs[-1])
    assert (await api.get(path))["progress"]["current_file"] == "in/a.mp4"
    await import_all(database)
    job = await api.get(path)
    assert (job["status"], job["phase"], job["progress"]["current_file"]) == ("completed", None, None)
    assert (len(job["video_ids"]), job["execution"]["status"]) == (1, "not_requested")
    assert await is_sound(database)


async def test_what_is_left_out_on_purpose_is_no_file_of_the_job(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    for key, size in (
        ("a.mp4", 50),
        ("proxies/a.mp4", 50),
        ("tiny.mp4", 9),
        ("huge.mp4", 101),
        ("#recycle/a.mp4", 50),
    ):
        storage.put(key, b"x" * size)
    left_out = {"exclude": ["proxies/**"], "min_size_bytes": 10, "max_size_bytes": 100}
    job = await api.post("/import-jobs", {**await wanted(database), **left_out}, status=202)
    assert {name: job[name] for name in left_out} == left_out
    await advance(database, clock, storage)
    job = await api.get(f"/import-jobs/{job['job_id']}")
    assert (job["progress"]["total_files"], job["skipped_files"]) == (1, [])
    swapped = {**await wanted(database), "min_size_bytes": 2, "max_size_bytes": 1}
    error = await api.error("POST", "/import-jobs", 422, json=swapped)
    assert "no object can match" in error["message"]


async def test_the_body_may_name_only_connector_and_index(api: Api, database: Database) -> None:
    job = await api.post("/import-jobs", await wanted(database), status=202)
    assert (job["source_prefix"], job["file_pattern"], job["recursive"]) == ("", "*", True)


@pytest.mark.parametrize(
    "change",
    [
        {"import_mode_override": "some"},
        {"file_pattern": "{" * 600},
        {"source_prefix": "../in"},
        {"recursive": "yes"},
        {"exclude": ["proxies/"]},
        {"exclude": "*.mov"},
        {"exclude": ["*.mov"] * 101},
        {"min_size_bytes": 0},
        {"max_size_bytes": 1 << 63},
        {"surplus": 1},
        {"connector_id": ""},
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    api: Api, database: Database, change: dict[str, Any]
) -> None:
    body = {**await wanted(database), **change}
    error = await api.error("POST", "/import-jobs", 422, json=body)
    assert error["code"] == "validation_error"
    assert await api.get("/import-jobs") == []


@pytest.mark.parametrize(("name", "resource"), [("connector_id", "connector"), ("index_id", "index")])
async def test_connector_and_index_must_be_there(
    api: Api, database: Database, name: str, resource: str
) -> None:
    body = {**await wanted(database), name: "none_such"}
    error = await api.error("POST", "/import-jobs", 404, json=body)
    assert error["code"] == f"resource_{resource}_not_found"


async def test_the_connector_must_be_for_imports(api: Api, database: Database) -> None:
    body = await wanted(database)
    await change_connector(database, scopes=["export"])
    error = await api.error("POST", "/import-jobs", 422, json=body)
    assert "import" in error["message"]


async def test_a_disabled_connector_imports_nothing(api: Api, database: Database) -> None:
    body = await wanted(database)
    await change_connector(database, status="disabled")
    error = await api.error("POST", "/import-jobs", 409, json=body)
    assert "disabled" in error["message"]


async def change_connector(database: Database, **values: Any) -> None:
    await database.write(lambda tx: tx.update(connectors, CONNECTOR, **values))


async def test_the_same_request_again_makes_no_second_job(api: Api, database: Database) -> None:
    body = await wanted(database)
    options: dict[str, Any] = {"json": body, "headers": {"Idempotency-Key": "k1"}, "status": 202}
    first = await api.ask("POST", "/import-jobs", **options)
    assert await api.ask("POST", "/import-jobs", **options) == first
    assert len(await api.get("/import-jobs")) == 1
    assert len(jobs_of(database).take(Kind.IMPORT_JOB)) == 1


async def test_the_same_request_again_does_not_ask_what_became_of_the_connector(
    api: Api, database: Database
) -> None:
    options: dict[str, Any] = {"json": await wanted(database), "headers": {"Idempotency-Key": "k1"}}
    first = await api.ask("POST", "/import-jobs", status=202, **options)
    await change_connector(database, status="disabled")
    assert await api.ask("POST", "/import-jobs", status=202, **options) == first
    options["headers"] = {"Idempotency-Key": "k2"}
    await api.error("POST", "/import-jobs", 409, **options)


async def test_the_override_is_stronger_than_the_connector(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    body = await wanted(database)
    await change_connector(database, import_mode="new_only")
    storage.put("a.mp4", b"x")
    for override, total in ((None, 1), (None, 0), ("all", 1)):
        await api.post("/import-jobs", {**body, "import_mode_override": override}, status=202)
        await advance(database, clock, storage)
        await import_all(database)
        [job, *_] = await api.get("/import-jobs")
        assert job["progress"]["imported"] == total


async def begun(api: Api, database: Database, clock: FakeClock, storage: FakeStorage, count: int) -> str:
    """A job with this many files, under way."""
    body = await wanted(database)
    for number in range(count):
        storage.put(f"{number:02}.mp4", b"x")
    job = await api.post("/import-jobs", body, status=202)
    await advance(database, clock, storage)
    return f"/import-jobs/{job['job_id']}"


async def test_cancelling_keeps_what_was_imported_and_counts_the_rest(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    path = await begun(api, database, clock, storage, 3)
    [first, second, third] = jobs_of(database).take(Kind.IMPORT_FILE)
    jobs_of(database).jobs.append(first)
    await import_all(database)
    await database.write(imports.begin_file, second)
    job = await api.post(f"{path}/cancel")
    progress = job["progress"]
    assert (job["status"], job["phase"], job["execution"]["status"]) == ("cancelled", None, "not_requested")
    assert (progress["imported"], progress["failed"], progress["skipped"]) == (1, 0, 2)
    assert len(job["video_ids"]) == 1
    listed = await api.get(f"{path}/files")
    assert [file["skip_reason"] for file in listed["items"]] == [None, "cancelled", "cancelled"]
    done = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri="fake://late")
    assert await database.write(imports.finish_file, second, done) is None
    assert await database.write(imports.begin_file, third) is None
    await advance(database, clock, storage)
    told = await api.get(path)
    assert [file["reason"] for file in told["skipped_files"]] == ["cancelled", "cancelled"]
    assert told["progress"] == progress
    assert await is_sound(database)


async def test_a_job_that_has_not_begun_is_cancelled(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    storage.put("a.mp4", b"x")
    job = await api.post("/import-jobs", await wanted(database), status=202)
    job = await api.post(f"/import-jobs/{job['job_id']}/cancel")
    assert (job["status"], job["progress"]["total_files"]) == ("cancelled", 0)
    await advance(database, clock, storage)
    assert (await api.get(f"/import-jobs/{job['job_id']}"))["status"] == "cancelled"


async def test_what_has_ended_is_not_cancelled(api: Api, story: Story) -> None:
    error = await api.error("POST", f"/import-jobs/{story.job_id}/cancel", 409)
    assert error["code"] == "conflict"
    assert "completed" in error["message"]


async def test_a_cancellation_is_repeated_by_its_key(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    path = await begun(api, database, clock, storage, 2)
    headers = {"Idempotency-Key": "k1"}
    first = await api.ask("POST", f"{path}/cancel", headers=headers)
    assert await api.ask("POST", f"{path}/cancel", headers=headers, json={}) == first
    await api.error("POST", f"{path}/cancel", 409)


async def test_a_cancelled_job_of_a_window_starts_no_run_and_its_files_can_be_retried(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    automation = await database.write(prepared)
    await window(database, clock, automation, [storage.put(f"{n}.mp4", b"x") for n in range(2)])
    [job] = await api.get("/import-jobs", automation_only="true")
    assert job["automation_id"] == automation.id
    [first, _] = jobs_of(database).take(Kind.IMPORT_FILE)
    jobs_of(database).jobs.append(first)
    await import_all(database)
    path = f"/import-jobs/{job['job_id']}"
    await api.post(f"{path}/cancel")
    await advance(database, clock, storage)
    assert await database.read(lambda tx: tx.all(sa.select(prompt_runs))) == []
    [skipped] = (await api.get(path))["skipped_files"]
    answer = await api.post(f"{path}/files/{skipped['file_id']}/retry", status=202)
    assert (answer["path"], answer["status"]) == ("1.mp4", "eligible")


async def test_an_object_tells_which_one_time_job_took_it(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    path = await begun(api, database, clock, storage, 2)
    [first, _] = jobs_of(database).take(Kind.IMPORT_FILE)
    jobs_of(database).jobs.append(first)
    await import_all(database)
    job = await api.get(path)
    [video_id] = job["video_ids"]
    told = [await conclusion(api, f"{number:02}.mp4") for number in range(2)]
    assert told == [
        f"imported as {video_id} by {job['job_id']}; it is not_processed",
        f"import job {job['job_id']} will import it",
    ]
    await database.write(lambda tx: tx.execute(sa.delete(import_files)))
    assert await conclusion(api, "00.mp4") == told[0]


async def conclusion(api: Api, key: str) -> str:
    [place] = (await api.get("/explain", connector_id=CONNECTOR, key=key))["places"]
    return str(place["indexes"][0]["conclusion"])


async def test_jobs_are_filtered_by_connector(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    await begun(api, database, clock, storage, 1)
    assert len(await api.get("/import-jobs", connector_id=CONNECTOR, status="IMPORTING")) == 1
    assert await api.get("/import-jobs", connector_id="conn_other") == []
    assert await api.get("/import-jobs", automation_only="true") == []


async def attached(database: Database, *names: str) -> str:
    """An attachment job whose files all failed, but the first."""
    await database.write(prepared)
    files = [
        NewFile(f"job_x/{n}/{name}", "", 0, origin={**ORIGIN, "file_id": name})
        for n, name in enumerate(names)
    ]
    row = await database.write(
        lambda tx: imports.create_sealed(
            tx, job_id="job_x", index_id=INDEX, connector_id=CONNECTOR, source_kind="attachments", files=files
        )
    )
    [first, *others] = jobs_of(database).take(Kind.IMPORT_FILE)
    jobs_of(database).jobs = [first]
    await import_all(database)
    jobs_of(database).jobs = others
    await import_all(database, FAILED)
    return f"/import-jobs/{row.id}"


async def rows(database: Database) -> list[sa.Row[Any]]:
    return list(
        await database.read(lambda tx: tx.all(sa.select(import_files).order_by(import_files.c.ordinal)))
    )


async def test_failed_attachments_are_tried_again_from_where_they_are_now(
    api: Api, database: Database
) -> None:
    path = await attached(database, "F1", "F2", "F3")
    assert (await api.get(path))["progress"]["failed"] == 2
    before = await rows(database)
    fresh = {"file_id": "F2", "download_url": "https://example.com/fresh"}
    job = await api.post(f"{path}/retry", {"files": [fresh]})
    assert (job["status"], job["completed_at"], job["progress"]["failed"]) == ("importing", None, 0)
    after = await rows(database)
    assert [a.origin == b.origin for a, b in zip(before, after, strict=True)] == [True, False, True]
    assert after[1].origin["file_name"] == "1.mp4"
    assert [row.attempts for row in after] == [1, 0, 0]
    assert await is_sound(database)
    await api.error("POST", f"{path}/retry", 409)
    await import_all(database)
    job = await api.get(path)
    assert (job["status"], job["progress"]["imported"]) == ("completed", 3)
    error = await api.error("POST", f"{path}/retry", 409)
    assert "failed" in error["message"]
    assert await is_sound(database)


async def test_each_end_of_a_job_that_is_tried_again_is_told(api: Api, database: Database) -> None:
    path = await attached(database, "F1", "F2")
    for outcome in (FAILED, FAILED, None):
        await api.post(f"{path}/retry")
        await import_all(database, outcome)
    ends = sa.select(events.c.type).where(events.c.type.in_(ENDS)).order_by(events.c.id)
    told = await database.read(lambda tx: list(tx.execute(ends).scalars()))
    assert told == [*["import_job.partial_completed"] * 3, "import_job.completed"]


async def test_only_what_failed_is_refreshed(api: Api, database: Database) -> None:
    path = await attached(database, "F1", "F2")
    body = {"files": [{"file_id": "F1", "download_url": "https://example.com/x"}]}
    error = await api.error("POST", f"{path}/retry", 422, json=body)
    assert "'F1'" in error["message"]
    assert (await api.get(path))["status"] == "completed"


@pytest.mark.parametrize("files", [[{}], [{"file_id": "F2"}], [{"file_id": "F2", "download_url": ""}], "x"])
async def test_a_refreshed_file_says_where_it_is(api: Api, database: Database, files: Any) -> None:
    path = await attached(database, "F1", "F2")
    await api.error("POST", f"{path}/retry", 422, json={"files": files})


async def test_a_connector_on_another_node_is_asked_there(
    api: Api, database: Database, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = await wanted(database)

    def elsewhere(_: str) -> str:
        raise OnAnotherNode("the folder is on the node 'b'", "ask there")

    monkeypatch.setattr(storage, "uri", elsewhere)
    error = await api.error("POST", "/import-jobs", 409, json={**body, "source_prefix": "x/"})
    assert "node" in error["message"]
