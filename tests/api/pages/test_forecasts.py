"""What new media would cost stands beside what a scan would find."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import Api
from tests.api.pages.browser import Browser
from tests.api.story import Story
from tests.fakes import FakeStorage
from vvwatch.api.pages.automation_forms import Trial
from vvwatch.api.pages.forecasts import CostForecast
from vvwatch.api.pages.rendering import render_text

pytestmark = pytest.mark.anyio

PREVIEW = {
    "listed": 9,
    "matched": 9,
    "new": 4,
    "known": 5,
    "file_pattern": "*",
    "complete": True,
    "warnings": [],
    "declined": [],
    "new_keys": [],
}
SAID = '{% import "trial.html" as trials with context %}{{ trials.trial(found) }}'


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (
            {"sample": 2, "calls": 12, "usd": 1.5, "processor": "gpt"},
            "at most about <b>1.50 US dollars</b> (12 calls",
        ),
        (
            {"sample": 1, "calls": 1, "usd": 0.0, "processor": "gpt"},
            "As the last 1 media item of this index would",
        ),
        (
            {"sample": 2, "calls": 12, "processor": "gpt"},
            "12 calls of <code>gpt</code>, whose price is not configured",
        ),
        (
            {"sample": 2, "usd": 0.0, "processor": "technical"},
            "costs nothing: <code>technical</code> makes no calls",
        ),
        ({}, "not known before the index has media"),
        ({"trouble": "prompt 'p' is deactivated"}, "unknown: prompt &#39;p&#39; is deactivated"),
    ],
)
def test_a_forecast_says_what_is_known(known: dict[str, Any], said: str) -> None:
    found = Trial(PREVIEW, None, CostForecast(4, **known))
    assert said in render_text(SAID, {"found": found})


def test_nothing_new_costs_nothing_to_say() -> None:
    found = Trial(PREVIEW | {"new": 0}, None, CostForecast(0, sample=2, calls=0))
    assert "cost" not in render_text(SAID, {"found": found})


async def test_a_preview_follows_from_the_media_of_the_index(
    story: Story, operator: Browser, api: Api, storage: FakeStorage
) -> None:
    storage.put("new.mp4", b"x")
    text = await operator.page(f"/automations/{story.automation_id}/preview")
    assert "<b>1</b> would be imported" in text
    assert "costs nothing" in text
