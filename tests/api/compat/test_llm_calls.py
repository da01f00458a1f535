"""Money over the API: the ledger of a run, what it came to, and what a run would cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.api.asking import Api, client_of
from tests.api.story import INDEX
from tests.clock import FakeClock
from tests.processing import FakeProcessor
from tests.store.footage import items, shot, started
from tests.store.pipeline import RESULT
from vvwatch.api.http.context import ApiContext
from vvwatch.core.budgets import Budget, Budgets
from vvwatch.core.identities import WHOLE
from vvwatch.core.media import RunSettings, Segment
from vvwatch.core.money import CallStatus, Forecast, Usage, Workload
from vvwatch.ports.processing import CallIntent, Prompt
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.store.runs import runs
from vvwatch.store.runs.journal import Owner
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.journal import CallLedger, ItemJournal

pytestmark = pytest.mark.anyio

CENT = Usage(1000, 200, 0.01)
TARGET = {"prompt_id": catalog.DEFAULT_PROMPT_ID, "target": {"type": "index", "index_id": INDEX}}


@pytest.fixture
async def run_id(database: Database, clock: FakeClock) -> str:
    """A run with four calls: one good, one of unknown price, one that failed, one under way."""
    await shot(database, 1)
    run_id = await started(database)
    [job] = items(database)
    work = await database.write(runs.begin_item, job)
    assert work is not None
    owner = Owner(job, run_id, work.item.id, work.media.id, "gpt", work.item.attempts)
    journal = ItemJournal(CallLedger(database, Telemetry("test")), owner)

    async def call(ordinal: int, *ended: Any, **told: Any) -> None:
        times = (None, None) if ordinal == WHOLE else (2.0 * ordinal, 2.0 * ordinal + 2.0)
        begun = await journal.begin_call(
            CallIntent(ordinal, "segment", 0, "gpt-5", CENT, start_time=times[0], end_time=times[1])
        )
        clock.advance(1.5)
        if ended:
            await journal.end_call(begun, *ended, **told)

    segment = Segment(0.0, 2.0, {}, "a dog")
    await call(0, CallStatus.COMPLETED, CENT, answer="{}", model="gpt-5-mini", segment=(0, segment))
    await call(1, CallStatus.COMPLETED, Usage(100, 20), answer="{}")
    await call(2, CallStatus.FAILED, Usage(), error="503")
    await call(WHOLE)
    return run_id


async def test_the_ledger_has_every_call(api: Api, run_id: str) -> None:
    first, unpriced, failed, under_way = await api.get(f"/prompt-runs/{run_id}/llm-calls")
    assert first == {
        "llm_call_id": first["llm_call_id"],
        "prompt_run_id": run_id,
        "prompt_id": catalog.DEFAULT_PROMPT_ID,
        "video_id": first["video_id"],
        "segment_id": first["segment_id"],
        "user_id": "key_1",
        "processor": "gpt",
        "model": "gpt-5-mini",
        "purpose": "segment",
        "status": "completed",
        "attempts": 1,
        "input_tokens": 1000,
        "output_tokens": 200,
        "total_tokens": 1200,
        "cost_usd": 0.01,
        "video_seconds": 2.0,
        "segment_start_time": 0.0,
        "segment_end_time": 2.0,
        "invoked_at": first["invoked_at"],
        "completed_at": first["completed_at"],
        "duration_ms": 1500,
        "error_message": None,
    }
    assert (unpriced["cost_usd"], failed["cost_usd"], failed["error_message"]) == (None, 0.0, "503")
    assert (under_way["status"], under_way["segment_id"], under_way["completed_at"]) == (
        "started",
        None,
        None,
    )
    rest = await api.get(f"/prompt-runs/{run_id}/llm-calls", limit=2, after=first["llm_call_id"])
    assert rest == [unpriced, failed]
    path, query = f"/api/v2/prompt-runs/{run_id}/llm-calls", f"limit=2&after={failed['llm_call_id']}"
    answer = await api.client.get(f"{path}?limit=2&after={first['llm_call_id']}")
    assert answer.headers["Link"] == f'<{path}?{query}>; rel="next"'
    last = await api.client.get(f"{path}?{query}")
    assert last.json() == [under_way]
    assert "Link" not in last.headers
    await api.error("GET", "/prompt-runs/run_none/llm-calls", 404)


async def test_a_run_tells_what_it_cost_as_far_as_anybody_knows(api: Api, run_id: str) -> None:
    run = await api.get(f"/prompt-runs/{run_id}")
    assert run["cost"] == {
        "calls": 4,
        "input_tokens": 1100,
        "output_tokens": 220,
        "usd": 0.01,
        "unpriced_calls": 1,
        "reserved_usd": 0.01,
    }
    assert run["billing_actual_mt"] == 10
    assert "1 of 4 calls" in run["billing_error"]


async def test_the_segments_of_an_item_under_way_are_there(api: Api, run_id: str) -> None:
    video = (await api.get(f"/prompt-runs/{run_id}/llm-calls"))[0]["video_id"]
    page = await api.get(f"/prompt-runs/{run_id}/results", video_id=video)
    assert [segment["metadata_text"] for segment in page["data"]] == ["a dog"]


@dataclass
class Paid(FakeProcessor):
    """A processor that knows what a segment costs, or does not."""

    usd_per_segment: float | None = 0.01

    def __post_init__(self) -> None:
        super().__init__("gpt", RESULT)

    def forecast(self, workload: Workload, prompt: Prompt, settings: RunSettings) -> Forecast:
        count, price = workload.segments_at_most, self.usd_per_segment
        return Forecast(count, 1000 * count, 100 * count, None if price is None else price * count)


@pytest.fixture
async def paid(api: Api, context: ApiContext, database: Database) -> Any:
    """Ask what a run over three media, each of one segment, would cost within such budgets."""
    await shot(database, 3)
    names = database.processors
    processor = Paid()
    database.processors = replace(names, infos={**names.infos, "gpt": processor.info})
    options = {"video_segmentation_type": "fixed", "video_segment_duration": 300, "processing_model": "gpt"}
    options |= {"audio_segmentation_type": "fixed", "audio_segment_duration": 300}

    async def estimate(budget: Budget, usd_per_segment: float | None = 0.01) -> Any:
        processor.usd_per_segment = usd_per_segment
        processors = {**context.processors, "gpt": processor}
        changed = replace(context, processors=processors, budgets=Budgets(budget))
        async with client_of(changed) as client:
            asking = await Api.prepared(client, changed)
            return await asking.post("/prompt-runs/estimate", {**TARGET, **options})

    return estimate


async def test_an_estimate_tells_calls_tokens_and_dollars(paid: Any) -> None:
    found = await paid(Budget())
    whole = found["breakdown"]
    assert (whole["calls"], whole["input_tokens"], whole["output_tokens"], whole["usd"]) == (
        3,
        3000,
        300,
        0.03,
    )
    assert (found["estimated_mt"], found["processor"], found["current_balance_mt"]) == (30, "gpt", 0)
    assert (found["sufficient_balance"], found["shortages"]) == (True, [])


@pytest.mark.parametrize(
    ("budget", "left", "option"),
    [
        (Budget(per_run_usd=0.03), 30, None),
        (Budget(per_run_usd=0.02), 20, "per_run_usd"),
        (Budget(per_day_usd=0.02, per_month_usd=1), 20, "per_day_usd"),
        (Budget(per_item_usd=0.005), 0, "per_item_usd"),
        (Budget(per_day_calls=2), 0, "per_day_calls"),
    ],
)
async def test_a_budget_that_would_not_suffice_is_named(
    paid: Any, budget: Budget, left: float, option: str | None
) -> None:
    found = await paid(budget)
    assert (found["sufficient_balance"], found["current_balance_mt"]) == (option is None, pytest.approx(left))
    assert option is None or any(option in each for each in found["shortages"])


async def test_an_unknown_price_is_told_and_fits_no_budget_in_dollars(paid: Any) -> None:
    free = await paid(Budget(), None)
    assert (free["breakdown"]["usd"], free["sufficient_balance"]) == (None, True)
    held = await paid(Budget(per_day_usd=1000), None)
    assert held["sufficient_balance"] is False
    assert "nobody knows" in held["shortages"][0]
