from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api, client_of
from tests.api.story import CONNECTOR, INDEX, Story
from tests.fakes import FakeStorage
from vvwatch.api.http.context import ApiContext
from vvwatch.core.outputs import Written
from vvwatch.core.retries import Patience
from vvwatch.errors import AccessDenied
from vvwatch.providers.local.storage import LocalStorage
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.typed import model_of
from vvwatch.store.imports import imports, unreadable
from vvwatch.store.models.imports import ImportFile
from vvwatch.store.schema import import_files, objects
from vvwatch.store.watching import automations, ledger, own_files, windows

pytestmark = pytest.mark.anyio


async def explained(api: Api, key: str) -> dict[str, Any]:
    """The object's history in the one index there is, with its place."""
    [place] = (await api.get("/explain", connector_id=CONNECTOR, key=key))["places"]
    [history] = place["indexes"]
    return {**place, **history}


async def test_an_imported_file_has_its_whole_life_told(api: Api, story: Story, storage: FakeStorage) -> None:
    found = await explained(api, "a.mp4")
    assert found["uri"] == storage.uri("a.mp4")
    assert found["standing"]["exists"] is True
    assert found["verdict"]["accepted"] is True
    assert story.video_id in found["conclusion"]
    [version] = found["versions"]
    assert version["is_current"] is True
    assert (version["window_state"], version["window_reason"]) == ("closed", "quiet")
    assert (version["import_job_id"], version["file_status"]) == (story.job_id, "imported")
    assert version["video"]["video_id"] == story.video_id
    assert [(run["run_id"], run["status"]) for run in version["runs"]] == [(story.run_id, "completed")]
    assert [export["export_id"] for export in version["exports"]] == [story.export_id]
    assert [(each["event_type"], each["status"]) for each in version["deliveries"]] == [
        ("import_job.started", "delivered"),
        ("media.created", "delivered"),
        ("prompt_run.completed", "delivered"),
        ("export.ready", "delivered"),
    ]
    assert all(each["webhook_name"] == "hook" for each in version["deliveries"])


async def test_a_failed_file_says_why(api: Api, story: Story) -> None:
    found = await explained(api, "b.mp4")
    assert found["conclusion"] == f"failed by import job {story.job_id}: moov atom not found"
    assert found["versions"][0]["file_reason"] == "media_unreadable"
    assert found["versions"][0]["video"] is None


async def test_a_file_that_is_tried_again_by_itself_says_when(
    api: Api, story: Story, database: Database
) -> None:
    def record(tx: Tx) -> None:
        [row] = tx.all(sa.select(import_files).where(import_files.c.key == "b.mp4"))
        file = model_of(ImportFile, row)
        for _ in range(3):
            unreadable.record_failure(tx, imports.get(tx, story.job_id), file, Patience(15.0, 3_600.0))

    await database.write(record)
    found = await explained(api, "b.mp4")
    assert "moov atom not found; retried 2 times, next at 20" in found["conclusion"]
    [file] = (await api.get(f"/import-jobs/{story.job_id}/files", failed_only="true"))["items"]
    assert (file["retries"], file["next_retry_at"] is None) == (2, False)


async def test_an_object_that_went_before_its_import_is_told(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    def went(tx: Tx) -> None:
        gone = {"status": "skipped", "reason": "gone"}
        tx.execute(sa.update(import_files).where(import_files.c.key == "b.mp4").values(gone))
        tx.execute(sa.delete(objects).where(objects.c.key == "b.mp4"))

    await database.write(went)
    if "b.mp4" in storage._objects:
        storage.remove("b.mp4")
    found = await explained(api, "b.mp4")
    assert found["conclusion"] == f"it was deleted before its import: skipped by import job {story.job_id}"


async def test_a_file_that_was_left_alone_says_why(api: Api, story: Story, storage: FakeStorage) -> None:
    storage.put("c.txt", b"c")
    found = await explained(api, "c.txt")
    assert found["conclusion"].startswith("not imported: its extension")
    assert found["verdict"]["reason"] == "unsupported_media_type"
    assert found["observed"]["import_job_id"] == story.job_id
    assert found["versions"] == []


async def test_a_waiting_file_says_until_when(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(windows.accept_objects, row.id, row.generation, [storage.put("d.mp4", b"d")])
    found = await explained(api, "d.mp4")
    assert "it waits in window win_" in found["conclusion"]
    assert found["conclusion"].endswith("due at 2026-09-21T14:23:20.000Z")
    assert found["versions"][0]["file_status"] == "waiting"


async def test_a_version_that_was_overtaken_says_so(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    """The ledger of an older vvwatch still knows it; now it is forgotten, and new when it stands there again."""
    row = await database.read(automations.get_import, INDEX)
    first = storage.put("d.mp4", b"d")
    for version in (first, first._replace(version="later")):
        await database.write(windows.accept_objects, row.id, row.generation, [version])
    assert "it matches and is new" in (await explained(api, "d.mp4"))["conclusion"]
    window = await database.write(windows.find_open_window, row.id)
    assert window is not None
    await database.write(ledger.record_versions, row.scope_id, [first], window.seq)
    assert "a newer version replaced it" in (await explained(api, "d.mp4"))["conclusion"]


async def test_what_is_new_says_when_it_is_looked_at(api: Api, story: Story, storage: FakeStorage) -> None:
    storage.put("new.mp4", b"n")
    assert "the next scan is due" in (await explained(api, "new.mp4"))["conclusion"]
    await api.post(f"/indexes/{INDEX}/automations/import/pause")
    assert (await explained(api, "new.mp4"))["conclusion"] == "it matches, but the automation is paused"


@pytest.mark.parametrize(
    ("key", "reason"),
    [(".hidden.mp4", "temporary_name"), ("a.part", "temporary_name"), ("e.mp4", "zero_byte")],
)
async def test_the_filter_is_asked(
    api: Api, story: Story, storage: FakeStorage, key: str, reason: str
) -> None:
    storage.put(key, b"" if reason == "zero_byte" else b"x")
    found = await explained(api, key)
    assert found["verdict"]["reason"] == reason
    assert found["conclusion"].startswith("not imported: ")


async def test_nothing_there_and_never_seen(api: Api, story: Story) -> None:
    found = await explained(api, "never.mp4")
    assert found["standing"]["exists"] is False
    assert found["conclusion"] == "no object has this key, and none was seen before"


async def test_what_is_gone_is_still_told(api: Api, story: Story, storage: FakeStorage) -> None:
    storage.remove("a.mp4")
    found = await explained(api, "a.mp4")
    assert found["standing"]["exists"] is False
    assert story.video_id in found["conclusion"]


async def test_our_own_exports_are_recognised(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    storage.put("results/x.json", b"{}")
    await database.write(ledger.claim_outputs, [storage.uri("results/x.json")], story.export_id)
    found = await explained(api, "results/x.json")
    assert found["own_export_id"] == story.export_id
    assert story.export_id in found["conclusion"]


async def test_our_own_file_that_somebody_changed_is_not_ours(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    content = Written(2, hashlib.sha256(b"{}").hexdigest())
    await database.write(own_files.claim_file, storage.uri("results/x.srt"), story.export_id, content)
    storage.put("results/x.srt", b"{}")
    assert (await explained(api, "results/x.srt"))["own_export_id"] == story.export_id
    storage.put("results/x.srt", b"a person's")
    assert (await explained(api, "results/x.srt"))["own_export_id"] is None


async def test_a_version_that_is_known_and_not_wanted(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(windows.acknowledge_objects, row.id, row.generation, [storage.put("old.mp4", b"o")])
    found = await explained(api, "old.mp4")
    assert found["conclusion"].startswith("not imported: ")
    assert found["versions"][0]["window_id"] is None


async def test_new_only_leaves_later_versions_alone(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    spec = ConnectorSpec("in", "local", {"root": "/in"}, ("import", "export"), import_mode="new_only")
    await database.write(catalog.declare_connector, CONNECTOR, spec)
    storage.put("a.mp4", b"another")
    assert "new_only" in (await explained(api, "a.mp4"))["conclusion"]
    await database.write(lambda tx: tx.execute(sa.update(import_files).values(status="failed")))
    assert (await explained(api, "a.mp4"))["conclusion"].startswith("it matches and is new")


async def test_a_store_that_does_not_answer_is_no_proof(api: Api, story: Story, storage: FakeStorage) -> None:
    storage.broken = AccessDenied("permission denied")
    found = await explained(api, "a.mp4")
    assert found["standing"] == {
        "exists": None,
        "version": None,
        "size_bytes": None,
        "modified_at": None,
        "error": "permission denied",
    }
    assert story.video_id in found["conclusion"]


async def test_an_address_is_enough(api: Api, story: Story, storage: FakeStorage) -> None:
    [place] = (await api.get("/explain", uri=storage.uri("a.mp4")))["places"]
    assert (place["connector_id"], place["key"]) == (CONNECTOR, "a.mp4")
    error = await api.error("GET", "/explain?uri=fake://elsewhere/a.mp4", 404)
    assert error["code"] == "resource_connector_not_found"
    assert error["message"] == "no connector reaches 'fake://elsewhere/a.mp4'"
    assert "s3://" not in error["details"]["hint"]
    error = await api.error("GET", "/explain", 404, params={"uri": "/nowhere/day/a.mp4"})
    assert "s3://bucket/key" in error["details"]["hint"], "a key alone is taken for a path"


async def test_a_watched_folder_itself_is_no_object(api: Api, story: Story, storage: FakeStorage) -> None:
    base = storage.uri("x").removesuffix("x")
    for uri in (base, base.rstrip("/")):
        error = await api.error("GET", "/explain", 422, params={"uri": uri})
        assert error["message"] == f"{uri!r} is the location of connector {CONNECTOR!r}, not an object"


async def test_a_path_of_this_machine_is_an_address(
    api: Api, context: ApiContext, story: Story, tmp_path: Path
) -> None:
    folder = tmp_path / "media" / "tönend 100%"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    (folder / "a b.mp4").write_bytes(b"x")
    there = replace(context, storages=lambda _row: LocalStorage(folder, allowed_roots=[tmp_path]))
    async with client_of(there, headers=api.client.headers) as client:
        for uri in (
            str(folder / "a b.mp4"),
            str(tmp_path / "link" / "a b.mp4"),
            (folder / "a b.mp4").as_uri(),
            (tmp_path / "link" / "a b.mp4").as_uri(),
            f"file://{folder}/a b.mp4".replace("tönend 100%", "t%C3%B6nend%20100%25"),
        ):
            response = await client.get("/api/v2/explain", params={"uri": uri})
            [place] = response.json()["places"]
            assert (place["key"], place["standing"]["exists"]) == ("a b.mp4", True)


async def test_what_a_link_within_a_watched_folder_hides_is_explained_there(
    api: Api, context: ApiContext, story: Story, tmp_path: Path
) -> None:
    watched, elsewhere = tmp_path / "watched", tmp_path / "elsewhere"
    watched.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.mp4").write_bytes(b"x")
    (watched / "sub").symlink_to(elsewhere)
    there = replace(context, storages=lambda _row: LocalStorage(watched, allowed_roots=[watched]))
    async with client_of(there, headers=api.client.headers) as client:
        for uri in (str(watched / "sub" / "a.mp4"), (watched / "sub" / "a.mp4").as_uri()):
            response = await client.get("/api/v2/explain", params={"uri": uri})
            [place] = response.json()["places"]
            assert place["key"] == "sub/a.mp4"
            assert place["standing"]["exists"] is False


@pytest.mark.parametrize("uri", ["/a%00b", "file:///a%00b", "file:///%ff"])
async def test_an_address_of_nothing_is_not_found(api: Api, uri: str) -> None:
    answer = await api.client.get(f"/api/v2/explain?uri={uri}")
    assert answer.status_code in (404, 422), answer.text


@pytest.mark.parametrize(
    "query",
    ["", "?uri=", "?connector_id=conn_in", "?key=a", "?uri=fake://a&key=b", "?uri=a&connector_id=b&key=c"],
)
async def test_it_must_be_said_what_is_meant(api: Api, query: str) -> None:
    assert (await api.error("GET", f"/explain{query}", 422))["code"] == "validation_error"


async def test_a_key_that_cannot_be_is_refused(api: Api, story: Story) -> None:
    await api.error("GET", "/explain", 422, params={"connector_id": CONNECTOR, "key": "a\0"})
    error = await api.error("GET", "/explain?connector_id=conn_none&key=a", 404)
    assert error["code"] == "resource_connector_not_found"


async def test_what_the_daemon_does_is_told(api: Api) -> None:
    assert (await api.get("/status"))["automations"] == []
