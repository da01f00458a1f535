"""Files of other hosts: fetched into an import job, each on its own, and again when a person asks for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api, client_of
from tests.clock import FakeClock
from tests.file_host import FileHost, cut, has, refused
from tests.processing import FakeProcessor
from tests.store.pipeline import PROBE, jobs_of
from vvwatch.api.http.context import ApiContext
from vvwatch.core.networks import PRIVATE, AddressPolicy
from vvwatch.core.objects import StorageObject
from vvwatch.ports import Kind
from vvwatch.providers.local.storage import LocalStorage
from vvwatch.senders.downloads import Downloads
from vvwatch.senders.guard import Guard
from vvwatch.store.admin import invariants
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.store.imports import attachments as attachment_store
from vvwatch.store.models.catalog import Connector
from vvwatch.store.schema import import_files, media
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline import attachments
from vvwatch.workflow.pipeline.attachments import Attachments
from vvwatch.workflow.pipeline.imports import Imports
from vvwatch.workflow.pipeline.reading import Reading

pytestmark = pytest.mark.anyio

PATH = "/workflow/attachments"
MOVIE = b"\0\0\0\x18ftypmp42" * 100
SECRET = "signature=pl4nted"
PATIENT_SECONDS = 30


@pytest.fixture
def host() -> Iterator[FileHost]:
    with FileHost() as host:
        host.answers["/a.mp4"] = has(MOVIE)
        yield host


@pytest.fixture
async def near(context: ApiContext) -> AsyncIterator[Api]:
    """A server that may ask hosts of this machine, in plain HTTP."""
    settings = replace(
        context.settings, attachment_policy=AddressPolicy(allow_http=True, allow_networks=PRIVATE)
    )
    async with client_of(replace(context, settings=settings)) as client:
        yield await Api.prepared(client, replace(context, settings=settings))


@pytest.fixture
async def downloads() -> AsyncIterator[Downloads]:
    """Downloads with a deadline that a busy machine keeps."""
    downloads = Downloads(
        Guard(AddressPolicy(allow_http=True, allow_networks=PRIVATE)), 1 << 20, PATIENT_SECONDS
    )
    yield downloads
    await downloads.aclose()


@pytest.fixture
def work(context: ApiContext, clock: FakeClock, downloads: Downloads) -> Imports:
    """Imports that fetch what is not here yet."""
    root, database = context.uploads.folder.root, context.database

    def storage(row: Connector) -> LocalStorage:
        return LocalStorage(Path(row.settings["root"]), allowed_roots=[root])

    reading = Reading(clock, storage, FakeProcessor(probe=PROBE), {}, 3, lambda: 0.5)
    fetches = Attachments(database, context.box, context.uploads, downloads)
    return Imports(database, Telemetry("test"), reading, fetches)


async def worked(work: Imports, database: Database) -> None:
    """Do all that is due, until nothing is."""
    while jobs := jobs_of(database).take(Kind.IMPORT_FILE):
        for job in jobs:
            await work.file(job)


async def unbroken(database: Database) -> None:
    assert [each for each in await database.read(invariants.findings) if each.count] == []


def wanted(host: FileHost, *paths: str, **more: Any) -> dict[str, Any]:
    files = [{"file_id": f"file{path}", "download_url": host.url(f"{path}?{SECRET}")} for path in paths]
    return {"files": files, **more}


async def test_files_are_fetched_and_become_media(
    near: Api, host: FileHost, work: Imports, database: Database
) -> None:
    host.answers |= {"/b": has(b"abc", "audio/mpeg"), "/c": has(b"abc")}
    body = wanted(host, "/a.mp4", "/b", "/c", index_name="mails")
    body["files"][2] |= {"file_name": "Wörter.wav", "mime_type": "text/plain"}
    job = await near.post(PATH, body, status=202)
    assert (job["source_kind"], job["progress"]["total_files"]) == ("attachments", 3)
    assert job["destination"]["index_created"]
    await worked(work, database)
    done = await near.get(f"/import-jobs/{job['job_id']}")
    assert (done["status"], done["failed_files"]) == ("completed", [])
    assert sorted(item["title"] for item in done["outputs"]["items"]) == ["Wörter", "file/a", "file/b"]
    videos = [await near.get(f"/videos/{video_id}") for video_id in done["video_ids"]]
    assert {Path(video["source_key"]).name for video in videos} == {"a.mp4", "b.mp3", "Wörter.wav"}
    assert {video["size_bytes"] for video in videos} == {len(MOVIE), 3}
    await unbroken(database)


@pytest.mark.parametrize(("count", "titles"), [(1, ["Film"]), (2, ["Film (1)", "Film (2)"])])
async def test_a_title_names_them_all(
    near: Api, host: FileHost, database: Database, count: int, titles: list[str]
) -> None:
    await near.post(PATH, wanted(host, *("/a.mp4", "/b.mp4")[:count], title="Film"), status=202)
    query = sa.select(import_files.c.title).order_by(import_files.c.ordinal)
    assert list(await database.read(lambda tx: tx.execute(query).scalars().all())) == titles


async def test_one_that_cannot_be_had_leaves_the_others_alone(
    near: Api, host: FileHost, work: Imports, database: Database
) -> None:
    host.answers |= {"/b.mp4": refused(403), "/c": has(b"%PDF", "application/pdf"), "/d.mp4": has(b"")}
    job = await near.post(PATH, wanted(host, "/a.mp4", "/b.mp4", "/c", "/d.mp4"), status=202)
    await worked(work, database)
    done = await near.get(f"/import-jobs/{job['job_id']}")
    assert (done["status"], done["progress"]["imported"]) == ("completed", 1)
    assert {each["error_code"] for each in done["failed_files"]} == {"attachment_download_failed"}
    told = " ".join(each["error"] for each in done["failed_files"])
    assert "answered 403" in told
    assert "'application/pdf'" in told
    assert "is empty" in told
    await unbroken(database)


async def test_the_address_is_a_secret(near: Api, host: FileHost, work: Imports, database: Database) -> None:
    host.answers["/b.mp4"] = refused(403)
    job = await near.post(PATH, wanted(host, "/b.mp4"), status=202)
    await worked(work, database)
    shown = [await near.get(f"/import-jobs/{job['job_id']}{part}") for part in ("", "/files", "/outputs")]
    assert SECRET not in json.dumps(shown)
    rows = await database.read(lambda tx: [str(row) for row in tx.all(sa.select(import_files))])
    assert "pl4nted" not in "".join(rows)
    body = wanted(host, "/a.mp4")
    body["files"][0]["download_url"] = f"ftp://example.com/a?{SECRET}"
    error = await near.error("POST", PATH, 422, json=body)
    assert SECRET not in json.dumps(error)


@pytest.mark.parametrize("answer", ["hangs", "cut", "busy"])
async def test_a_host_that_stumbles_is_asked_again(
    near: Api, host: FileHost, work: Imports, downloads: Downloads, database: Database, answer: str
) -> None:
    host.answers["/a.mp4"] = {"hangs": host.hangs, "cut": cut, "busy": refused(503)}[answer]
    job = await near.post(PATH, wanted(host, "/a.mp4"), status=202)
    [piece] = jobs_of(database).take(Kind.IMPORT_FILE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(downloads, "_timeout_seconds", 0.3 if answer == "hangs" else PATIENT_SECONDS)
        await work.file(piece)
    assert (await near.get(f"/import-jobs/{job['job_id']}"))["status"] == "importing"
    host.answers["/a.mp4"] = has(MOVIE)
    await worked(work, database)
    done = await near.get(f"/import-jobs/{job['job_id']}")
    assert (done["status"], len(done["video_ids"])) == ("completed", 1)


async def test_a_host_that_stays_away_is_given_up(
    near: Api, host: FileHost, work: Imports, database: Database
) -> None:
    host.answers["/a.mp4"] = refused(503)
    job = await near.post(PATH, wanted(host, "/a.mp4"), status=202)
    await worked(work, database)
    done = await near.get(f"/import-jobs/{job['job_id']}")
    assert done["status"] == "failed"
    assert "answered 503" in done["failed_files"][0]["error"]
    assert len(host.asked) == 3


async def test_a_retry_with_a_fresh_address_gets_what_failed(
    near: Api, host: FileHost, work: Imports, database: Database, context: ApiContext
) -> None:
    host.answers["/b.mp4"] = refused(403)
    job = await near.post(PATH, wanted(host, "/a.mp4", "/b.mp4"), status=202)
    await worked(work, database)
    path = f"/import-jobs/{job['job_id']}"
    fresh = {"file_id": "file/b.mp4", "download_url": host.url("/a.mp4?fresh")}
    again = await near.post(f"{path}/retry", {"files": [fresh]})
    assert again["status"] == "importing"
    rows = await database.read(lambda tx: [str(row) for row in tx.all(sa.select(import_files))])
    assert "a.mp4?fresh" not in "".join(rows)
    await worked(work, database)
    done = await near.get(path)
    assert (done["status"], done["progress"]["imported"], done["progress"]["failed"]) == ("completed", 2, 0)
    assert host.asked.count("/a.mp4?fresh") == 1
    await unbroken(database)
    await near.error("POST", f"{path}/retry", 422, json={"files": [fresh | {"download_url": "file:///etc"}]})
    await context.uploads.remove_orphans()
    assert len(list_of_files(context)) == 2


async def test_nothing_is_tried_again_into_an_index_that_was_deleted(
    near: Api, host: FileHost, work: Imports, database: Database
) -> None:
    host.answers["/b.mp4"] = refused(403)
    job = await near.post(PATH, wanted(host, "/b.mp4", index_name="mails"), status=202)
    await worked(work, database)
    await near.ask("DELETE", f"/indexes/{job['target_index_id']}", status=202)
    error = await near.error("POST", f"/import-jobs/{job['job_id']}/retry", 404)
    assert error["code"] == "resource_index_not_found"
    assert (await near.get(f"/import-jobs/{job['job_id']}"))["status"] == "failed"


def list_of_files(context: ApiContext) -> list[Path]:
    return list(context.uploads.folder.root.glob("job_*/*/*"))


class Killed(BaseException):
    """The process died here."""


@pytest.mark.parametrize("place", ["on the way", "before its row says so", "after its row says so"])
async def test_a_crash_begins_again_and_doubles_nothing(
    near: Api,
    host: FileHost,
    work: Imports,
    database: Database,
    context: ApiContext,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise Killed

    async def dies_late(_: object, work: object) -> None:
        raise Killed

    job = await near.post(PATH, wanted(host, "/a.mp4"), status=202)
    [piece] = jobs_of(database).take(Kind.IMPORT_FILE)
    with monkeypatch.context() as dying:
        if place == "on the way":
            dying.setattr("vvwatch.providers.local.uploads.Arriving.become", dies)
        elif place == "before its row says so":
            dying.setattr(attachment_store, "note_fetched", dies)
        else:
            dying.setattr(Imports, "_probe", dies_late)
        if place == "after its row says so":
            await work.file(piece)
            [piece] = jobs_of(database).take(Kind.IMPORT_FILE)
        with pytest.raises(Killed):
            await work.file(piece)
    if place == "before its row says so":
        assert len(list_of_files(context)) == 1
    await context.uploads.remove_orphans()
    await work.file(piece)
    await worked(work, database)
    done = await near.get(f"/import-jobs/{job['job_id']}")
    assert (done["status"], len(done["video_ids"])) == ("completed", 1)
    assert len(host.asked) == (1 if place == "after its row says so" else 2)
    assert len(await database.read(lambda tx: tx.all(sa.select(media)))) == 1
    assert len(list_of_files(context)) == 1
    await unbroken(database)


async def test_a_file_is_imported_by_itself_when_it_is_here(
    near: Api, host: FileHost, work: Imports, database: Database
) -> None:
    """With the rank of its attachments, and as the same attempt."""
    job = await near.post(PATH, wanted(host, "/a.mp4"), status=202)
    [piece] = jobs_of(database).take(Kind.IMPORT_FILE)
    await work.file(piece)
    [file] = (await near.get(f"/import-jobs/{job['job_id']}/files"))["items"]
    assert (file["status"], file["size_bytes"]) == ("pending", len(MOVIE))
    [then] = jobs_of(database).take(Kind.IMPORT_FILE)
    assert (then.ref, then.priority) == (piece.ref, piece.priority)
    assert (piece.queue, then.queue) == ("import_file.fetch", "import_file")
    await work.file(then)
    [file] = (await near.get(f"/import-jobs/{job['job_id']}/files"))["items"]
    assert (file["status"], file["attempts"]) == ("imported", 1)


async def test_one_that_two_fetch_stays_as_the_first_has_it(
    near: Api, host: FileHost, work: Imports, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await near.post(PATH, wanted(host, "/a.mp4"), status=202)
    [piece] = jobs_of(database).take(Kind.IMPORT_FILE)
    filled = attachments._fill_file

    async def overtaken(*args: Any) -> None:
        monkeypatch.setattr(attachments, "_fill_file", filled)
        await work.file(piece)
        await filled(*args)

    monkeypatch.setattr(attachments, "_fill_file", overtaken)
    await work.file(piece)
    assert len(host.asked) == 2
    await worked(work, database)
    done = await near.get(f"/import-jobs/{job['job_id']}")
    assert (done["progress"]["imported"], done["progress"]["skipped"]) == (1, 0)


async def test_of_one_that_is_cancelled_no_more_is_fetched(
    near: Api, host: FileHost, work: Imports, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await near.post(PATH, wanted(host, "/a.mp4"), status=202)
    [piece] = jobs_of(database).take(Kind.IMPORT_FILE)
    filled, sizes = attachments._fill_file, list[int]()

    async def cancelled(arriving: Any, *rest: Any) -> None:
        await database.write(lambda tx: tx.claim(piece))
        await filled(arriving, *rest)
        sizes.append(arriving.size_bytes)

    monkeypatch.setattr(attachments, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(attachments, "_fill_file", cancelled)
    await work.file(piece)
    assert sizes == [0]
    assert jobs_of(database).take(Kind.IMPORT_FILE) == []


async def test_a_file_that_is_being_fetched_is_not_swept(
    near: Api, host: FileHost, work: Imports, database: Database, context: ApiContext, monkeypatch: Any
) -> None:
    """Its row has no name for it yet."""
    host.answers["/b"] = has(b"abc", "audio/mpeg")
    await near.post(PATH, wanted(host, "/b"), status=202)
    [piece] = jobs_of(database).take(Kind.IMPORT_FILE)
    swept: list[int] = []
    place = context.uploads.place

    async def placed(*args: Any) -> StorageObject:
        obj = await place(*args)
        swept.append(await context.uploads.remove_orphans())
        return obj

    monkeypatch.setattr(context.uploads, "place", placed)
    await work.file(piece)
    assert swept == [0]
    assert len(list_of_files(context)) == 1


async def test_a_job_that_was_cancelled_meanwhile_records_nothing(
    near: Api, host: FileHost, work: Imports, database: Database, context: ApiContext
) -> None:
    job = await near.post(PATH, wanted(host, "/a.mp4"), status=202)
    [piece] = jobs_of(database).take(Kind.IMPORT_FILE)
    await database.write(lambda tx: tx.claim(piece))
    await work.file(piece)
    assert host.asked == []
    await near.post(f"/import-jobs/{job['job_id']}/cancel")
    await context.uploads.remove_orphans()
    assert list_of_files(context) == []


@pytest.mark.parametrize(
    "body",
    [
        {"files": []},
        {"files": [{"file_id": "1"}]},
        {"files": [{"download_url": "https://example.com/a"}]},
        {"files": [{"file_id": "1", "download_url": "example.com/a"}]},
        {"files": [{"file_id": "1", "download_url": "http://example.com/a"}]},
        {"files": [{"file_id": "1", "download_url": "https:///a"}]},
        {"files": [{"file_id": "1", "download_url": "https://[a"}]},
        {"files": [{"file_id": "1", "download_url": "https://example.com/a"}] * 2},
        {"files": [{"file_id": "1", "download_url": "https://example.com/a"}], "title": ""},
        {
            "files": [{"file_id": "1", "download_url": "https://example.com/a"}],
            "index_id": "x",
            "index_name": "y",
        },
    ],
)
async def test_what_cannot_be_fetched_is_refused_at_once(api: Api, body: dict[str, Any]) -> None:
    error = await api.error("POST", PATH, 422, json=body)
    assert error["code"] == "validation_error"


async def test_a_repetition_fetches_nothing_twice(near: Api, host: FileHost, database: Database) -> None:
    body = wanted(host, "/a.mp4")
    headers = {"Idempotency-Key": "once"}
    first = await near.ask("POST", PATH, status=202, json=body, headers=headers)
    assert await near.ask("POST", PATH, status=202, json=body, headers=headers) == first
    assert len(jobs_of(database).take(Kind.IMPORT_FILE)) == 1


def test_what_a_file_is_called_comes_from_wherever_it_is_told() -> None:
    def name(url: str, told_type: str = "", **given: str) -> str | None:
        return attachment_store.choose_file_name(attachment_store.Attachment("1", url, **given), told_type)

    assert name("https://x/a%20b.mp4?c=d") == "a b.mp4"
    assert name("https://x/a", file_name="b.mov") == "b.mov"
    assert name("https://x/a", mime_type="video/webm") == "a.webm"
    assert name("https://x/a", "image/png; q=1") == "a.png"
    assert name("https://x/", "image/png") == "upload.png"
    assert name("https://x/a", "text/html") is None


async def test_media_go_to_the_playground_without_an_index(near: Api, host: FileHost) -> None:
    job = await near.post(PATH, wanted(host, "/a.mp4"), status=202)
    assert job["destination"]["index_id"] == catalog.PLAYGROUND_ID


async def test_a_host_that_hangs_takes_one_place_at_most(
    near: Api, host: FileHost, database: Database
) -> None:
    await near.post(PATH, wanted(host, "/a.mp4", "/b.mp4", "/c.mp4"), status=202)
    busy = sa.select(sa.func.count()).where(import_files.c.next_at.is_not(None))
    assert await database.read(lambda tx: tx.execute(busy).scalar()) == 1
