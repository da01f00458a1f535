"""Exports that somebody asks for, from the request to the document."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from tests.api.asking import Api
from tests.api.conftest import documents_in
from tests.api.story import CONNECTOR, INDEX, Story
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import jobs_of
from vvwatch.api.routes.exports import to_response
from vvwatch.core.exports import ExportOptions, ExportStatus, QueueStatus
from vvwatch.core.runs import Results, RunStatus
from vvwatch.errors import AccessDenied, StorageUnavailable
from vvwatch.ports import Kind, Priority
from vvwatch.store.db.database import Database
from vvwatch.store.delivery.exports import begin
from vvwatch.store.models.delivery import Export
from vvwatch.store.schema import connectors, prompt_runs
from vvwatch.workflow.pipeline.exports import Exports

pytestmark = pytest.mark.anyio


@pytest.fixture
def exporting(
    database: Database, clock: FakeClock, storage: FakeStorage, context: Any, tmp_path: Path
) -> Exports:
    """Does what is asked for, in the folder that documents are downloaded from."""
    made = documents_in(tmp_path / "work", database, clock, storage)
    made._folder = tmp_path / "exports"
    return made


async def done(api: Api, exporting: Exports, path: str, body: Any = None) -> Any:
    """The export that was asked for, when it has been made."""
    created = await api.post(path, body, status=202)
    assert set(created) == {"export_id", "status"}
    assert created["status"] == "pending"
    [job] = jobs_of(api.context.database).take(Kind.EXPORT)
    assert (job.ref, job.priority) == (created["export_id"], Priority.MANUAL)
    await exporting.export(job)
    return await api.get(f"/exports/{created['export_id']}")


async def downloaded(api: Api, export: Any) -> Any:
    return (await api.client.get(export["download_url"])).json()


async def another_run(database: Database, run_id: str, **changes: Any) -> str:
    """A run of the story's index, without media."""
    values = {"index_id": INDEX, "prompt_id": "p", "status": RunStatus.COMPLETED, "created_at": 1.0}
    await database.write(
        lambda tx: tx.insert(prompt_runs, id=run_id, **{**values, "completed_at": 1.0, **changes})
    )
    return run_id


async def test_an_index_is_exported_and_downloaded(api: Api, story: Story, exporting: Exports) -> None:
    export = await done(api, exporting, f"/exports/index/{INDEX}")
    assert (export["status"], export["queue_status"], export["attempts"]) == ("completed", "succeeded", 1)
    assert (export["export_type"], export["target_id"]) == ("index", INDEX)
    assert export["export_params"]["prompt_run_ids"] is None
    [part] = export["parts"]
    assert part["size_bytes"] == export["file_size_bytes"] > 0
    assert part["sha256"] == export["sha256"]
    document = await downloaded(api, export)
    assert [run["run_id"] for run in document["runs"]] == [story.run_id]
    assert [media["video"]["title"] for media in document["media"]] == ["a.mp4"]
    assert "part" not in document


async def test_a_run_is_exported_and_downloaded(api: Api, story: Story, exporting: Exports) -> None:
    export = await done(api, exporting, f"/exports/prompt-run/{story.run_id}", {})
    assert (export["export_type"], export["target_id"]) == ("prompt_run", story.run_id)
    document = await downloaded(api, export)
    assert document["target"] == {"id": story.run_id, "index_id": INDEX, "run_id": story.run_id}
    assert len(document["media"]) == 1


async def test_only_the_named_runs_are_exported(
    api: Api, story: Story, database: Database, exporting: Exports
) -> None:
    await another_run(database, "run_0")
    wanted = ["run_0", story.run_id, "run_0"]
    export = await done(api, exporting, f"/exports/index/{INDEX}", {"prompt_run_ids": wanted})
    assert export["export_params"]["prompt_run_ids"] == ["run_0", story.run_id]
    assert export["run_id"] is None
    assert {run["run_id"] for run in (await downloaded(api, export))["runs"]} == {"run_0", story.run_id}
    export = await done(api, exporting, f"/exports/index/{INDEX}", {"prompt_run_ids": ["run_0"]})
    assert (await downloaded(api, export))["media"] == []


async def test_what_has_not_ended_is_not_in_it(
    api: Api, story: Story, database: Database, exporting: Exports
) -> None:
    going = await another_run(database, "run_0", status=RunStatus.PROCESSING, completed_at=None)
    for body in (None, {"prompt_run_ids": [going, story.run_id]}):
        export = await done(api, exporting, f"/exports/index/{INDEX}", body)
        assert [run["run_id"] for run in (await downloaded(api, export))["runs"]] == [story.run_id]
    error = await api.error("POST", f"/exports/prompt-run/{going}", 409)
    assert "processing" in error["message"]


async def test_results_that_are_gone_are_not_exported_as_none(
    api: Api, story: Story, database: Database, exporting: Exports
) -> None:
    gone = await another_run(database, "run_0", results=Results.DROPPED)
    body = {"prompt_run_ids": [gone]}
    for path, asked in ((f"/exports/prompt-run/{gone}", None), (f"/exports/index/{INDEX}", body)):
        assert "no longer kept" in (await api.error("POST", path, 409, json=asked))["message"]
    export = await done(api, exporting, f"/exports/index/{INDEX}")
    assert [run["run_id"] for run in (await downloaded(api, export))["runs"]] == [story.run_id]


async def test_an_export_goes_to_a_connector(
    api: Api, story: Story, database: Database, exporting: Exports, storage: FakeStorage
) -> None:
    await database.write(lambda tx: tx.update(connectors, CONNECTOR, export_base_path="out"))
    body = {"destination_connector_id": CONNECTOR, "destination_subpath": "team"}
    export = await done(api, exporting, f"/exports/prompt-run/{story.run_id}", body)
    key = f"out/team/{export['export_id']}.json"
    assert export["destination_uri"] == export["gcs_uri"] == storage.uri(key)
    assert (export["download_url"], export["parts"]) == (None, None)
    assert export["export_params"] == {
        "prompt_run_ids": None,
        "destination_connector_id": CONNECTOR,
        "destination_base_path": "out",
        "destination_subpath": "team",
    }
    assert {name for name in storage._objects if name.startswith("out/")} == {
        key,
        f"out/team/{export['export_id']}.manifest.json",
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("index/idx_none", None, 404, "resource_index_not_found"),
        ("prompt-run/run_none", None, 404, "resource_prompt_run_not_found"),
        (
            f"index/{INDEX}",
            {"destination_connector_id": "conn_none"},
            404,
            "resource_connector_not_found",
        ),
        (f"index/{INDEX}", {"prompt_run_ids": ["run_none"]}, 422, "validation_error"),
        (f"index/{INDEX}", {"destination_connector_id": "conn_deaf"}, 422, "validation_error"),
        (
            f"index/{INDEX}",
            {"destination_connector_id": CONNECTOR, "destination_subpath": "a/../../b"},
            422,
            "validation_error",
        ),
        (
            f"index/{INDEX}",
            {"destination_connector_id": CONNECTOR, "destination_subpath": "/a"},
            422,
            "validation_error",
        ),
        (f"index/{INDEX}", {"destination_subpath": "a"}, 422, "validation_error"),
        (f"index/{INDEX}", {"result_scope": "matches"}, 422, "validation_error"),
        (f"index/{INDEX}", {"surprise": 1}, 422, "validation_error"),
        ("prompt-run/run_none", {"prompt_run_ids": []}, 422, "validation_error"),
    ],
)
async def test_what_cannot_be_exported_is_refused(
    api: Api, story: Story, database: Database, path: str, body: Any, status: int, code: str
) -> None:
    deaf = {"name": "deaf", "provider": "local", "settings": {"root": "/in"}, "scopes": ["import"]}
    await database.write(lambda tx: tx.insert(connectors, id="conn_deaf", created_at=1.0, **deaf))
    before = await api.get("/exports")
    assert (await api.error("POST", f"/exports/{path}", status, json=body))["code"] == code
    assert await api.get("/exports") == before


async def test_the_scope_all_is_the_one_there_is(api: Api, story: Story) -> None:
    created = await api.post(f"/exports/index/{INDEX}", {"result_scope": "all"}, status=202)
    export = await api.get(f"/exports/{created['export_id']}")
    assert export["result_scope"] == "all"
    assert "result_scope" not in export["export_params"]


async def test_no_body_and_an_empty_one_are_the_same_request(api: Api, story: Story) -> None:
    headers = {"Idempotency-Key": "export-create:1"}
    url = f"/api/v2/exports/index/{INDEX}"
    first = await api.client.post(url, headers=headers)
    again = await api.client.post(url, headers=headers, json={})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await api.client.post(url, headers=headers, json={"prompt_run_ids": [story.run_id]})
    assert other.status_code == 409


async def test_exports_are_listed_newest_first(api: Api, story: Story, clock: FakeClock) -> None:
    ids = [story.export_id]
    for _ in range(3):
        clock.advance(1)
        ids.insert(0, (await api.post(f"/exports/index/{INDEX}", status=202))["export_id"])
    assert [export["export_id"] for export in await api.get("/exports")] == ids
    assert [export["export_id"] for export in await api.get("/exports", limit=2)] == ids[:2]
    for limit, status in ((0, 422), (200, 200), (201, 422)):
        await api.ask("GET", "/exports", params={"limit": limit}, status=status)


async def test_a_large_document_comes_in_parts(
    api: Api, story: Story, exporting: Exports, database: Database, tmp_path: Path
) -> None:
    await in_parts(api, story, exporting, database)
    export = await done(api, exporting, f"/exports/index/{INDEX}")
    parts = export["parts"]
    assert [part["number"] for part in parts] == [1, 2, 3]
    assert export["file_size_bytes"] == parts[0]["size_bytes"]
    documents = []
    for part in parts:
        answer = await api.client.get(part["download_url"])
        assert len(answer.content) == part["size_bytes"] <= exporting._most_bytes
        documents.append(answer.json())
    assert [document["part"] for document in documents] == [{"number": n, "count": 3} for n in (1, 2, 3)]
    videos = [media["video"]["video_id"] for document in documents for media in document["media"]]
    assert videos == [story.video_id, "vid_0", "vid_1"]
    first = await api.client.get(export["download_url"])
    assert first.json() == documents[0]


async def in_parts(api: Api, story: Story, exporting: Exports, database: Database) -> None:
    """From now on documents of the index come in three parts."""
    whole = await done(api, exporting, f"/exports/index/{INDEX}")
    exporting._most_bytes = whole["file_size_bytes"] + 100
    for number in range(2):
        await copy_item(database, story, f"vid_{number}")


async def test_every_node_builds_the_same_parts(
    api: Api, story: Story, exporting: Exports, database: Database, tmp_path: Path
) -> None:
    await in_parts(api, story, exporting, database)
    export = await done(api, exporting, f"/exports/index/{INDEX}")
    shutil.rmtree(tmp_path / "exports")
    (tmp_path / "exports").mkdir()
    api.context.document.__self__._most_bytes = exporting._most_bytes  # type: ignore[attr-defined]
    for part in reversed(export["parts"]):
        content = (await api.client.get(part["download_url"])).content
        assert hashlib.sha256(content).hexdigest() == part["sha256"]


async def test_an_attempt_that_died_between_two_parts_is_made_again(
    api: Api, story: Story, exporting: Exports, database: Database, tmp_path: Path
) -> None:
    await in_parts(api, story, exporting, database)
    created = await api.post(f"/exports/index/{INDEX}", status=202)
    [job] = jobs_of(database).take(Kind.EXPORT)
    work = await database.write(begin, job)
    assert work is not None
    await exporting._build(work)
    (tmp_path / "exports" / f"{work.export.id}.2.json").rename(
        tmp_path / "exports" / f"{work.export.id}.2.part"
    )
    for _ in range(2):  # the engine hands it out once more, and once too often
        await exporting.export(job)
    export = await api.get(f"/exports/{created['export_id']}")
    assert (export["status"], export["attempts"], len(export["parts"])) == ("completed", 2, 3)
    for part in export["parts"]:
        content = (await api.client.get(part["download_url"])).content
        assert hashlib.sha256(content).hexdigest() == part["sha256"]
    assert list((tmp_path / "exports").glob("*.part")) == []


async def test_documents_of_exports_that_are_gone_are_removed(
    api: Api, story: Story, exporting: Exports, tmp_path: Path
) -> None:
    kept = await done(api, exporting, f"/exports/index/{INDEX}")
    folder = tmp_path / "exports"
    for name in ("exp_gone.json", "exp_gone.2.json", "exp_gone.part"):
        (folder / name).touch()
    (folder / "tmpdraft" / "deep").mkdir(parents=True)  # of a table that a killed process was writing
    assert await exporting.remove_orphans() == 2
    exporting.prepare()
    assert [path.name for path in folder.iterdir()] == [f"{kept['export_id']}.json"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "completed"),
        (StorageUnavailable("it is away"), "pending"),
        (AccessDenied("it may not"), "failed"),
    ],
)
async def test_what_goes_to_a_connector_is_kept_on_no_disk_of_ours(
    api: Api,
    story: Story,
    exporting: Exports,
    storage: FakeStorage,
    tmp_path: Path,
    error: Exception | None,
    status: str,
) -> None:
    storage.broken = error
    body = {"destination_connector_id": CONNECTOR}
    export = await done(api, exporting, f"/exports/prompt-run/{story.run_id}", body)
    assert export["status"] == status
    assert list((tmp_path / "exports").iterdir()) == []


async def test_what_a_dead_process_left_of_a_delivered_export_is_removed(
    api: Api, story: Story, exporting: Exports, tmp_path: Path
) -> None:
    (tmp_path / "exports" / f"{story.export_id}.json").touch()
    assert await exporting.remove_orphans() == 1


async def test_a_document_whose_media_is_too_large_fails_and_says_why(
    api: Api, story: Story, exporting: Exports
) -> None:
    exporting._most_bytes = 1_500
    export = await done(api, exporting, f"/exports/index/{INDEX}")
    assert (export["status"], export["queue_status"]) == ("failed", "dead_letter")
    assert story.video_id in export["error_message"]
    assert export["download_url"] is None


async def copy_item(database: Database, story: Story, video_id: str) -> None:
    """The run has one more video, in which it found the same."""
    from vvwatch.store.schema import media, run_items, segment_results

    def copy(tx: Any) -> None:
        video = tx.execute(select(media).where(media.c.id == story.video_id)).one()._mapping
        tx.insert(media, **{**video, "id": video_id, "import_file_id": None})
        item = dict(
            tx.execute(select(run_items).where(run_items.c.media_id == story.video_id)).one()._mapping
        )
        segments = tx.all(select(segment_results).where(segment_results.c.run_item_id == item["id"]))
        number = tx.execute(select(run_items.c.id).order_by(run_items.c.id.desc())).scalars().first() + 1
        tx.insert(run_items, **{**item, "id": number, "media_id": video_id})
        for segment in segments:
            tx.insert(segment_results, **{**segment._mapping, "run_item_id": number})

    await database.write(copy)


# What the strictest reader asks of an export

texts = st.none() | st.text("abc/ü.", min_size=1, max_size=8)
names = st.text("abcé _-%", min_size=1, max_size=8).filter(lambda name: name == name.strip())
moments = st.none() | st.floats(0, 4e9)
digests = st.none() | st.lists(
    st.fixed_dictionaries({"size_bytes": st.integers(0, 1 << 26), "sha256": st.just("00")}), max_size=3
)


@st.composite
def export_rows(draw: st.DrawFn) -> Any:
    """A row of an export in any of its states."""
    status, queue_status = draw(
        st.sampled_from(
            [
                (ExportStatus.PENDING, QueueStatus.QUEUED),
                *((ExportStatus.PROCESSING, each) for each in (QueueStatus.LEASED, QueueStatus.RUNNING)),
                (ExportStatus.COMPLETED, QueueStatus.SUCCEEDED),
                (ExportStatus.FAILED, QueueStatus.DEAD_LETTER),
                (ExportStatus.FAILED, QueueStatus.FAILED),
            ]
        )
    )
    delivered = draw(st.booleans())
    completed = status is ExportStatus.COMPLETED
    values: dict[str, Any] = {
        "id": draw(names),
        "export_type": draw(st.sampled_from(["index", "prompt_run"])),
        "target_id": draw(names),
        "index_id": draw(texts),
        "run_id": draw(texts),
        "automation_id": draw(texts),
        "prompt_run_ids": draw(st.none() | st.lists(names, min_size=1, max_size=3)),
        "status": status,
        "queue_status": queue_status,
        "attempts": draw(st.integers(0, 200)),
        "max_attempts": draw(st.integers(1, 200)),
        "destination_type": "connector" if delivered else "download",
        "destination_connector_id": draw(names) if delivered else None,
        "destination_base_path": draw(texts) if delivered else None,
        "destination_subpath": draw(texts) if delivered else None,
        "destination_uri": "s3://b/" + draw(names) if delivered and completed else None,
        "file_size_bytes": draw(st.integers(0, 1 << 26)) if completed else None,
        "sha256": "00" if completed else None,
        "parts": draw(digests) if completed and not delivered else None,
        "options": draw(st.none() | st.just(OPTIONS)),
        "files": draw(st.none() | st.just([])),
        "error_message": draw(texts),
        "last_error": draw(texts),
        "revision": 0,
        "next_at": None,
        "dismissed_at": draw(moments),
        **{name: draw(moments) for name in MOMENTS},
    }
    return Export(**values)


OPTIONS = ExportOptions(("csv",)).document()
MOMENTS = ("created_at", "available_at", "started_at", "completed_at", "updated_at")
STRICT_KEYS = {
    "export_id export_type target_id status queue_status attempts max_attempts destination_type",
    "destination_connector_id destination_base_path destination_subpath destination_uri gcs_uri download_url",
    "file_size_bytes error_message last_error export_params",
    " ".join(MOMENTS),
}


@given(export_rows())
def test_the_strictest_reader_takes_every_export(row: Export) -> None:
    export = to_response(row).model_dump(mode="json")
    assert {key for line in STRICT_KEYS for key in line.split()} <= set(export)
    assert export["export_id"].strip() == export["export_id"] == row.id != ""
    assert export["target_id"].strip()
    assert all(export[name] is None or export[name].endswith("Z") for name in MOMENTS)
    assert export["file_size_bytes"] is None or export["file_size_bytes"] >= 0
    is_download = export["destination_type"] == "download"
    assert (export["destination_connector_id"] is None) == is_download
    if is_download:
        assert export["destination_uri"] is None
    else:
        assert export["destination_uri"] == export["gcs_uri"]
        assert export["download_url"] is None
    check_download(export)
    params = export["export_params"]
    assert set(params) == {
        "prompt_run_ids",
        "destination_connector_id",
        "destination_base_path",
        "destination_subpath",
    }
    assert all(params[name] == export[name] for name in set(params) - {"prompt_run_ids"})
    assert params["prompt_run_ids"] is None or all(each.strip() for each in params["prompt_run_ids"])


def check_download(export: dict[str, Any]) -> None:
    url = export["download_url"]
    ready = export["status"] == "completed" and export["queue_status"] == "succeeded"
    assert (url is not None) == (ready and export["destination_type"] == "download")
    if url is not None:
        assert url == f"/api/v2/exports/{quote(export['export_id'], safe='')}/download"
        assert export["gcs_uri"].strip()
        assert [part["number"] for part in export["parts"]] == list(range(1, len(export["parts"]) + 1))
