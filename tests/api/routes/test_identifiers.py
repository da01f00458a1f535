from __future__ import annotations

import pytest

from tests.api.asking import Api
from tests.api.story import Story
from vvwatch.store.admin.id_queries import TABLES, list_like
from vvwatch.store.db.database import Database

pytestmark = pytest.mark.anyio


async def test_a_part_of_an_id_finds_the_whole(api: Api, story: Story) -> None:
    wholes = {"job": story.job_id, "run": story.run_id, "exp": story.export_id, "vid": story.video_id}
    for kind, whole in wholes.items():
        digits = whole.partition("_")[2]
        for part in (digits[:12], digits[-4:], digits):
            found = await api.get("/ids", kind=kind, part=part)
            assert {"resource_id": whole} in found, (kind, part)
            assert all(digits[-4:] == each["resource_id"][-4:] for each in found if part == digits[-4:])
        assert await api.get("/ids", kind=kind, part="zzzz") == []


async def test_what_is_no_part_of_an_id_is_refused(api: Api, story: Story) -> None:
    for query in ("kind=job&part=abc", "kind=job&part=%25%25%25%25", "kind=key&part=abcd", "part=abcd"):
        await api.error("GET", f"/ids?{query}", 422)


async def test_the_newest_come_first_and_no_more_than_asked_for(
    api: Api, story: Story, database: Database
) -> None:
    ids = await database.read(list_like, "del", "0", 100)
    assert list(ids) == sorted(ids, reverse=True)
    assert list(await database.read(list_like, "del", "0", 1)) == list(ids[:1])


@pytest.mark.parametrize("kind", TABLES)
async def test_every_kind_can_be_asked_for(api: Api, kind: str) -> None:
    assert await api.get("/ids", kind=kind, part="0000") == []
