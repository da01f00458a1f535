"""Originals of media, streamed to who has a key or an address."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from cryptography.fernet import Fernet

from tests.api.asking import ADMIN_KEY, Api, client_of, key_with
from tests.api.story import CONNECTOR, Story
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from vvwatch.api.http.context import ApiContext
from vvwatch.core.keys import Scope
from vvwatch.core.objects import StorageObject
from vvwatch.errors import ObjectArchived, StorageUnavailable
from vvwatch.store.admin import keys
from vvwatch.store.admin.secret_keys import KEY_FILE, find_keys
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.store.schema import api_keys, connectors, media

pytestmark = pytest.mark.anyio

KEY = "a.mp4"
SECRET_KEY = b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="  # that of `context`
BYTES = bytes(range(256)) * 20


@pytest.fixture
async def video(story: Story, storage: FakeStorage, database: Database) -> str:
    """The media item of the story, with more bytes than it had there."""
    await changed(storage, database, story.video_id, storage.put(KEY, BYTES))
    return story.video_id


async def changed(storage: FakeStorage, database: Database, video_id: str, obj: StorageObject) -> None:
    values = {"version": obj.version, "size_bytes": obj.size_bytes}
    await database.write(lambda tx: tx.update(media, video_id, **values))


async def granted(api: Api, video_id: str, **more: str) -> str:
    return str((await api.post("/workflow/media-grants", {"video_id": video_id, **more}))["url"])


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_grant_has_what_a_client_needs_to_keep_the_file(
    api: Api, video: str, clock: FakeClock
) -> None:
    body = {"video_id": video, "intent": "download"}
    grant = await api.post("/workflow/media-grants", body)
    url = urlsplit(grant.pop("url"))
    assert (url.scheme, url.netloc) == ("http", "127.0.0.1:8787")
    assert url.path == f"/api/v2/media/{video}/content"
    assert grant.pop("expires_at").endswith("Z")
    assert grant == {
        "filename": KEY,
        "mime_type": "video/mp4",
        "video_id": video,
        "run_id": None,
        "segment_id": None,
        "start_time": None,
        "end_time": None,
        "cut": None,
        "intent": "download",
        "media_type": "video",
        "size_bytes": len(BYTES),
    }


async def test_the_address_works_without_a_key_for_an_hour(
    api: Api, stranger: httpx2.AsyncClient, video: str, clock: FakeClock
) -> None:
    url = await granted(api, video)
    answer = await stranger.get(url)
    assert (answer.status_code, answer.content) == (200, BYTES)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(BYTES))
    assert answer.headers["content-disposition"] == f'attachment; filename="{KEY}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    clock.advance(3600)
    assert code(await stranger.get(url)) == (401, "authentication_invalid_token")


@pytest.mark.parametrize("how", ["revoke", "delete", "rotate", "expire", "replace"])
async def test_the_address_dies_with_the_key_that_granted_it(
    api: Api, stranger: httpx2.AsyncClient, video: str, clock: FakeClock, database: Database, how: str
) -> None:
    made = await api.post("/api-keys", {"name": "a", "scopes": ["read"]}, status=201)
    clock.advance(1)
    key = ADMIN_KEY if how == "replace" else made["key"]
    body = {"video_id": video}
    granted = await stranger.post("/api/v2/workflow/media-grants", json=body, headers={"X-API-Key": key})
    url = granted.json()["url"]
    assert (await stranger.get(url)).status_code == 200
    path = f"/api-keys/{made['key_id']}"
    if how == "expire":
        soon = clock.now() + 60
        await database.write(lambda tx: tx.update(api_keys, made["key_id"], expires_at=soon))
        clock.advance(60)
    elif how == "replace":
        await database.write(keys.seed_admin, "sk_live_" + "9" * 48)
    else:
        await (api.ask("DELETE", path) if how == "delete" else api.post(f"{path}/{how}"))
    answer = await stranger.get(url)
    assert code(answer) == (401, "authentication_invalid_token")
    assert "the API key that created" in answer.json()["error"]["message"]


async def test_a_key_opens_it_too_and_nothing_does_not(
    api: Api, stranger: httpx2.AsyncClient, video: str, context: ApiContext
) -> None:
    path = f"/api/v2/media/{video}/content"
    for scope, status in ((Scope.SEARCH, 403), (Scope.READ, 200)):
        key = await key_with(context, scope)
        assert (await stranger.get(path, headers={"X-API-Key": key})).status_code == status
    assert code(await stranger.get(path)) == (401, "authentication_invalid_api_key")
    assert code(await stranger.get(f"{path}?token=v1.e30.e30")) == (401, "authentication_invalid_token")


async def test_a_token_of_an_export_opens_no_media(
    api: Api, stranger: httpx2.AsyncClient, video: str
) -> None:
    token = (await granted(api, video)).partition("token=")[2]
    url = f"/api/v2/exports/{video}/download?token={token}"
    assert code(await stranger.get(url)) == (403, "authorization_foreign_token")
    url = f"/api/v2/media/vid_other/content?token={token}"
    assert code(await stranger.get(url)) == (403, "authorization_foreign_token")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-2999", 1000, 3000),
        ("bytes=-7", -7, None),
        ("bytes=5000-", 5000, None),
    ],
)
async def test_a_range_is_answered_with_just_that(
    api: Api, video: str, asked: str, start: int, end: int | None
) -> None:
    answer = await api.client.get(await granted(api, video), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, BYTES[start:end])
    first = start % len(BYTES)
    last = first + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(BYTES)}"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["accept-ranges"] == "bytes"


async def test_a_range_behind_the_end_is_refused(api: Api, video: str) -> None:
    answer = await api.client.get(await granted(api, video), headers={"Range": "bytes=99999-"})
    assert code(answer) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(BYTES)}"


async def test_a_range_of_another_version_is_answered_with_all(api: Api, video: str) -> None:
    url = await granted(api, video)
    etag = (await api.client.get(url)).headers["etag"]
    for condition, status in ((etag, 206), ('"other"', 200), ("Fri, 01 Jan 2100 00:00:00 GMT", 200)):
        answer = await api.client.get(url, headers={"Range": "bytes=0-0", "If-Range": condition})
        assert answer.status_code == status


async def test_head_tells_all_but_the_bytes(api: Api, video: str, storage: FakeStorage) -> None:
    url = await granted(api, video)
    answer = await api.client.head(url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(BYTES))
    storage.remove(KEY)
    assert (await api.client.head(url)).status_code == 410


async def test_what_was_replaced_is_not_given_away(api: Api, video: str, storage: FakeStorage) -> None:
    url = await granted(api, video)
    storage.put(KEY, b"x" * len(BYTES))
    assert code(await api.client.get(url)) == (409, "media_changed")
    storage.remove(KEY)
    assert code(await api.client.get(url)) == (410, "media_gone")


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (ObjectArchived("it is in an archive", "restore it"), (409, "media_archived")),
        (StorageUnavailable("it is away", "wait"), (503, "storage_unavailable")),
    ],
)
async def test_a_store_that_cannot_give_it_is_told(
    api: Api, video: str, storage: FakeStorage, broken: Exception, expected: tuple[int, str]
) -> None:
    url = await granted(api, video)
    storage.broken = broken
    assert code(await api.client.get(url)) == expected


@pytest.mark.parametrize(
    ("status", "expected"), [(catalog.DELETED, (410, "media_gone")), (catalog.DISABLED, (409, "conflict"))]
)
async def test_without_its_connector_it_cannot_be_had(
    api: Api, video: str, database: Database, status: str, expected: tuple[int, str]
) -> None:
    url = await granted(api, video)
    await database.write(lambda tx: tx.update(connectors, CONNECTOR, status=status))
    assert code(await api.client.get(url)) == expected


async def test_a_deleted_video_is_not_given_away(api: Api, video: str) -> None:
    url = await granted(api, video)
    await api.ask("DELETE", f"/videos/{video}", status=202)
    assert code(await api.client.get(url)) == (404, "resource_video_not_found")


async def test_what_is_named_must_belong_together(api: Api, story: Story, video: str) -> None:
    [segment, *_] = (await api.get(f"/videos/{video}/segments"))["data"]
    grant = await api.post("/workflow/media-grants", {"video_id": video, "run_id": story.run_id})
    assert (grant["run_id"], grant["segment_id"]) == (story.run_id, None)
    its = {"video_id": video, "segment_id": segment["segment_id"]}
    assert (await api.post("/workflow/media-grants", its))["segment_id"] == segment["segment_id"]
    for wrong, what in (
        ({"video_id": "vid_none"}, "video"),
        ({"run_id": "run_none"}, "prompt_run"),
        ({"segment_id": "seg_99_0"}, "segment"),
        ({"segment_id": "nonsense"}, "segment"),
    ):
        body = {"video_id": video, **wrong}
        error = await api.error("POST", "/workflow/media-grants", 404, json=body)
        assert error["code"] == f"resource_{what}_not_found"
    await api.error("POST", "/workflow/media-grants", 422, json={"video_id": video, "intent": "watch"})


async def test_a_name_of_any_characters_is_kept(
    api: Api, video: str, storage: FakeStorage, database: Database
) -> None:
    key = 'in/Überblick "1"; x=\\ %41.MOV'
    storage._objects[key] = storage._objects[KEY]
    await database.write(lambda tx: tx.update(media, video, key=key))
    answer = await api.client.get(await granted(api, video))
    assert answer.content == BYTES
    assert answer.headers["content-type"] == "video/quicktime"
    assert answer.headers["content-disposition"] == (
        'attachment; filename="_berblick _1_; x=_ _41.MOV"; '
        "filename*=UTF-8''%C3%9Cberblick%20%221%22%3B%20x%3D%5C%20%2541.MOV"
    )


async def test_the_address_outlives_a_change_of_the_secret_key_while_the_old_one_is_there(
    context: ApiContext, api: Api, video: str, tmp_path: Path
) -> None:
    old = await granted(api, video)
    keys_file = tmp_path / KEY_FILE
    keys_file.write_bytes(Fernet.generate_key() + b"\n" + SECRET_KEY)
    async with client_of(replace(context, box=find_keys(tmp_path, {}).box())) as client:
        assert (await client.get(old)).status_code == 200
        keys_file.write_bytes(keys_file.read_bytes().splitlines()[0])
    async with client_of(replace(context, box=find_keys(tmp_path, {}).box())) as client:
        assert code(await client.get(old)) == (401, "authentication_invalid_token")


async def test_a_node_takes_addresses_that_a_key_has_signed_which_came_later(
    context: ApiContext, api: Api, video: str, tmp_path: Path
) -> None:
    keys_file = tmp_path / KEY_FILE
    keys_file.write_bytes(SECRET_KEY + b"\n")
    behind = replace(context, box=find_keys(tmp_path, {}).box())
    keys_file.write_bytes(Fernet.generate_key() + b"\n" + SECRET_KEY)
    ahead = replace(context, box=find_keys(tmp_path, {}).box())
    async with client_of(ahead, headers={"X-API-Key": ADMIN_KEY}) as client:
        answer = await client.post("/api/v2/workflow/media-grants", json={"video_id": video})
        url = answer.json()["url"]
    async with client_of(behind) as client:
        assert (await client.get(url)).status_code == 200
