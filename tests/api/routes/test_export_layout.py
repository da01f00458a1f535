"""Exports with options: their files and names, what ends them, and what a killed attempt leaves."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.api.conftest import documents_in
from tests.api.story import CONNECTOR, INDEX, Story
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import jobs_of
from vvwatch.errors import StorageUnavailable
from vvwatch.formats.registry import FORMATS
from vvwatch.ports import Job, Kind, WriteResult
from vvwatch.store.db.database import Database
from vvwatch.store.delivery import exports
from vvwatch.store.schema import connectors, media, outputs, prompt_runs
from vvwatch.workflow.pipeline.artifact_schema import json_schema
from vvwatch.workflow.pipeline.exports import Exports

pytestmark = pytest.mark.anyio

EVERY = ["json", *FORMATS]


class _Killed(BaseException):
    pass


@pytest.fixture
def exporting(
    database: Database, clock: FakeClock, storage: FakeStorage, context: Any, tmp_path: Path
) -> Exports:
    made = documents_in(tmp_path / "work", database, clock, storage)
    made._folder = tmp_path / "exports"
    return made


async def request(
    api: Api, story: Story, options: dict[str, Any], path: str = "", connector: bool = True
) -> Job:
    body: dict[str, Any] = {"options": options}
    if connector:
        body |= {"destination_connector_id": CONNECTOR, "destination_subpath": "out"}
    await api.post(path or f"/exports/prompt-run/{story.run_id}", body, status=202)
    [job] = jobs_of(api.context.database).take(Kind.EXPORT)
    return job


async def done(api: Api, exporting: Exports, job: Job) -> Any:
    await exporting.export(job)
    return await api.get(f"/exports/{job.ref}")


def below(storage: FakeStorage, folder: str = "out/") -> dict[str, bytes]:
    return {key: data for key, (_, data) in storage._objects.items() if key.startswith(folder)}


async def claimed(database: Database, storage: FakeStorage) -> set[str]:
    rows = await database.read(lambda tx: tx.execute(sa.select(outputs.c.uri)).scalars().all())
    return {uri.removeprefix(storage.uri("")) for uri in rows}


async def test_every_format_ends_in_a_manifest(
    api: Api, story: Story, exporting: Exports, database: Database, storage: FakeStorage
) -> None:
    job = await request(api, story, {"formats": EVERY, "latest": True, "pretty": True})
    export = await done(api, exporting, job)
    assert (export["status"], export["error_message"]) == ("completed", None)
    found = below(storage)
    manifest = json.loads(found[f"out/{job.ref}/manifest.json"])
    assert export["destination_uri"] == storage.uri(f"out/{job.ref}/manifest.json")
    assert export["sha256"] == hashlib.sha256(found[f"out/{job.ref}/manifest.json"]).hexdigest()
    ends = {f"out/{job.ref}/manifest.json", f"out/{job.ref}/_SUCCESS", "out/latest.json"}
    assert set(found) == {each["name"] for each in manifest["files"]} | ends
    for each in manifest["files"]:
        assert each["sha256"] == hashlib.sha256(found[each["name"]]).hexdigest()
        assert each["size_bytes"] == len(found[each["name"]])
    assert export["files"] == [{**each, "connector_id": None} for each in manifest["files"]]
    assert {each["format"] for each in manifest["files"] + manifest["left_out"]} == set(EVERY)
    assert all(each["why"] for each in manifest["left_out"])
    assert found[f"out/{job.ref}/_SUCCESS"] == b""
    assert json.loads(found["out/latest.json"])["manifest"] == f"{job.ref}/manifest.json"
    assert set(found) <= await claimed(database, storage)


async def test_failed_and_skipped_files_are_in_the_export(
    api: Api, story: Story, exporting: Exports, storage: FakeStorage, tmp_path: Path
) -> None:
    job = await request(api, story, {"formats": ["json", "csv", "jsonl", "parquet"], "pretty": True})
    await done(api, exporting, job)
    found = below(storage)
    document = json.loads(found[f"out/{job.ref}.json"])
    jsonschema.validate(document, json_schema())
    assert b'\n  "media": [\n    {\n' in found[f"out/{job.ref}.json"]
    [failure, skipped] = document["failures"]
    assert (failure["key"], failure["error_code"], failure["stage"]) == (
        "b.mp4",
        "media_unreadable",
        "import",
    )
    assert (skipped["key"], skipped["status"]) == ("c.txt", "skipped")
    text = found[f"out/{job.ref}/failures/{story.run_id}.csv"].decode()
    assert next(csv.DictReader(io.StringIO(text)))["error_message"] == "moov atom not found"
    lines = found[f"out/{job.ref}/failures/{story.run_id}.jsonl"].splitlines()
    assert [json.loads(line) for line in lines] == [failure, skipped]
    (tmp_path / "f.parquet").write_bytes(found[f"out/{job.ref}/failures/{story.run_id}.parquet"])
    with duckdb.connect() as connection:
        keys = connection.sql(f"select key from '{tmp_path}/f.parquet'").fetchall()
    assert keys == [("b.mp4",), ("c.txt",)]


async def test_one_file_an_item_named_by_a_template(
    api: Api, story: Story, exporting: Exports, storage: FakeStorage
) -> None:
    options = {"formats": ["json", "csv"], "files": "item", "name": "{index}/{date}/{stem}.{ext}"}
    job = await request(api, story, options)
    export = await done(api, exporting, job)
    names = [each["name"] for each in export["files"]]
    assert [name.partition("-09-21/")[2].partition("-")[0] for name in names[:2]] == ["a", "a"]
    assert all(name.startswith(f"out/{INDEX}/2026-09-21/") for name in names[:2])
    failures = f"out/{job.ref}/failures/{story.run_id}"
    assert names[2:] == [f"{failures}.json", f"{failures}.csv"]
    document = json.loads(below(storage)[names[0]])
    jsonschema.validate(document, json_schema())
    assert ([each["video"]["key"] for each in document["media"]], document["failures"]) == (["a.mp4"], [])


async def unkilled(
    api: Api, story: Story, exporting: Exports, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, bytes], list[str]]:
    """What an export leaves that nobody kills, without the ids of the export, and its writes in their order."""
    order: list[str] = []
    write = storage.write

    async def note(key: str, source: Path, *, content_type: str) -> WriteResult:
        order.append(key)
        return await write(key, source, content_type=content_type)

    monkeypatch.setattr(storage, "write", note)
    job = await request(api, story, {"formats": EVERY, "latest": True})
    await done(api, exporting, job)
    monkeypatch.undo()
    return below(storage), order


async def test_the_end_comes_last(
    api: Api, story: Story, exporting: Exports, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, order = await unkilled(api, story, exporting, storage, monkeypatch)
    assert [key.rpartition("/")[2] for key in order[-3:]] == ["manifest.json", "_SUCCESS", "latest.json"]
    assert len(order) == len(set(order)) >= 9


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_kills_at_every_write_leave_nothing_half_and_nothing_double(
    api: Api,
    story: Story,
    exporting: Exports,
    database: Database,
    storage: FakeStorage,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    job = await request(api, story, {"formats": EVERY, "latest": True})
    write, lives = storage.write, 0
    killed: set[str] = set()

    async def die_once(key: str, source: Path, *, content_type: str) -> WriteResult:
        assert key in await claimed(database, storage)
        if key not in killed and moment == "before":
            killed.add(key)
            raise _Killed
        written = await write(key, source, content_type=content_type)
        if key not in killed:
            killed.add(key)
            raise _Killed
        return written

    monkeypatch.setattr(storage, "write", die_once)
    while lives < 60:
        lives += 1
        try:
            await exporting.export(job)
        except _Killed:
            continue
        break
    export = await api.get(f"/exports/{job.ref}")
    assert (export["status"], lives) == ("completed", len(killed) + 1)
    assert set(below(storage)) == killed
    manifest = json.loads(below(storage)[f"out/{job.ref}/manifest.json"])
    named = {each["name"]: each["sha256"] for each in manifest["files"]}
    stored = {key: hashlib.sha256(data).hexdigest() for key, data in below(storage).items()}
    assert {key: stored[key] for key in named} == named
    assert len(stored) == len(named) + 3
    assert not list((exporting._folder).glob("*.draft"))


async def kill_at(
    exporting: Exports, job: Job, storage: FakeStorage, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let an attempt die before it writes the file with this end."""
    write = storage.write

    async def die(key: str, source: Path, *, content_type: str) -> WriteResult:
        if key.endswith(end):
            raise _Killed
        return await write(key, source, content_type=content_type)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "write", die)
        with pytest.raises(_Killed):
            await exporting.export(job)


async def change_results(database: Database) -> None:
    await database.write(lambda tx: tx.execute(sa.update(prompt_runs).values(error_message="later")))


async def test_files_of_an_incomplete_attempt_are_replaced_when_results_changed(
    api: Api,
    story: Story,
    exporting: Exports,
    database: Database,
    storage: FakeStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = await request(api, story, {"formats": ["json"], "latest": True})
    await kill_at(exporting, job, storage, "manifest.json", monkeypatch)
    before = below(storage)
    await change_results(database)
    assert (await done(api, exporting, job))["status"] == "completed"
    name = f"out/{job.ref}.json"
    assert before[name] != below(storage)[name]
    [file] = json.loads(below(storage)[f"out/{job.ref}/manifest.json"])["files"]
    assert file["sha256"] == hashlib.sha256(below(storage)[name]).hexdigest()


async def test_a_complete_attempt_is_taken_over_when_results_changed(
    api: Api,
    story: Story,
    exporting: Exports,
    database: Database,
    storage: FakeStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = await request(api, story, {"formats": ["json", "csv"], "latest": True})
    await kill_at(exporting, job, storage, "_SUCCESS", monkeypatch)
    before = below(storage)
    await change_results(database)
    export = await done(api, exporting, job)
    assert export["status"] == "completed"
    assert {key: below(storage)[key] for key in before} == before
    assert [each["sha256"] for each in export["files"]] == [
        hashlib.sha256(before[each["name"]]).hexdigest() for each in export["files"]
    ]


@pytest.mark.parametrize("name", ["{export}.json", "{export}/manifest.json", "latest.json"])
async def test_what_others_put_there_is_left_alone(
    api: Api, story: Story, exporting: Exports, database: Database, storage: FakeStorage, name: str
) -> None:
    job = await request(api, story, {"formats": ["json"], "latest": True})
    key = "out/" + name.format(export=job.ref)
    storage.put(key, b"mine")
    export = await done(api, exporting, job)
    assert export["status"] == "failed"
    assert key in export["error_message"] or "other content" in export["error_message"]
    assert below(storage)[key] == b"mine"
    assert key not in await claimed(database, storage), "it may be an input: nothing hides it"


async def test_the_pointer_never_goes_back(
    api: Api, story: Story, exporting: Exports, storage: FakeStorage, clock: FakeClock
) -> None:
    first = await request(api, story, {"latest": True})
    clock.advance(5)
    second = await request(api, story, {"latest": True})
    for job, leads_to in ((second, second), (first, second)):
        await done(api, exporting, job)
        assert json.loads(below(storage)["out/latest.json"])["export_id"] == leads_to.ref
    clock.advance(5)
    third = await request(api, story, {"latest": True})
    await done(api, exporting, third)
    assert json.loads(below(storage)["out/latest.json"])["export_id"] == third.ref


async def test_sidecars_stand_beside_their_source(
    api: Api, story: Story, exporting: Exports, database: Database, storage: FakeStorage
) -> None:
    storage.put("a.jsonl", b"somebody else's")
    options = {"formats": ["csv", "jsonl"], "files": "item", "sidecars": True}
    export = await done(api, exporting, await request(api, story, options))
    [table, lines, *failures] = [each["name"] for each in export["files"]]
    assert table == "a.csv"
    assert lines.startswith("a.")
    assert lines.endswith(".jsonl")
    assert lines != "a.jsonl"
    assert storage._objects["a.jsonl"][1] == b"somebody else's"
    assert all(name.startswith("out/") for name in failures)
    ours = await claimed(database, storage)
    assert {table, lines} <= ours
    assert "a.jsonl" not in ours


async def test_a_name_that_is_too_long_beside_its_source_is_left_out(
    api: Api, story: Story, exporting: Exports, database: Database, storage: FakeStorage
) -> None:
    key = f"{'a' * 250}.mp4"
    await database.write(lambda tx: tx.execute(sa.update(media).values(key=key)))
    job = await request(api, story, {"formats": ["csv", "jsonl"], "files": "item", "sidecars": True})
    export = await done(api, exporting, job)
    assert (export["status"], export["error_message"]) == ("completed", None)
    assert f"{'a' * 250}.csv" in {each["name"] for each in export["files"]}
    left = json.loads(below(storage)[f"out/{job.ref}/manifest.json"])["left_out"]
    assert {(each["format"], each["key"]) for each in left} == {("jsonl", key)}
    assert all("too long" in each["why"] for each in left)


async def later(api: Api, story: Story, exporting: Exports, clock: FakeClock, **options: Any) -> Any:
    """A later export of the same run with sidecars."""
    clock.advance(5)
    options = {"formats": ["csv", "jsonl"], "files": "item", "sidecars": True, **options}
    export = await done(api, exporting, await request(api, story, options))
    assert (export["status"], export["error_message"]) == ("completed", None)
    return export


def beside(storage: FakeStorage) -> set[str]:
    return {key for key in storage._objects if key.startswith("a.")} - {"a.mp4"}


async def test_a_later_export_replaces_the_files_beside_the_source(
    api: Api, story: Story, exporting: Exports, database: Database, storage: FakeStorage, clock: FakeClock
) -> None:
    storage.put("a.jsonl", b"somebody else's")
    await later(api, story, exporting, clock)
    [spare] = beside(storage) - {"a.csv", "a.jsonl"}
    before = storage._objects["a.csv"][0].version
    await database.write(lambda tx: tx.execute(sa.update(media).values(title="renamed")))
    second = await later(api, story, exporting, clock)
    assert storage._objects["a.csv"][0].version != before
    assert b"renamed" in storage._objects["a.csv"][1]
    [other] = beside(storage) - {"a.csv", "a.jsonl"}
    assert other != spare, "the one of the first export is gone"
    assert {each["name"] for each in second["files"][:2]} == {"a.csv", other}
    assert spare not in await claimed(database, storage)
    await later(api, story, exporting, clock, formats=["csv"])
    assert beside(storage) == {"a.csv", "a.jsonl"}
    assert storage._objects["a.jsonl"][1] == b"somebody else's"


@pytest.mark.parametrize("data", [b"a person wrote this", None], ids=["another size", "the same size"])
async def test_what_a_person_edited_beside_the_source_is_theirs(
    api: Api,
    story: Story,
    exporting: Exports,
    database: Database,
    storage: FakeStorage,
    clock: FakeClock,
    data: bytes | None,
) -> None:
    await later(api, story, exporting, clock)
    edited = data or storage._objects["a.csv"][1][:-1] + b"!"
    storage.put("a.csv", edited)
    second = await later(api, story, exporting, clock)
    [table] = [each["name"] for each in second["files"] if each["format"] == "csv"][:1]
    assert table != "a.csv"
    assert "a.csv" not in await claimed(database, storage)
    await later(api, story, exporting, clock, formats=["jsonl"])
    assert beside(storage) == {"a.csv", "a.jsonl"}
    assert storage._objects["a.csv"][1] == edited


async def test_an_older_export_leaves_the_files_of_a_newer_one(
    api: Api, story: Story, exporting: Exports, database: Database, storage: FakeStorage, clock: FakeClock
) -> None:
    options = {"formats": ["csv"], "files": "item", "sidecars": True}
    older = await request(api, story, options)
    await later(api, story, exporting, clock)
    before = {key: storage._objects[key][1] for key in beside(storage)}
    await database.write(lambda tx: tx.execute(sa.update(media).values(title="renamed")))
    await done(api, exporting, older)
    assert {key: storage._objects[key][1] for key in beside(storage)} == before
    [left] = json.loads(below(storage)[f"out/{older.ref}/manifest.json"])["left_out"]
    assert "a newer export" in left["why"]


async def test_exports_of_another_prompt_have_their_own_files(
    api: Api, story: Story, exporting: Exports, database: Database, storage: FakeStorage, clock: FakeClock
) -> None:
    await later(api, story, exporting, clock)
    first = {key: storage._objects[key][0].version for key in beside(storage)}
    await database.write(lambda tx: tx.execute(sa.update(prompt_runs).values(prompt_id="prompt_other")))
    await later(api, story, exporting, clock)
    assert {key: storage._objects[key][0].version for key in first} == first
    assert len(beside(storage)) == 4


async def test_a_foreign_pointer_stops_the_export_before_it_writes(
    api: Api, story: Story, exporting: Exports, database: Database, storage: FakeStorage, clock: FakeClock
) -> None:
    await done(api, exporting, await request(api, story, {"latest": True}))
    assert "out/latest.json" in await claimed(database, storage)
    storage.put("out/latest.json", b"a person's")
    clock.advance(5)
    job = await request(api, story, {"latest": True})
    export = await done(api, exporting, job)
    assert (export["status"], "out/latest.json" in export["error_message"]) == ("failed", True)
    assert storage._objects["out/latest.json"][1] == b"a person's"
    assert not [key for key in below(storage) if job.ref in key]
    assert "out/latest.json" not in await claimed(database, storage)


async def test_the_pointer_is_replaced_in_one_step(
    api: Api,
    story: Story,
    exporting: Exports,
    storage: FakeStorage,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(key: str, version: str) -> None:
        raise AssertionError(f"{key} is removed")

    monkeypatch.setattr(storage, "delete", refuse)
    for _ in range(2):
        job = await request(api, story, {"latest": True})
        assert (await done(api, exporting, job))["status"] == "completed"
        assert json.loads(below(storage)["out/latest.json"])["export_id"] == job.ref
        clock.advance(5)


async def test_a_name_that_somebody_else_takes_at_the_last_moment_is_not_claimed(
    api: Api,
    story: Story,
    exporting: Exports,
    database: Database,
    storage: FakeStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their file may be an input: a claim would hide it for ever."""
    write = storage.write

    async def interfere(key: str, source: Path, *, content_type: str) -> WriteResult:
        if key == "a.jsonl":
            storage.put(key, b"somebody else's")
        return await write(key, source, content_type=content_type)

    monkeypatch.setattr(storage, "write", interfere)
    options = {"formats": ["jsonl"], "files": "item", "sidecars": True}
    export = await done(api, exporting, await request(api, story, options))
    assert export["status"] == "completed"
    assert storage._objects["a.jsonl"][1] == b"somebody else's"
    assert "a.jsonl" not in await claimed(database, storage)


async def test_a_sidecar_leaves_the_name_of_the_pointer_free(
    api: Api, story: Story, exporting: Exports, database: Database, storage: FakeStorage
) -> None:
    await database.write(lambda tx: tx.execute(sa.update(media).values(key="out/latest.mp4")))
    options = {"files": "item", "sidecars": True, "latest": True}
    export = await done(api, exporting, job := await request(api, story, options))
    assert export["status"] == "completed"
    assert json.loads(below(storage)["out/latest.json"])["export_id"] == job.ref
    assert "out/latest.json" not in [each["name"] for each in export["files"]]


async def test_a_source_that_takes_no_exports_gets_no_sidecar(
    api: Api, story: Story, exporting: Exports, database: Database, storage: FakeStorage
) -> None:
    job = await request(api, story, {"formats": ["csv"], "files": "item", "sidecars": True})
    await database.write(lambda tx: tx.update(connectors, CONNECTOR, scopes=["import"]))
    await done(api, exporting, job)
    [left] = json.loads(below(storage)[f"out/{job.ref}/manifest.json"])["left_out"]
    assert (left["key"], left["format"], "scope" in left["why"]) == ("a.mp4", "csv", True)
    assert "a.csv" not in storage._objects


async def test_an_unreachable_store_is_waited_for(
    api: Api, story: Story, exporting: Exports, storage: FakeStorage
) -> None:
    job = await request(api, story, {"formats": ["csv"]})
    storage.broken = StorageUnavailable("away")
    export = await done(api, exporting, job)
    assert (export["status"], export["last_error"]) == ("pending", "away")


async def fetch(api: Api, export: Any) -> Any:
    return await api.client.get(export["download_url"])


async def test_one_file_is_downloaded_as_it_is(api: Api, story: Story, exporting: Exports) -> None:
    job = await request(api, story, {"formats": ["json"], "pretty": True}, connector=False)
    export = await done(api, exporting, job)
    response = await fetch(api, export)
    assert response.headers["content-type"] == "application/json"
    assert response.json()["export_id"] == job.ref
    assert hashlib.sha256(response.content).hexdigest() == export["sha256"]


async def test_several_files_are_downloaded_in_one_zip(
    api: Api, story: Story, exporting: Exports, clock: FakeClock
) -> None:
    job = await request(api, story, {"formats": EVERY, "files": "item"}, connector=False)
    export = await done(api, exporting, job)
    response = await fetch(api, export)
    assert response.headers["content-type"] == "application/zip"
    assert f"{job.ref}.zip" in response.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(response.content)) as package:
        assert package.namelist() == [each["name"] for each in export["files"]] + ["manifest.json"]
        for each in export["files"]:
            assert hashlib.sha256(package.read(each["name"])).hexdigest() == each["sha256"]
    (exporting._folder / f"{job.ref}.download").unlink()
    clock.advance(1_000)
    assert (await fetch(api, export)).content == response.content


async def test_a_download_that_would_be_too_large_is_compressed(
    api: Api, story: Story, exporting: Exports, clock: FakeClock
) -> None:
    job = await request(api, story, {"formats": EVERY, "files": "item"}, connector=False)
    stored = len((await fetch(api, await done(api, exporting, job))).content)
    exporting._most_bytes = stored - 1
    job = await request(api, story, {"formats": EVERY, "files": "item"}, connector=False)
    export = await done(api, exporting, job)
    response = await fetch(api, export)
    assert len(response.content) < stored
    with zipfile.ZipFile(io.BytesIO(response.content)) as package:
        assert {each.compress_type for each in package.infolist()} == {zipfile.ZIP_DEFLATED}
        assert package.namelist() == [each["name"] for each in export["files"]] + ["manifest.json"]
        for each in export["files"]:
            assert hashlib.sha256(package.read(each["name"])).hexdigest() == each["sha256"]
    (exporting._folder / f"{job.ref}.download").unlink()
    clock.advance(1_000)
    again = await exporting.document(await exporting._database.read(exports.get, job.ref))
    assert again.read_bytes() == response.content
    assert {path.suffix for path in exporting._folder.iterdir()} == {".download"}


async def test_one_file_that_is_too_large_is_compressed_too(
    api: Api, story: Story, exporting: Exports
) -> None:
    job = await request(api, story, {"formats": ["json"], "pretty": True}, connector=False)
    document = (await fetch(api, await done(api, exporting, job))).content
    exporting._most_bytes = len(document) - 1
    job = await request(api, story, {"formats": ["json"], "pretty": True}, connector=False)
    export = await done(api, exporting, job)
    response = await fetch(api, export)
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as package:
        (name, manifest) = package.namelist()
        assert manifest == "manifest.json"
        assert len(package.read(name)) == len(document)


async def test_a_download_has_its_bound(api: Api, story: Story, exporting: Exports) -> None:
    exporting._most_bytes = 500
    job = await request(api, story, {"formats": EVERY}, connector=False)
    export = await done(api, exporting, job)
    assert export["status"] == "failed"
    assert "500 bytes that can be downloaded, also compressed" in export["error_message"]
    assert list(exporting._folder.iterdir()) == []


async def test_an_index_has_one_file_for_each_run(api: Api, story: Story, exporting: Exports) -> None:
    job = await request(api, story, {"formats": ["csv"]}, path=f"/exports/index/{INDEX}")
    export = await done(api, exporting, job)
    assert export["files"][0]["name"] == f"out/{job.ref}/{story.run_id}.csv"


REFUSED = [
    ({"formats": ["doc"]}, "the formats are json, "),
    ({"formats": ["csv"], "name": "../{export}.{ext}"}, "leave out"),
    ({"formats": ["csv"], "name": "{show}.{ext}"}, "{stem}"),
]


@pytest.mark.parametrize(("options", "hint"), REFUSED)
async def test_options_that_cannot_be_are_refused(
    api: Api, story: Story, options: dict[str, Any], hint: str
) -> None:
    for method, path, more in (
        ("POST", f"/exports/prompt-run/{story.run_id}", {}),
        ("POST", f"/exports/index/{INDEX}", {}),
        ("PUT", f"/indexes/{INDEX}/automations/export", {"destination_connector_id": CONNECTOR}),
    ):
        error = await api.error(method, path, 422, json={**more, "options": options})
        assert hint in error["details"]["hint"]


async def test_a_format_that_is_not_installed_is_refused(
    api: Api, story: Story, exporting: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await request(api, story, {"formats": ["parquet"]})
    monkeypatch.setattr("vvwatch.extras.find_missing_package", lambda _: "arro3-io")
    export = await done(api, exporting, job)  # it was there when it was asked for
    assert (export["status"], "arro3-io" in export["error_message"]) == ("failed", True)
    body = {"options": {"formats": ["parquet"]}}
    error = await api.error("POST", f"/exports/prompt-run/{story.run_id}", 422, json=body)
    assert "arro3-io" in error["message"]
    assert "install" in error["details"]["hint"]


async def test_a_folder_that_leaves_no_room_for_names_is_refused(api: Api, story: Story) -> None:
    body = {"destination_connector_id": CONNECTOR, "destination_subpath": "long/" * 70}
    for options, status in ((None, 202), ({"pretty": True}, 422)):
        more = {"options": options} if options else {}
        await api.ask("POST", f"/exports/prompt-run/{story.run_id}", status=status, json={**body, **more})


@pytest.mark.parametrize("option", ["sidecars", "latest"])
async def test_a_download_stands_nowhere(api: Api, story: Story, option: str) -> None:
    body = {"options": {option: True}}
    error = await api.error("POST", f"/exports/prompt-run/{story.run_id}", 422, json=body)
    assert "destination_connector_id" in error["message"]


async def test_an_automation_keeps_its_options(api: Api, story: Story) -> None:
    options = {"formats": ["csv", "json"], "latest": True}
    body = {"destination_connector_id": CONNECTOR, "options": options}
    whole = {"name": None, "files": "run", "sidecars": False, "pretty": False, **options}
    saved = await api.put(f"/indexes/{INDEX}/automations/export", body)
    assert saved["options"] == whole
    plain = await api.put(f"/indexes/{INDEX}/automations/export", {"destination_connector_id": CONNECTOR})
    assert plain["options"] is None
