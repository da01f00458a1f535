"""Segments as files, as who has only the link gets them: never the whole under a segment's name."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import httpx2
import pytest

from tests import samples
from tests.api.asking import Api, client_of
from tests.api.story import Story
from tests.fakes import FakeStorage
from vvwatch.api.http.context import ApiContext
from vvwatch.core.identities import segment_of
from vvwatch.processors.media.clips import Clipper
from vvwatch.processors.media.isolation import Limits
from vvwatch.providers.spool import Spool
from vvwatch.store.db.database import Database
from vvwatch.store.schema import media, segment_results
from vvwatch.workflow.pipeline.clips import Clips, estimate_room

pytestmark = pytest.mark.anyio

KEY = "shows/film.mp4"


@dataclass
class Film:
    """A video of twelve seconds, with a key frame every second; its segment is that from 3.2 to 6.4."""

    api: Api
    context: ApiContext
    database: Database
    storage: FakeStorage
    video: str
    segment: str
    spool: Path

    async def change(self, **columns: Any) -> None:
        await self.database.write(lambda tx: tx.update(media, self.video, **columns))

    async def place(self, start: float, end: float) -> None:
        item_id, ordinal = segment_of(self.segment) or (0, 0)
        table = segment_results
        its = table.c.run_item_id == item_id, table.c.ordinal == ordinal
        changed = table.update().where(*its).values(start_time=start, end_time=end)
        await self.database.write(lambda tx: tx.execute(changed))

    async def grant(self) -> Any:
        body = {"video_id": self.video, "segment_id": self.segment}
        return await self.api.post("/workflow/media-grants", body)

    async def download(self) -> httpx2.Response:
        """As the n8n node downloads: by the link alone."""
        url = (await self.grant())["url"]
        async with client_of(self.context) as stranger:
            stranger.headers.pop("X-API-Key", None)
            return await stranger.get(url)


@pytest.fixture
async def film(
    context: ApiContext, story: Story, storage: FakeStorage, database: Database, tmp_path: Path
) -> AsyncIterator[Film]:
    spool = tmp_path / "spool"
    spool.mkdir()
    clips = Clips(Clipper(limits=Limits(), work_dir=spool), Spool(spool, 1 << 30))
    path = samples.video(tmp_path / "film.mp4", seconds=12, cuts=tuple(float(at) for at in range(1, 12)))
    stored = storage.put(KEY, path.read_bytes())
    mine = replace(context, clips=clips)
    async with client_of(mine) as client:
        api = await Api.prepared(client, mine)
        [segment] = (await api.get(f"/videos/{story.video_id}/segments"))["data"]
        made = Film(api, mine, database, storage, story.video_id, segment["segment_id"], spool)
        known = {"key": KEY, "version": stored.version, "size_bytes": stored.size_bytes}
        await made.change(**known, duration_seconds=12.0)
        await made.place(3.2, 6.4)
        yield made
    assert list(spool.iterdir()) == []


async def test_a_grant_of_a_segment_gives_the_segment(film: Film) -> None:
    grant = await film.grant()
    assert grant["filename"] == "film_00-03.2_00-06.4.mp4"
    assert (grant["start_time"], grant["end_time"], grant["cut"]) == (3.2, 6.4, "cut at key frames")
    assert (grant["size_bytes"], grant["mime_type"]) == (None, "video/mp4")
    answer = await film.download()
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="film_00-03.2_00-06.4.mp4"'
    assert answer.headers["x-clip-cut"] == "cut at key frames"
    start, end = float(answer.headers["x-clip-start"]), float(answer.headers["x-clip-end"])
    assert 0 <= start <= 3.2
    assert end == pytest.approx(6.4, abs=0.3)
    assert int(answer.headers["content-length"]) == len(answer.content)
    with av.open(io.BytesIO(answer.content), "r") as container:
        times = [float(frame.time or 0) for frame in container.decode(video=0)]
    assert times[-1] - times[0] == pytest.approx(end - start, abs=0.3)


async def test_a_segment_as_long_as_its_original_is_the_original(film: Film) -> None:
    await film.place(0.0, 12.0)
    grant = await film.grant()
    assert (grant["filename"], grant["cut"]) == ("film.mp4", None)
    assert "/media/" in grant["url"]
    assert grant["segment_id"] == film.segment
    await film.place(0.0, 0.0)
    await film.change(media_type="image", duration_seconds=None)
    assert (await film.grant())["filename"] == "film.mp4"


async def test_what_cannot_be_cut_says_why_and_is_not_the_whole(film: Film) -> None:
    await film.place(100.0, 110.0)
    answer = await film.download()
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "not_available"
    assert "nothing to cut" in error["message"]
    film.storage.put(KEY, b"no media at all")
    version = (await film.storage.stat(KEY)).version
    await film.change(version=version)
    assert (await film.download()).status_code == 404


async def test_a_replaced_or_removed_original_is_no_clip(film: Film) -> None:
    film.storage.put(KEY, b"other bytes")
    assert (await film.download()).json()["error"]["code"] == "media_changed"
    del film.storage._objects[KEY]
    assert (await film.download()).json()["error"]["code"] == "media_gone"


async def test_a_link_opens_only_its_segment(film: Film) -> None:
    url = (await film.grant())["url"]
    async with client_of(film.context) as stranger:
        stranger.headers.pop("X-API-Key", None)
        assert (await stranger.get(url.replace(film.segment, "seg_1_99"))).status_code == 403
        assert (await stranger.get(url.partition("?")[0])).status_code == 401


def test_the_room_for_a_clip_is_bounded() -> None:
    assert estimate_room(1 << 30, 1000.0, (0.0, 10.0)) < (1 << 30) / 20
    assert estimate_room(1 << 30, None, (0.0, 10.0)) < (1 << 30) * 1.1
    assert estimate_room(100, 10.0, (0.0, 10.0)) > 1 << 20
