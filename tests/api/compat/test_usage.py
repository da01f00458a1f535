"""Figures of what was done, as far as it is known."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.api.asking import Api
from tests.api.story import Story
from tests.clock import FakeClock

pytestmark = pytest.mark.anyio

NOTHING = {
    "media_imported": 0,
    "bytes_imported": 0,
    "media_processed": 0,
    "seconds_processed": 0,
    "segments_created": 0,
    "exports_completed": 0,
    "bytes_exported": 0,
    "deliveries_delivered": 0,
}


async def test_what_was_done_this_month_counts(api: Api, story: Story) -> None:
    answer = await api.get("/usage")
    figures = answer["metrics"]
    assert figures.keys() == NOTHING.keys()
    whole = {"media_imported": 1, "bytes_imported": 4, "media_processed": 1, "exports_completed": 1}
    assert {name: figures[name] for name in whole} == whole
    assert figures["seconds_processed"] > 0
    assert figures["bytes_exported"] == 812
    assert figures["deliveries_delivered"] == 4
    assert answer["totals"]["total_videos_uploaded"] == 1
    assert answer["totals"]["total_segments_created"] == figures["segments_created"] == 1
    assert answer["period_start"].endswith("-01T00:00:00.000Z")
    assert (await api.get("/usage/breakdown"))["breakdown"] == figures


async def test_another_month_has_its_own_figures(api: Api, story: Story, clock: FakeClock) -> None:
    before = (await api.get("/usage"))["metrics"]
    clock.advance(40 * 86_400)
    assert (await api.get("/usage"))["metrics"] == NOTHING
    periods = (await api.get("/usage/history", limit=3))["periods"]
    assert [period["summary_id"] for period in periods] == ["usage_2026-10", "usage_2026-09", "usage_2026-08"]
    assert [period["metrics"] for period in periods] == [NOTHING, before, NOTHING]
    some = (await api.get("/usage/history", start_date="2026-09-20", end_date="2026-10-01T00:00:00Z"))[
        "periods"
    ]
    assert [period["summary_id"] for period in some] == ["usage_2026-10", "usage_2026-09"]


async def test_each_thing_that_counted_is_told(api: Api, story: Story) -> None:
    [imported] = await api.get("/usage/details", metric_type="bytes_imported")
    assert (imported["value"], imported["unit"]) == (4, "bytes")
    assert imported["metadata"] == {"video_id": story.video_id}
    every = await api.get("/usage/details")
    assert {detail["metric_type"] for detail in every} == NOTHING.keys()
    assert len({detail["event_id"] for detail in every}) == len(every)
    assert [detail["timestamp"] for detail in every] == sorted((d["timestamp"] for d in every), reverse=True)
    assert len(await api.get("/usage/details", limit=2)) == 2
    assert await api.get("/usage/details", start_date="2020-01-01", end_date="2020-02-01") == []


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/usage/details", {"metric_type": "tokens"}),
        ("/usage/breakdown", {"start_date": "2026-02-01", "end_date": "2026-01-01"}),
        ("/usage/history", {"start_date": "yesterday"}),
        ("/usage/history", {"limit": 25}),
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, path: str, params: dict[str, Any]) -> None:
    await api.error("GET", path, 422, params=params)


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1969-12-31"])
async def test_the_ends_of_time_break_nothing(api: Api, end: str) -> None:
    params = {"start_date": "0001-01-01T00:00:00+14:00", "end_date": end}
    for path in ("/usage/history", "/usage/breakdown", "/usage/details"):
        await api.get(path, **params)


async def test_what_is_counted_everyone_may_know(stranger: httpx2.AsyncClient) -> None:
    answer = await stranger.get("/api/v2/usage/metric-types")
    assert {metric["type"] for metric in answer.json()} == NOTHING.keys()
    assert all(metric["description"] and metric["unit"] for metric in answer.json())
