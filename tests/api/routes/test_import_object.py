"""Objects that are registered by their address, and what can be asked of one media item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.api.story import CONNECTOR, INDEX, Story
from tests.fakes import FakeStorage
from tests.store.pipeline import PROBE, jobs_of
from vvwatch.core.imports import FileStatus
from vvwatch.ports import Kind
from vvwatch.store.admin import invariants
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import PromptSpec
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.schema import connectors, objects, prompt_runs

pytestmark = pytest.mark.anyio

Body = Callable[..., dict[str, Any]]


@pytest.fixture
def body(story: Story, storage: FakeStorage) -> Body:
    """What registers an object of the story's connector."""

    def made(key: str, **more: Any) -> dict[str, Any]:
        return {"title": "Dailies", "video_uri": storage.uri(key), "index_id": INDEX, **more}

    return made


async def imported(database: Database, storage: FakeStorage, key: str) -> None:
    [job] = jobs_of(database).take(Kind.IMPORT_FILE)
    await database.write(imports.begin_file, job)
    outcome = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri=storage.uri(key))
    await database.write(imports.finish_file, job, outcome)


async def broken(database: Database) -> set[str]:
    return {each.name for each in await database.read(invariants.findings) if each.count}


def recorded(tx: Tx, key: str) -> list[str]:
    return list(tx.execute(sa.select(objects.c.version).where(objects.c.key == key)).scalars())


async def test_an_object_is_imported_where_it_stands(
    api: Api, body: Body, storage: FakeStorage, database: Database
) -> None:
    obj = storage.put("new/film.mp4", b"abc")
    job = await api.post("/videos", body(obj.key), status=202)
    assert (job["source_kind"], job["connector_id"], job["target_index_id"]) == ("register", CONNECTOR, INDEX)
    assert job["progress"]["total_files"] == 1
    await imported(database, storage, obj.key)
    done = await api.get(f"/import-jobs/{job['job_id']}")
    [video_id] = done["video_ids"]
    video = await api.get(f"/videos/{video_id}")
    assert (video["title"], video["source_key"], video["video_uri"]) == (
        "Dailies",
        obj.key,
        storage.uri(obj.key),
    )
    assert await broken(database) <= {"outputs_are_known"}  # the story tells of an export that nobody wrote


async def test_no_automation_imports_it_again(
    api: Api, body: Body, storage: FakeStorage, database: Database
) -> None:
    obj = storage.put("film.mp4", b"abc")
    await api.post("/videos", body(obj.key, source_connector_id=CONNECTOR), status=202)
    assert await database.read(recorded, obj.key) == [obj.version]


async def test_what_was_imported_before_is_imported_once_more(
    api: Api, body: Body, storage: FakeStorage, database: Database, story: Story
) -> None:
    job = await api.post("/videos", body("a.mp4"), status=202)
    await imported(database, storage, "a.mp4")
    done = await api.get(f"/import-jobs/{job['job_id']}")
    assert done["status"] == "completed"
    assert done["video_ids"] != [story.video_id]
    assert await broken(database) <= {"outputs_are_known"}  # the story tells of an export that nobody wrote


async def test_the_same_request_again_does_not_ask_whether_the_object_is_still_there(
    api: Api, body: Body, storage: FakeStorage
) -> None:
    obj = storage.put("film.mp4", b"abc")
    options: dict[str, Any] = {"json": body(obj.key), "headers": {"Idempotency-Key": "k1"}}
    first = await api.ask("POST", "/videos", status=202, **options)
    storage.remove(obj.key)
    assert await api.ask("POST", "/videos", status=202, **options) == first
    options["headers"] = {"Idempotency-Key": "k2"}
    await api.error("POST", "/videos", 404, **options)


async def test_an_object_that_is_not_there_is_told(api: Api, body: Body) -> None:
    error = await api.error("POST", "/videos", 404, json=body("missing.mp4"))
    assert error["code"] == "resource_object_not_found"
    error = await api.error("POST", "/videos", 404, json=body("a.mp4") | {"index_id": "idx_none"})
    assert error["code"] == "resource_index_not_found"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"video_uri": "s3://elsewhere/a.mp4"}, "no connector imports from"),
        ({"video_uri": "s3://elsewhere/a.mp4", "source_connector_id": CONNECTOR}, "does not reach"),
        ({"video_uri": "nonsense"}, "no connector imports from"),
        ({"title": ""}, "body.title"),
        ({"video_uri": ""}, "body.video_uri"),
    ],
)
async def test_an_address_under_no_connector_is_told(
    api: Api, body: Body, changes: dict[str, Any], told: str
) -> None:
    error = await api.error("POST", "/videos", 422, json=body("a.mp4") | changes)
    assert told in error["message"]


async def test_what_is_no_media_is_refused(api: Api, body: Body, storage: FakeStorage) -> None:
    storage.put("notes.txt", b"abc")
    storage.put("empty.mp4", b"")
    obj = storage.put("old.mp4", b"abc")
    storage._objects["old.mp4"] = (obj._replace(archived=True), b"abc")
    for key, told in (
        ("notes.txt", "no known format"),
        ("empty.mp4", "is empty"),
        ("old.mp4", "is archived"),
    ):
        error = await api.error("POST", "/videos", 422, json=body(key))
        assert told in error["message"]


async def test_a_disabled_connector_is_not_asked(api: Api, body: Body, database: Database) -> None:
    row = {"status": catalog.DISABLED}
    await database.write(lambda tx: tx.update(connectors, CONNECTOR, **row))
    await api.error("POST", "/videos", 422, json=body("a.mp4"))
    await api.error("POST", "/videos", 409, json=body("a.mp4", source_connector_id=CONNECTOR))


async def _run(database: Database, run_id: str) -> Any:
    query = sa.select(prompt_runs).where(prompt_runs.c.id == run_id)
    return await database.read(lambda tx: tx.execute(query).one())


async def test_a_video_is_processed_in_pieces_of_one_length(
    api: Api, story: Story, database: Database
) -> None:
    prompt_id = await api.prompt()
    path = f"/videos/{story.video_id}/process"
    told = await api.ask("POST", path, status=202, params={"segment_duration": 7, "prompt_id": prompt_id})
    assert told["run_id"] in told["message"]
    run = await _run(database, told["run_id"])
    assert (run.prompt_id, run.total_items) == (prompt_id, 1)
    assert run.settings["video_segmentation_type"] == run.settings["audio_segmentation_type"] == "fixed"
    assert run.settings["video_segment_duration"] == run.settings["audio_segment_duration"] == 7


async def test_without_a_prompt_the_built_in_one_is_run(api: Api, story: Story, database: Database) -> None:
    spec = PromptSpec("Technical", "Measure it.", {"type": "object", "properties": {}})
    await database.write(catalog.seed_default_prompt, spec)
    told = await api.ask("POST", f"/videos/{story.video_id}/process", status=202)
    run = await _run(database, told["run_id"])
    assert (run.prompt_id, run.settings["video_segment_duration"]) == (catalog.DEFAULT_PROMPT_ID, 10)


async def test_what_cannot_be_processed_is_refused(api: Api, story: Story) -> None:
    path = f"/videos/{story.video_id}/process"
    for seconds in (0, 301):
        await api.error("POST", path, 422, params={"segment_duration": seconds})
    await api.error("POST", path, 404, params={"prompt_id": "prompt_none"})
    await api.error("POST", "/videos/vid_none/process", 404)


async def test_an_original_has_an_address_for_a_while(api: Api, story: Story) -> None:
    uri = (await api.get(f"/videos/{story.video_id}"))["video_uri"]
    told = await api.post("/videos/signed-url", {"gcs_uri": uri, "force_refresh": True})
    assert told["expires_at"].endswith("Z")
    del api.client.headers["X-API-Key"]
    parts = urlsplit(told["signed_url"])
    answer = await api.client.get(f"{parts.path}?{parts.query}")
    assert (answer.status_code, answer.content) == (200, b"aaaa")


async def test_only_what_is_known_has_an_address(api: Api, story: Story) -> None:
    uri = (await api.get(f"/videos/{story.video_id}"))["video_uri"]
    for unknown in ("file:///etc/passwd", uri + "x"):
        error = await api.error("POST", "/videos/signed-url", 404, json={"gcs_uri": unknown})
        assert error["code"] == "resource_video_not_found"
    await api.ask("DELETE", f"/videos/{story.video_id}", status=202)
    await api.error("POST", "/videos/signed-url", 404, json={"gcs_uri": uri})


async def test_explain_names_the_version_that_came_last_however_it_came(
    api: Api, body: Body, story: Story, storage: FakeStorage, database: Database
) -> None:
    """The story's window had the first version; the newer one was registered, and then both left the store."""
    older = storage.put("a.mp4", b"older")
    newer = storage.put("a.mp4", b"newer by far")
    await api.post("/videos", body("a.mp4"), status=202)
    await imported(database, storage, "a.mp4")
    storage.remove("a.mp4")
    [place] = (await api.get("/explain", connector_id=CONNECTOR, key="a.mp4"))["places"]
    [history] = place["indexes"]
    assert older.version != newer.version
    assert history["versions"][-1]["version"] == newer.version
    media = history["versions"][-1]["video"]["video_id"]
    assert media in history["conclusion"], history["conclusion"]
