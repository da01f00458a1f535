"""The pictures of segments and of media, as Pillow and a reader of WebVTT see them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest
import webvtt
from PIL import Image

from tests.api.asking import Api, client_of
from tests.api.story import INDEX, Story
from tests.clock import FakeClock
from vvwatch.api.http.context import ApiContext
from vvwatch.core.identities import segment_of
from vvwatch.core.pictures import Picture, PictureContents, PicturePack, Storyboard
from vvwatch.store.db.database import Database
from vvwatch.store.runs.pictures import store_pack

pytestmark = pytest.mark.anyio

QUIET = {"field": "loudness", "operator": "less_than", "type": "number", "value": 0}


def jpeg(size: tuple[int, int], colour: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", size, colour).save(made, "JPEG")
    return made.getvalue()


@dataclass
class Kept:
    """A pack of the story's item: a red thumbnail of its first segment, which is the poster, and two tiles."""

    api: Api
    client: httpx2.AsyncClient
    context: ApiContext
    segment: str
    path: Path
    pack: PicturePack


@pytest.fixture
async def kept(context: ApiContext, story: Story, database: Database, tmp_path: Path) -> AsyncIterator[Kept]:
    mine = replace(context, settings=replace(context.settings, state_dir=tmp_path, node="here"))
    red, sheet = jpeg((64, 36), "red"), jpeg((320, 90), "blue")
    path = tmp_path / "pictures" / "01" / "1.abcdef.pack"
    path.parent.mkdir(parents=True)
    path.write_bytes(red + sheet)
    contents = PictureContents(
        (Picture(0, len(red), 64, 36, 1.0),),
        0,
        (0,),
        Storyboard(Picture(len(red), len(sheet), 320, 90, 0.5), 2, 160, 90, (0.5, 3661.0), 3662.5),
    )
    pack = PicturePack("01/1.abcdef.pack", "here", len(red + sheet), contents)
    async with client_of(mine) as client:
        api = await Api.prepared(client, mine)
        [segment] = (await api.get(f"/videos/{story.video_id}/segments"))["data"]
        item_id, _ = segment_of(segment["segment_id"]) or (0, 0)
        await database.write(store_pack, item_id, pack)
        yield Kept(api, client, mine, segment["segment_id"], path, pack)


def image(answer: httpx2.Response) -> Image.Image:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("private")
    return Image.open(io.BytesIO(answer.content))


async def stranger_gets(kept: Kept, url: str, **headers: str) -> httpx2.Response:
    """The answer to somebody without a key."""
    async with client_of(kept.context) as client:
        client.headers.pop("X-API-Key", None)
        return await client.get(url, headers=headers)


async def test_a_link_to_a_thumbnail_opens_it_without_a_key(kept: Kept, story: Story) -> None:
    [segment] = (await kept.api.get(f"/videos/{story.video_id}/segments"))["data"]
    assert segment["thumbnail_available"] is True
    shown = image(await stranger_gets(kept, segment["thumbnail_uri"]))
    assert shown.size == (64, 36)
    assert shown.convert("RGB").getpixel((9, 9)) == (254, 0, 0)


async def test_all_that_shows_a_segment_links_to_its_thumbnail(kept: Kept, story: Story) -> None:
    found: list[dict[str, Any]] = (
        await kept.api.get(f"/prompt-runs/{story.run_id}/results", video_id=story.video_id)
    )["data"]
    found += (await kept.api.get(f"/workflow/runs/{story.run_id}/results"))["unfiltered"]["data"]
    batch = await kept.api.post("/videos/batch/segments", {"video_ids": [story.video_id]}, status=200)
    found += batch[0]["segments"]
    search = await kept.api.post(f"/search/filter/{INDEX}", {"conditions": [QUIET]}, status=200)
    found += [*search["data"], *search["results"]]
    searched = await kept.api.post("/workflow/search", {"filters": [QUIET], "index_id": INDEX}, status=200)
    found += searched["data"]
    assert len(found) == 6
    assert len({each["thumbnail_uri"] for each in found}) == 1
    assert all(each["thumbnail_available"] and not each["gif_available"] for each in found)


async def test_a_link_stays_the_same_for_an_hour_and_then_ends(
    kept: Kept, story: Story, clock: FakeClock
) -> None:
    async def link() -> str:
        [segment] = (await kept.api.get(f"/videos/{story.video_id}/segments"))["data"]
        return str(segment["thumbnail_uri"])

    clock.advance(3600 - clock.now() % 3600)
    first = await link()
    clock.advance(3599)
    assert await link() == first
    assert (await stranger_gets(kept, first)).status_code == 200
    clock.advance(1)
    assert await link() != first
    assert (await stranger_gets(kept, first)).status_code == 200
    clock.advance(3600)
    assert (await stranger_gets(kept, first)).status_code == 401


async def test_a_link_opens_nothing_else(kept: Kept, story: Story) -> None:
    [segment] = (await kept.api.get(f"/videos/{story.video_id}/segments"))["data"]
    other = segment["thumbnail_uri"].replace(kept.segment, "seg_1_99")
    assert (await stranger_gets(kept, other)).status_code == 403
    assert (await stranger_gets(kept, segment["thumbnail_uri"].partition("?")[0])).status_code == 401


async def test_a_picture_that_the_client_has_is_not_sent_again(kept: Kept) -> None:
    path = f"/api/v2/videos/segments/{kept.segment}/thumbnail"
    first = await kept.client.get(path)
    again = await kept.client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await kept.client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_the_poster(kept: Kept, story: Story) -> None:
    path = f"/api/v2/videos/{story.video_id}/poster.jpg"
    assert image(await kept.client.get(path)).size == (64, 36)
    assert image(await kept.client.get(path, params={"run_id": story.run_id})).size == (64, 36)
    await kept.api.error("GET", f"/videos/{story.video_id}/poster.jpg?run_id=run_none", 404)


async def test_the_storyboard_leads_a_player_to_each_tile_without_a_key(kept: Kept, story: Story) -> None:
    path = f"/api/v2/videos/{story.video_id}/storyboard.vtt"
    answer = await kept.client.get(path)
    assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
    cues = list(webvtt.from_string(answer.text).captions)
    assert [(cue.start, cue.end) for cue in cues] == [
        ("00:00:00.000", "01:01:01.000"),
        ("01:01:01.000", "01:01:02.500"),
    ]
    places = [urlsplit(cue.text).fragment for cue in cues]
    assert places == ["xywh=0,0,160,90", "xywh=160,0,160,90"]
    sheet = image(await stranger_gets(kept, urljoin(path, cues[0].text)))
    assert sheet.size == (320, 90)
    token = urlsplit(cues[0].text).query
    assert (await stranger_gets(kept, f"{path}?{token}")).status_code == 200
    assert (await stranger_gets(kept, path)).status_code == 401


async def test_what_is_missing_is_said(kept: Kept, story: Story, database: Database) -> None:
    item_id, _ = segment_of(kept.segment) or (0, 0)
    thumbnail = f"/videos/segments/{kept.segment}/thumbnail"
    bare = replace(kept.pack, contents=replace(kept.pack.contents, segments=(None,), storyboard=None))
    await database.write(store_pack, item_id, bare)
    assert "within segment" in (await kept.api.error("GET", thumbnail, 404))["message"]
    for name in ("storyboard.jpg", "storyboard.vtt"):
        error = await kept.api.error("GET", f"/videos/{story.video_id}/{name}", 404)
        assert "too few" in error["message"]
    await database.write(store_pack, item_id, replace(kept.pack, node="other"))
    error = await kept.api.error("GET", thumbnail, 404)
    assert "'other'" in error["message"]
    [segment] = (await kept.api.get(f"/videos/{story.video_id}/segments"))["data"]
    assert (segment["thumbnail_available"], segment["thumbnail_uri"]) == (False, None)
    await database.write(store_pack, item_id, None)
    assert "no pictures" in (await kept.api.error("GET", thumbnail, 404))["message"]
    assert (
        "no pictures" in (await kept.api.error("GET", f"/videos/{story.video_id}/poster.jpg", 404))["message"]
    )
    assert (await kept.api.error("GET", "/videos/segments/seg_1_77/thumbnail", 404))[
        "code"
    ] != "not_available"


async def test_pictures_of_a_single_node_stay_when_it_gets_a_name(
    kept: Kept, story: Story, database: Database
) -> None:
    item_id, _ = segment_of(kept.segment) or (0, 0)
    await database.write(store_pack, item_id, replace(kept.pack, node=""))
    path = f"/api/v2/videos/segments/{kept.segment}/thumbnail"
    assert image(await kept.client.get(path)).size == (64, 36)
    kept.path.unlink()
    [segment] = (await kept.api.get(f"/videos/{story.video_id}/segments"))["data"]
    assert segment["thumbnail_available"] is False


async def test_a_file_that_is_gone_or_changed_is_not_sent(kept: Kept) -> None:
    thumbnail = f"/videos/segments/{kept.segment}/thumbnail"
    kept.path.write_bytes(b"<script>" * 1000)
    assert "gone" in (await kept.api.error("GET", thumbnail, 404))["message"]
    kept.path.unlink()
    assert "gone" in (await kept.api.error("GET", thumbnail, 404))["message"]


async def test_the_pictures_of_a_deleted_video_are_gone_at_once(kept: Kept, story: Story) -> None:
    await kept.api.ask("DELETE", f"/videos/{story.video_id}", status=202)
    await kept.api.error("GET", f"/videos/segments/{kept.segment}/thumbnail", 404)
    await kept.api.error("GET", f"/videos/{story.video_id}/poster.jpg", 404)
