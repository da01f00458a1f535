"""What new media would cost, by what the last media of their index would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vvwatch.api.http.auth import PREFIX
from vvwatch.api.pages.access import PageRequest
from vvwatch.api.pages.calls import call_api
from vvwatch.store.imports import media_queries

_SAMPLE: Final = 100
_NOT_OF_RUNS: Final = frozenset({"prompt_id", "prompt_version"})


@dataclass(frozen=True, slots=True)
class CostForecast:
    """The most that `items` new media cost, in US dollars; None if a price is unknown.

    `sample` is how many of the last media it follows from; with 0, or with `trouble`, nothing is known.
    """

    items: int
    processor: str = ""
    sample: int = 0
    calls: int = 0
    usd: float | None = None
    trouble: str = ""


async def forecast_cost(
    page: PageRequest, index_id: str, preset: Mapping[str, Any], items: int
) -> CostForecast:
    """Return what the processing of `items` new media of the index would cost with the settings of `preset`."""
    known = await page.context.database.read(media_queries.list_newest_ids, index_id, _SAMPLE)
    if not known:
        return CostForecast(items)
    settings = {
        name: value for name, value in preset.items() if name not in _NOT_OF_RUNS and value is not None
    }
    target = {"type": "videos", "video_ids": list(known)}
    body = {**settings, "prompt_id": preset["prompt_id"], "target": target}
    answer = await call_api(page.request, page.session, "POST", f"{PREFIX}/prompt-runs/estimate", body)
    if not answer.ok:
        return CostForecast(items, trouble=answer.message)
    found, share = answer.document["breakdown"], items / len(known)
    return CostForecast(
        items=items,
        processor=answer.document["processor"],
        sample=len(known),
        calls=round(found["calls"] * share),
        usd=None if found["usd"] is None else found["usd"] * share,
    )
