"""Media that come in a request: streamed to the disk, kept as long as something names them, and never twice."""

from __future__ import annotations

import errno
import os
import resource
import unicodedata
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import sqlalchemy as sa

from tests.api.asking import ADMIN_KEY, Api, client_of, key_with
from tests.clock import FakeClock
from tests.processing import FakeProcessor
from tests.store.pipeline import PROBE, jobs_of
from vvwatch import private_files
from vvwatch.api.http.context import ApiContext, ApiSettings
from vvwatch.core.keys import Scope
from vvwatch.errors import Conflict, SpoolFull, StoreUnavailable
from vvwatch.ports import Kind
from vvwatch.providers.local import uploads as uploads_folder
from vvwatch.providers.local.storage import LocalStorage
from vvwatch.providers.local.uploads import UploadsFolder
from vvwatch.senders.downloads import Downloads
from vvwatch.senders.guard import Guard
from vvwatch.store.admin import invariants
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.store.models.catalog import Connector
from vvwatch.store.schema import connectors, facts, indexes
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.attachments import Attachments
from vvwatch.workflow.pipeline.imports import Imports
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.pipeline.uploads import Uploads
from vvwatch.workflow.upkeep.deletions import DeletionWorker

pytestmark = pytest.mark.anyio

MOVIE = b"\0\0\0\x18ftypmp42" * 100
FILE = {"file": ("a film.mp4", MOVIE, "video/mp4")}


@pytest.fixture
def root(context: ApiContext) -> Path:
    return context.uploads.folder.root


def kept(root: Path) -> list[str]:
    """What stands below the folder of uploads, by name; nothing is half there."""
    assert not list((root / ".arriving").iterdir())
    found = [path for path in root.rglob("*") if path.is_file() and path.name != ".owner"]
    return sorted(path.relative_to(root).as_posix() for path in found)


async def imported(
    database: Database, clock: FakeClock, root: Path, attachments: Attachments | None = None
) -> None:
    """Let all files that wait be imported, from where they really lie."""

    def storage(row: Connector) -> LocalStorage:
        return LocalStorage(Path(row.settings["root"]), allowed_roots=[root])

    reading = Reading(clock, storage, FakeProcessor(probe=PROBE), {}, 3, lambda: 0.5)
    work = Imports(database, Telemetry("test"), reading, attachments)
    for job in jobs_of(database).take(Kind.IMPORT_FILE):
        await work.file(job)


async def unbroken(database: Database) -> None:
    assert [each for each in await database.read(invariants.findings) if each.count] == []


@pytest.mark.parametrize("given", ["upload", "film", "a.bin", ""])
async def test_a_file_without_a_known_name_is_known_by_its_content(api: Api, root: Path, given: str) -> None:
    """As the SDK sends a BytesIO: its name is `upload`, its type any bytes."""
    form = {"file": (given or "x", MOVIE, "application/octet-stream")}
    await api.ask("POST", "/videos/upload", status=202, files=form, data={"title": "t"})
    [name] = kept(root)
    assert name.endswith(f"/0/{given or 'x'}.mp4")


@pytest.mark.parametrize("content", [b"<html>" * 2000, b"%PDF-1.7", b"x"])
async def test_a_file_that_neither_name_nor_content_tells_is_refused(
    api: Api, root: Path, content: bytes
) -> None:
    form = {"file": ("upload", content, "application/octet-stream")}
    answer = await api.client.post("/api/v2/videos/upload", files=form, data={"title": "t"})
    assert answer.status_code == 422
    assert "'upload' has no known format" in answer.text
    assert kept(root) == []


async def test_a_file_becomes_a_media_item(
    api: Api, database: Database, clock: FakeClock, root: Path
) -> None:
    index_id = await api.index()
    form = {"title": "Dailies", "index_id": index_id}
    job = await api.ask("POST", "/videos/upload", status=202, files=FILE, data=form)
    assert (job["status"], job["source_kind"], job["target_index_id"]) == ("importing", "upload", index_id)
    assert job["progress"]["total_files"] == 1
    [path] = kept(root)
    assert path == f"{job['job_id']}/0/a film.mp4"
    assert (root / path).read_bytes() == MOVIE
    await imported(database, clock, root)
    done = await api.get(f"/import-jobs/{job['job_id']}")
    assert (done["status"], len(done["video_ids"])) == ("completed", 1)
    video = await api.get(f"/videos/{done['video_ids'][0]}")
    assert (video["title"], video["index_id"], video["size_bytes"]) == ("Dailies", index_id, len(MOVIE))
    assert video["source_connector_id"] is None
    await unbroken(database)


async def test_the_video_of_the_answer_is_the_one_that_is_made(
    api: Api, database: Database, clock: FakeClock, root: Path
) -> None:
    answer = await api.ask("POST", "/workflow/upload", status=201, files=FILE)
    video, goes_to = answer["video"], answer["destination"]
    assert goes_to == {
        "type": "playground",
        "index_id": catalog.PLAYGROUND_ID,
        "index_name": "Playground",
        "index_created": False,
    }
    assert (video["title"], video["status"], video["media_type"]) == ("a film", "not_processed", "video")
    assert answer["progress"]["total_files"] == 1
    await imported(database, clock, root)
    assert (await api.get(f"/import-jobs/{answer['job_id']}"))["video_ids"] == [video["video_id"]]
    made = await api.get(f"/videos/{video['video_id']}")
    same = ("title", "video_uri", "source_key", "source_version", "size_bytes", "created_at", "index_id")
    assert {name: made[name] for name in same} == {name: video[name] for name in same}
    assert made["video_uri"] == LocalStorage(root, allowed_roots=[root]).uri(made["source_key"])
    [listed] = (await api.get("/playground/videos"))["data"]
    assert listed["video_id"] == video["video_id"]


async def test_a_short_import_is_waited_for(
    context: ApiContext, settings: ApiSettings, database: Database, clock: FakeClock, root: Path
) -> None:
    patient = replace(context, settings=replace(settings, upload_wait_seconds=20.0))
    async with client_of(patient) as client, anyio.create_task_group() as tasks:
        api, answers = await Api.prepared(client, patient), []

        async def uploaded() -> None:
            ask = {"files": FILE, "headers": {"Idempotency-Key": "once"}}
            found = [await api.ask("POST", "/workflow/upload", status=201, **ask) for _ in range(2)]
            answers.extend(found)

        tasks.start_soon(uploaded)
        with anyio.fail_after(20):
            while not answers:
                await imported(database, clock, root)
                clock.advance(1)
                await anyio.sleep(0.01)
    first, again = answers
    assert first == again
    assert (first["status"], first["video_ids"]) == ("completed", [first["video"]["video_id"]])
    assert first["video"]["probe"] is not None


async def test_an_index_is_found_by_its_name_or_made(api: Api) -> None:
    made = await api.ask("POST", "/workflow/upload", status=201, files=FILE, data={"index_name": "films"})
    again = await api.ask("POST", "/workflow/upload", status=201, files=FILE, data={"index_name": "films"})
    assert made["destination"]["index_created"]
    assert not again["destination"]["index_created"]
    assert made["destination"]["index_id"] == again["destination"]["index_id"]
    assert [index["name"] for index in await api.get("/indexes")] == ["films"]
    both = {"index_name": "films", "index_id": made["destination"]["index_id"]}
    await api.error("POST", "/workflow/upload", 422, files=FILE, data=both)


async def test_the_playground_is_told_and_is_nobodys_to_change(api: Api) -> None:
    assert (await api.get("/playground/videos"))["data"] == []
    await api.ask("POST", "/workflow/upload", status=201, files=FILE)
    [playground] = await api.get("/indexes", include_defaults="true")
    assert playground["is_default"]
    assert await api.get("/indexes", include_defaults="false") == []
    path = f"/indexes/{playground['index_id']}"
    await api.error("PATCH", path, 409, json={"name": "mine"})
    await api.error("DELETE", path, 409)


async def test_the_connector_of_uploads_is_out_of_reach(api: Api, database: Database) -> None:
    await api.ask("POST", "/workflow/upload", status=201, files=FILE)
    [row] = await database.read(lambda tx: tx.all(sa.select(connectors)))
    assert row.builtin
    assert await api.get("/connectors") == []
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/browse"), ("POST", "/test")):
        await api.error(method, f"/connectors/{row.id}{path}", 404)
    index_id = await api.index()
    body = {
        "connector_id": row.id,
        "debounce_interval": "5m",
        "prompt_preset": {"prompt_id": await api.prompt()},
    }
    await api.error("PUT", f"/indexes/{index_id}/automations/import", 404, json=body)


async def test_a_repetition_has_the_first_answer_and_leaves_one_file(api: Api, root: Path) -> None:
    headers = {"Idempotency-Key": "once"}
    form = {"title": "Dailies"}
    first = await api.ask("POST", "/videos/upload", status=202, files=FILE, data=form, headers=headers)
    again = await api.ask("POST", "/videos/upload", status=202, files=FILE, data=form, headers=headers)
    assert again == first
    assert len(kept(root)) == 1
    for other in ({"file": ("a film.mp4", MOVIE + b"x")}, {"file": ("b.mp4", MOVIE)}):
        error = await api.error("POST", "/videos/upload", 409, files=other, data=form, headers=headers)
        assert error["code"] == "idempotency_request_mismatch"
    await api.error("POST", "/videos/upload", 409, files=FILE, data={"title": "x"}, headers=headers)
    assert len(kept(root)) == 1


@pytest.mark.parametrize(
    ("files", "data", "where"),
    [
        (FILE, {}, "body.title"),
        (FILE, {"title": "x" * 256}, "body.title"),
        (FILE, {"title": "a\nb"}, "body.title"),
        (FILE, {"title": "a", "colour": "red"}, "body.colour"),
        ({"file": ("a.mp4", b"")}, {"title": "a"}, "body.file"),
        ({"other": ("a.mp4", MOVIE)}, {"title": "a"}, "body"),
        ([("file", ("a.mp4", b"a")), ("file", ("b.mp4", b"b"))], {"title": "a"}, "body.file"),
    ],
)
async def test_a_form_needs_a_file_and_a_title(
    api: Api, root: Path, files: Any, data: dict[str, str], where: str
) -> None:
    error = await api.error("POST", "/videos/upload", 422, files=files, data=data)
    assert error["code"] == "validation_error"
    assert error["details"]["errors"][0]["where"].startswith(where)
    assert kept(root) == []


async def test_what_is_no_form_is_told(api: Api, root: Path) -> None:
    await api.error("POST", "/videos/upload", 422, json={"title": "a"})
    await api.error("POST", "/videos/upload", 422)
    torn = {"Content-Type": "multipart/form-data; boundary=x"}
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nabc'
    for body in (b"", b"--x", head, head + b"\r\n--x", b"\xff" * 100):
        error = await api.error("POST", "/videos/upload", 422, content=body, headers=torn)
        assert error["code"] == "validation_error"
    for boundary in ("", "; boundary=", f"; boundary={'x' * 300}", "; boundary=\xff"):
        other = {"Content-Type": f"multipart/form-data{boundary}".encode("latin-1")}
        await api.error("POST", "/videos/upload", 422, content=head, headers=other)
    assert kept(root) == []


@pytest.mark.parametrize(
    "part",
    [
        b"X-Long: " + b"x" * 10_000 + b"\r\n\r\nabc",
        b"".join(b"X-%d: a\r\n" % number for number in range(100)) + b"\r\nabc",
        b'Content-Disposition: form-data; name="title"\r\n\r\n' + b"x" * 20_000,
        b'Content-Disposition: form-data; name="title"\r\n\r\n\xff',
        b"\r\n--x\r\n".join([b'Content-Disposition: form-data; name="title"\r\n\r\na'] * 2),
        b"\r\n--x\r\n".join([b"\r\na"] * 30),
        b'Content-Disposition: form-data; name="file"\r\n\r\nabc',
        b'Content-Disposition: form-data; name="file"; filename="a\xff.mp4"\r\n\r\nabc',
    ],
)
async def test_a_form_out_of_bounds_is_refused(api: Api, root: Path, part: bytes) -> None:
    boundary = {"Content-Type": "multipart/form-data; boundary=x"}
    body = b"--x\r\n" + part + b"\r\n--x--\r\n"
    error = await api.error("POST", "/videos/upload", 422, content=body, headers=boundary)
    assert error["code"] == "validation_error"
    assert kept(root) == []


@pytest.mark.parametrize("name", ["a.txt", "film", "mp4", ".mp4", "a.mp4.exe", "..", "/"])
async def test_an_unknown_format_is_refused_with_those_that_are_known(
    api: Api, root: Path, name: str
) -> None:
    files = {"file": (name, b"no media " * 1000, "application/octet-stream")}
    error = await api.error("POST", "/videos/upload", 422, files=files, data={"title": "a"})
    assert "mp4, m4v, avi" in error["details"]["hint"]
    assert kept(root) == []


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd.mp4", "passwd.mp4"),
        ("C:\\films\\a.MP4", "a.mp4"),
        ("a\x07\u202eb.mp4", "ab.mp4"),
        ("..mp4.mov", "mp4.mov"),
        (unicodedata.normalize("NFD", "é.wav"), "é.wav"),
        ("ü" * 150 + ".flac", "ü" * 97 + ".flac"),
        ("upload", "upload.mp4"),
    ],
)
async def test_a_file_name_is_a_wish(api: Api, root: Path, given: str, name: str) -> None:
    quoted = given.replace("\\", "\\\\").encode()
    boundary = {"Content-Type": "multipart/form-data; boundary=x"}
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + quoted + b'"\r\n'
    body = head + b"Content-Type: video/mp4\r\n\r\nabc\r\n--x--\r\n"
    answer = await api.ask("POST", "/workflow/upload", status=201, content=body, headers=boundary)
    assert kept(root) == [f"{answer['job_id']}/0/{name}"]


async def test_an_unknown_index_leaves_nothing(api: Api, root: Path) -> None:
    await api.error("POST", "/videos/upload", 404, files=FILE, data={"title": "a", "index_id": "idx_none"})
    assert kept(root) == []


class Watched(httpx2.AsyncByteStream):
    """A body that tells how much of it was taken."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self.taken += len(piece)
            yield piece


def form_of(size_bytes: int) -> Iterator[bytes]:
    yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    for _ in range(size_bytes >> 16):
        yield bytes(1 << 16)
    yield b"\r\n--x--\r\n"


IN_PIECES = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}


async def streamed(api: Api, size_bytes: int, **headers: str) -> tuple[httpx2.Response, Watched]:
    body = Watched(form_of(size_bytes))
    request = api.client.build_request(
        "POST", "/api/v2/workflow/upload", content=body, headers={**IN_PIECES, **headers}
    )
    return await api.client.send(request), body


async def test_a_large_file_goes_through_little_memory(api: Api, root: Path, dialect: str) -> None:
    await streamed(api, 1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer, _ = await streamed(api, 60 << 20)
    assert answer.status_code == 201
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 20 << 10
    assert max((root / path).stat().st_size for path in kept(root)) == 60 << 20


async def test_a_file_that_is_too_large_is_refused_before_it_has_arrived(
    context: ApiContext, settings: ApiSettings, root: Path
) -> None:
    bounded = replace(context, settings=replace(settings, max_upload_bytes=4 << 20))
    async with client_of(bounded) as client:
        api = await Api.prepared(client, bounded)
        answer, body = await streamed(api, 64 << 20)
        assert answer.status_code == 413
        assert body.taken < 8 << 20
        told = await client.post("/api/v2/videos/upload", files={"file": ("a.mp4", bytes(5 << 20))})
        assert told.status_code == 413
        hint = "the limit is 4,194,304 bytes: [api] max_upload_bytes"
        assert told.json()["error"]["details"]["hint"] == hint
    assert kept(root) == []


async def test_other_routes_keep_their_bound(api: Api) -> None:
    await api.error("POST", "/indexes", 413, content=bytes(2 << 20))


async def test_the_scope_is_asked_for_before_the_body(api: Api, context: ApiContext, root: Path) -> None:
    key = await key_with(context, Scope.READ)
    answer, body = await streamed(api, 8 << 20, **{"X-API-Key": key})
    assert (answer.status_code, body.taken) == (403, 0)
    assert kept(root) == []


async def test_a_full_disk_is_told(api: Api, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads_folder, "kept_free_bytes", lambda whole_bytes: whole_bytes)
    for answer in (
        await api.client.post("/api/v2/workflow/upload", files=FILE),
        (await streamed(api, 1 << 20))[0],
    ):
        assert answer.status_code == 507
        assert answer.json()["error"]["code"] == "insufficient_storage"
    assert kept(root) == []


async def test_a_disk_that_fills_up_on_the_way_is_told(
    api: Api, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SpoolFull("there is no room")

    monkeypatch.setattr(uploads_folder.Arriving, "write", full)
    assert (await streamed(api, 4 << 20))[0].status_code == 507
    assert kept(root) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "spool_full"),
        (errno.EMFILE, "machine_shortage"),
        (errno.ENOMEM, "machine_shortage"),
        (errno.EROFS, "machine_shortage"),
    ],
)
async def test_a_file_that_this_machine_cannot_make_is_no_failure(
    api: Api, root: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def refused(path: Path) -> int:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as lacking:
        lacking.setattr(private_files, "create_private", refused)
        answer = await api.client.post("/api/v2/workflow/upload", files=FILE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)
    assert int(answer.headers["Retry-After"]) > 0
    assert (kept(root), str(root) in answer.text) == ([], False)
    assert (await api.client.post("/api/v2/workflow/upload", files=FILE)).status_code == 201


@pytest.fixture
def bounded_uploads(context: ApiContext) -> ApiContext:
    """Of which all files together take at most 8 MiB."""
    folder = UploadsFolder(context.uploads.folder.root, 8 << 20)
    return replace(context, uploads=Uploads(context.database, context.clock, folder))


async def test_all_uploads_together_have_a_ceiling(bounded_uploads: ApiContext, root: Path) -> None:
    async with client_of(bounded_uploads) as client:
        api = await Api.prepared(client, bounded_uploads)
        assert (await streamed(api, 6 << 20))[0].status_code == 201
        answer, body = await streamed(api, 64 << 20)
        assert answer.status_code == 507
        assert "[api] uploads_bytes" in answer.json()["error"]["details"]["hint"]
        assert body.taken < 5 << 20, "it is refused as it comes"
        told = await client.post("/api/v2/workflow/upload", files={"file": ("a.mp4", bytes(3 << 20))})
        assert (told.status_code, told.json()["error"]["code"]) == (507, "insufficient_storage")
        assert len(kept(root)) == 1
        assert (await streamed(api, 1 << 20))[0].status_code == 201, "what was refused gave its room back"


async def test_what_stands_there_at_the_start_counts_and_what_is_removed_does_not(root: Path) -> None:
    folder = UploadsFolder(root, 4 << 20)
    arriving = folder.begin()
    arriving.write(bytes(3 << 20))
    folder.place(arriving, "job_a/0/a.mp4")
    arriving.discard()
    again = UploadsFolder(root, 4 << 20)
    again.prepare()
    assert (folder.room.used_bytes, again.room.used_bytes) == (3 << 20, 3 << 20)
    refused = again.begin()
    with pytest.raises(SpoolFull, match="does not fit: uploaded files take 3,145,728 of 4,194,304 bytes"):
        refused.write(bytes(2 << 20))
    refused.discard()
    replacing = again.begin()
    replacing.write(bytes(1 << 20))
    again.place(replacing, "job_a/0/a.mp4")
    assert again.room.used_bytes == 1 << 20
    again.discard("job_a")
    assert again.room.used_bytes == 0


async def test_files_that_arrive_at_once_never_pass_the_ceiling(root: Path) -> None:
    folder = UploadsFolder(root, 8 << 20)
    refused, done = [], []

    def send() -> None:
        arriving = folder.begin()
        try:
            for _ in range(16):
                arriving.write(bytes(64 << 10))
            done.append(arriving)
        except SpoolFull:
            refused.append(arriving)

    async with anyio.create_task_group() as tasks:
        for _ in range(24):
            tasks.start_soon(anyio.to_thread.run_sync, send)
    assert len(refused) >= 16
    assert len(refused) + len(done) == 24
    on_disk = sum(path.stat().st_size for path in (root / ".arriving").iterdir())
    assert folder.room.used_bytes == on_disk <= 8 << 20
    for arriving in refused + done:
        arriving.discard()
        arriving.discard()
    assert folder.room.used_bytes == 0
    assert kept(root) == []


async def test_what_breaks_on_the_disk_gives_its_room_back(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = UploadsFolder(root, 8 << 20)
    arriving = folder.begin()
    arriving.write(bytes(10))

    def fail(*_: object) -> None:
        raise OSError(errno.EDQUOT, "quota")

    monkeypatch.setattr(arriving, "_append", fail)
    with pytest.raises(OSError, match="quota"):
        arriving.write(bytes(1 << 20))
    assert folder.room.used_bytes == 10
    arriving.discard()
    assert folder.room.used_bytes == 0


async def test_a_crash_before_the_commit_leaves_a_stray_that_is_swept(
    api: Api, context: ApiContext, root: Path
) -> None:
    stays = await api.ask("POST", "/workflow/upload", status=201, files=FILE)
    async with context.uploads.arriving() as arriving:
        arriving.write(MOVIE)
        await context.uploads.place(arriving, "job_dead/0/a.mp4")
    assert len(kept(root)) == 2
    assert await context.uploads.remove_orphans() == 1
    assert kept(root) == [f"{stays['job_id']}/0/a film.mp4"]
    assert await context.uploads.remove_orphans() == 0


async def test_a_crash_in_the_middle_leaves_nothing_after_the_next_start(root: Path) -> None:
    arriving = UploadsFolder(root).begin()
    arriving.write(MOVIE)
    UploadsFolder(root).prepare()
    assert kept(root) == []
    arriving.discard()


async def test_a_file_on_its_way_is_not_swept(context: ApiContext, root: Path) -> None:
    uploads = context.uploads
    async with uploads.job() as job_id, uploads.arriving() as arriving:
        arriving.write(MOVIE)
        await uploads.place(arriving, f"{job_id}/0/a.mp4")
        assert await uploads.remove_orphans() == 0
    assert kept(root) == []


async def test_when_nobody_knows_whether_it_was_committed_the_file_stays(
    context: ApiContext, root: Path
) -> None:
    uploads = context.uploads

    async def uploaded() -> None:
        async with uploads.job() as job_id, uploads.arriving() as arriving:
            arriving.write(MOVIE)
            await uploads.place(arriving, f"{job_id}/0/a.mp4")
            raise StoreUnavailable("the connection is gone")

    with pytest.raises(StoreUnavailable):
        await uploaded()
    assert len(kept(root)) == 1
    assert await uploads.remove_orphans() == 1


async def test_files_of_another_installation_are_left_alone(
    api: Api, context: ApiContext, database: Database, root: Path
) -> None:
    """A daemon that is started on the wrong database must not clear what the right one names."""
    await api.ask("POST", "/workflow/upload", status=201, files=FILE)
    await context.uploads.remove_orphans()
    await database.write(lambda tx: tx.insert(facts, name="installation", value=b"other"))
    async with context.uploads.arriving() as arriving:
        arriving.write(MOVIE)
        await context.uploads.place(arriving, "job_dead/0/a.mp4")
    with pytest.raises(Conflict, match="another installation"):
        await context.uploads.remove_orphans()
    assert len(kept(root)) == 2


async def test_files_whose_mark_a_power_loss_left_empty_are_nobody_elses(
    context: ApiContext, root: Path
) -> None:
    (root / ".owner").touch()
    assert await context.uploads.remove_orphans() == 0
    assert context.uploads.folder.belongs_to((root / ".owner").read_text())
    assert not context.uploads.folder.belongs_to("other")


@pytest.mark.parametrize("what", ["video", "index"])
async def test_what_is_deleted_takes_its_file_along(
    api: Api, context: ApiContext, database: Database, clock: FakeClock, root: Path, what: str
) -> None:
    goes = await api.ask("POST", "/workflow/upload", status=201, files=FILE, data={"index_name": "films"})
    stays = await api.ask("POST", "/workflow/upload", status=201, files=FILE)
    await imported(database, clock, root)
    path = (
        f"/videos/{goes['video']['video_id']}"
        if what == "video"
        else f"/indexes/{goes['destination']['index_id']}"
    )
    await api.ask("DELETE", path, status=202)
    await context.uploads.remove_orphans()
    assert kept(root) == [f"{stays['job_id']}/0/a film.mp4"]
    assert await DeletionWorker(database, clock, Telemetry("test")).run() == 1
    await context.uploads.remove_orphans()
    assert kept(root) == [f"{stays['job_id']}/0/a film.mp4"]
    await unbroken(database)


async def test_what_could_not_be_imported_does_not_stay(
    api: Api, context: ApiContext, database: Database, clock: FakeClock, root: Path
) -> None:
    answer = await api.ask("POST", "/workflow/upload", status=201, files=FILE)
    (root / kept(root)[0]).write_bytes(b"another one")
    await imported(database, clock, root)
    job = await api.get(f"/import-jobs/{answer['job_id']}")
    assert job["video_ids"] == []
    path = f"/import-jobs/{answer['job_id']}"
    [file] = (await api.get(f"{path}/files"))["items"]
    await api.error("POST", f"{path}/files/{file['file_id']}/retry", 409)
    await api.error("POST", f"{path}/retry", 400)
    await context.uploads.remove_orphans()
    assert kept(root) == []
    await api.error("GET", f"/videos/{answer['video']['video_id']}", 404)


async def test_what_could_not_be_imported_is_removed_at_once(
    api: Api, context: ApiContext, database: Database, clock: FakeClock, root: Path
) -> None:
    downloads = Downloads(Guard(), 1 << 20, 1.0)
    attachments = Attachments(database, context.box, context.uploads, downloads)
    stays = await api.ask("POST", "/workflow/upload", status=201, files=FILE)
    await imported(database, clock, root, attachments)
    goes = await api.ask("POST", "/workflow/upload", status=201, files=FILE)
    (root / f"{goes['job_id']}/0/a film.mp4").write_bytes(b"another one")
    await imported(database, clock, root, attachments)
    assert (await api.get(f"/import-jobs/{goes['job_id']}"))["video_ids"] == []
    assert kept(root) == [f"{stays['job_id']}/0/a film.mp4"]
    await unbroken(database)
    await downloads.aclose()


async def test_the_folder_moves_with_the_state(database: Database, clock: FakeClock, tmp_path: Path) -> None:
    roots = [tmp_path / "old", tmp_path / "new"]
    for root in roots:
        row = await database.write(Uploads(database, clock, UploadsFolder(root)).connector)
    assert row.settings == {"root": str(roots[1])}
    await Uploads(database, clock, UploadsFolder(tmp_path / "third")).settle()
    await Uploads(database, clock, UploadsFolder(tmp_path / "third"), "other").settle()
    [moved] = await database.read(lambda tx: tx.all(sa.select(connectors)))
    assert moved.settings == {"root": str(tmp_path / "third")}
    assert await database.read(lambda tx: len(tx.all(sa.select(connectors)))) == 1
    other = await database.write(Uploads(database, clock, UploadsFolder(roots[0]), "n2").connector)
    assert (other.id, other.node) == (f"{row.id}_n2", "n2")


async def test_what_is_made_when_needed_is_made_once(database: Database) -> None:
    for _ in range(2):
        await database.write(catalog.ensure_playground)
    assert await database.read(lambda tx: len(tx.all(sa.select(indexes)))) == 1


async def test_an_upload_without_a_key_is_refused(stranger: httpx2.AsyncClient, root: Path) -> None:
    answer = await stranger.post("/api/v2/videos/upload", files=FILE, headers={"X-API-Key": ADMIN_KEY[:-1]})
    assert answer.status_code == 401
    assert kept(root) == []


@pytest.mark.parametrize("moment", ["files", "wanted"])
async def test_a_file_that_is_named_while_the_sweep_looks_stays(
    api: Api, context: ApiContext, root: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Its job had files before, and another one comes in between looking for files and asking who names them."""
    uploads = context.uploads
    await api.ask("POST", "/workflow/upload", status=201, files=FILE)
    [job_id] = {path.partition("/")[0] for path in kept(root)}
    [first] = uploads.folder.files([job_id])
    read = uploads._database.read
    looked: list[str] = []

    async def held(name: str) -> None:
        looked.append(name)
        with uploads.holding(job_id):
            (root / job_id / "0" / "b.mp4").write_bytes(MOVIE)

    async def reading(fn: Any, *args: Any, **kwargs: Any) -> Any:
        is_wanted = fn.__name__ == "list_needed_keys"
        if is_wanted and moment == "files":
            await held("files")
        found = await read(fn, *args, **kwargs)
        if is_wanted and moment == "wanted":
            await held("wanted")
        return found

    (root / job_id / "0" / "b.mp4").write_bytes(b"old")
    monkeypatch.setattr(uploads._database, "read", reading)
    assert await uploads.remove_orphans() == 0
    assert looked == [moment]
    monkeypatch.undo()
    assert kept(root) == [first, f"{job_id}/0/b.mp4"]
    assert await uploads.remove_orphans() == 1


async def test_another_file_in_the_place_of_a_stray_stays(root: Path, context: ApiContext) -> None:
    folder = context.uploads.folder
    path = root / "job_a" / "0" / "a.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    [(key, inode)] = folder.files(["job_a"]).items()
    (root / "new").write_bytes(b"new")
    (root / "new").rename(path)
    folder.remove(key, inode)
    assert path.read_bytes() == b"new"
    folder.remove(key, path.stat().st_ino)
    assert not (root / "job_a").exists()
