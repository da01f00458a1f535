"""Processors over the API: how they stand, how a pause ends, and what status and doctor say of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.api.asking import Api, client_of
from tests.clock import FakeClock
from tests.processing import FakeProcessor
from tests.store.footage import items, shot, started
from vvwatch.api.http.context import ApiContext
from vvwatch.core.budgets import Budget, Budgets, day_scope, month_scope
from vvwatch.core.processors import SPEECH_ENDPOINT
from vvwatch.errors import ProcessorError
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.runs import processor_states, runs, spending
from vvwatch.store.runs.processor_states import Pause

pytestmark = pytest.mark.anyio

OR_RESTART = "; after changing the configuration or a key: sudo systemctl restart vvwatch"
REFUSED = Pause("processor_error", "the endpoint refused the key (401)", "put another into gpt.key")


def spend(tx: Tx) -> None:
    """Three calls of `other` today, one of them of unknown price."""
    scopes = [day_scope(tx.now, "other"), month_scope(tx.now, "other"), day_scope(tx.now)]
    spending.lock_spent(tx, scopes)
    change = spending.Change(
        calls=3,
        input_tokens=3_000,
        output_tokens=200,
        cost_nanousd=1_500_000_000,
        unpriced_calls=1,
        reserved_nanousd=500_000_000,
    )
    spending.add_changes(tx, dict.fromkeys(scopes, change))


async def test_a_processor_that_nobody_asked_has_done_nothing(api: Api) -> None:
    technical, _ = await api.get("/processors")
    assert technical == {
        "processor_id": "technical",
        "name": "technical",
        "type": "technical",
        "models": ["gemini-2*", "gemini-3*", "gpt-*", "claude-*"],
        "state": "active",
        "paused_at": None,
        "until": None,
        "reason": None,
        "fix": None,
        "calls_in_flight": 0,
        "today": {
            "calls": 0,
            "input_tokens": 0,
            "output_tokens": 0,
            "cost_usd": 0.0,
            "unpriced_calls": 0,
        },
        "budgets": [],
    }


async def test_what_was_spent_is_shown_with_what_is_left_of_each_budget(
    context: ApiContext, database: Database
) -> None:
    limits = Budgets(Budget(per_day_usd=2.0), {"other": Budget(per_item_usd=1.0, per_day_calls=3)})
    paid = replace(context, budgets=limits, calls_in_flight=lambda: {"other": 2})
    await database.write(spend)
    async with client_of(paid) as client:
        api = await Api.prepared(client, paid)
        _, other = await api.get("/processors")
    assert other["calls_in_flight"] == 2
    assert other["today"] == {
        "calls": 3,
        "input_tokens": 3_000,
        "output_tokens": 200,
        "cost_usd": 1.5,
        "unpriced_calls": 1,
    }
    midnight = "2026-09-22T00:00:00.000Z"
    overall, per_item, calls = other["budgets"]
    assert overall == {
        "table": "[processing.budget]",
        "option": "per_day_usd",
        "most": 2.0,
        "used": 2.0,
        "left": 0.0,
        "until": midnight,
    }
    assert (per_item["option"], per_item["used"], per_item["left"]) == ("per_item_usd", None, None)
    assert (calls["table"], calls["used"], calls["left"]) == ("[processors.other.budget]", 3.0, 0.0)


async def test_a_paused_processor_says_why_and_goes_on_when_a_person_says_so(
    api: Api, database: Database
) -> None:
    await database.write(processor_states.pause, "other", REFUSED)
    _, other = await api.get("/processors")
    assert (other["state"], other["until"]) == ("paused", None)
    assert other["paused_at"] == "2026-09-21T14:13:20.000Z"
    assert other["reason"] == REFUSED.message
    assert other["fix"] == "put another into gpt.key, then: vvwatch processors resume other" + OR_RESTART
    resumed = await api.post("/processors/other/resume")
    assert resumed == (await api.get("/processors"))[1]
    assert (resumed["state"], resumed["reason"]) == ("active", None)
    assert await api.post("/processors/other/resume") == resumed, "twice is as once"


async def test_an_unknown_processor_is_not_found(api: Api) -> None:
    error = await api.error("POST", "/processors/nobody/resume", 404)
    assert error["code"] == "resource_processor_not_found"
    assert error["details"]["hint"] == "available: technical, other"


async def attention(api: Api, kind: str) -> list[dict[str, Any]]:
    return [each for each in (await api.get("/status"))["attention"] if each["kind"] == kind]


async def waiting_run(database: Database, code: str, message: str) -> str:
    await shot(database, 2)
    run_id = await started(database)
    for item in items(database):
        await database.write(runs.begin_item, item)
        at = database.clock.now() + 300
        await database.write(runs.retry_item, item, at, code, message, waits=True)
    return run_id


async def test_a_paused_processor_needs_somebody_and_its_runs_are_not_told_beside_it(
    api: Api, database: Database, clock: FakeClock
) -> None:
    await waiting_run(database, "budget_reached", "the day's money is spent")
    until = clock.now() + 60
    await database.write(processor_states.pause, "technical", replace(REFUSED, until=until))
    [found] = await attention(api, "processor")
    assert (found["attention_id"], found["state"]) == ("technical", "waiting")
    assert found["what"] == "is paused: the endpoint refused the key (401)"
    assert found["fix"] == "put another into gpt.key, then: vvwatch processors resume technical" + OR_RESTART
    assert found["next_try_at"] == "2026-09-21T14:14:20.000Z"
    assert await attention(api, "prompt_run") == []


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("budget_reached", "raise the budget in vvwatch.toml, then sudo systemctl restart vvwatch"),
        ("processor_unavailable", "vvwatch doctor"),
    ],
)
async def test_a_run_that_waits_for_money_or_for_an_endpoint_needs_somebody(
    api: Api, database: Database, code: str, fix: str
) -> None:
    run_id = await waiting_run(database, code, "the run's money is spent")
    [found] = await attention(api, "prompt_run")
    assert (found["attention_id"], found["state"], found["count"]) == (run_id, "waiting", 2)
    assert found["what"] == "waits for the processor technical: the run's money is spent"
    assert (found["fix"], found["dismissable"]) == (fix, False)


class Sick(FakeProcessor):
    """Implements `Examinable`: finds what it is told to find."""

    def __init__(self, name: str, *wrong: ProcessorError) -> None:
        super().__init__(name)
        self.wrong = wrong

    async def examine(self) -> tuple[ProcessorError, ...]:
        return self.wrong


async def test_the_doctor_asks_processors_and_names_what_mends_them(
    context: ApiContext, database: Database
) -> None:
    await database.write(processor_states.pause, "sick", REFUSED)
    sick = Sick("sick", ProcessorError("the key is refused", "correct api_key_file"))
    processors = {"technical": FakeProcessor(), "well": Sick("well"), "sick": sick}
    ill = replace(context, processors=processors)
    async with client_of(ill) as client:
        api = await Api.prepared(client, ill)
        found = (await api.get("/doctor"))["findings"]
    told = [
        (each["id"], each["subject"], each["state"], each["detail"], each["fix"])
        for each in found
        if each["about"] == "processor"
    ]
    assert told == [
        ("well", "answers", "ok", "can do its work", ""),
        ("sick", "answers", "problem", "the key is refused", "correct api_key_file"),
        (
            "sick",
            "paused",
            "problem",
            REFUSED.message,
            "put another into gpt.key, then: vvwatch processors resume sick" + OR_RESTART,
        ),
    ]


async def test_the_transcription_endpoint_is_examined_and_resumed_like_a_processor(
    context: ApiContext, database: Database
) -> None:
    await database.write(processor_states.pause, SPEECH_ENDPOINT, REFUSED)
    endpoint = Sick(SPEECH_ENDPOINT, ProcessorError("the key is refused", "correct api_key_file"))
    model = Sick("search", ProcessorError("there is no model.onnx", "see docs/search.md"))
    able = replace(context, dependencies={SPEECH_ENDPOINT: endpoint, "search": model})
    async with client_of(able) as client:
        api = await Api.prepared(client, able)
        findings = (await api.get("/doctor"))["findings"]
        [told] = await attention(api, "processor")
        listed = await api.get("/processors")
        resumed = await api.post(f"/processors/{SPEECH_ENDPOINT}/resume")
        assert await attention(api, "processor") == []
    wrong = [
        (each["id"], each["subject"], each["detail"])
        for each in findings
        if each["about"] == "processor" and each["state"] == "problem"
    ]
    assert wrong == [
        (SPEECH_ENDPOINT, "answers", "the key is refused"),
        ("search", "answers", "there is no model.onnx"),
        (SPEECH_ENDPOINT, "paused", REFUSED.message),
    ]
    assert told["attention_id"] == SPEECH_ENDPOINT
    assert f"vvwatch processors resume {SPEECH_ENDPOINT}" in told["fix"]
    assert [each["processor_id"] for each in listed] == ["technical", "other", SPEECH_ENDPOINT]
    assert (listed[-1]["state"], listed[-1]["reason"]) == ("paused", REFUSED.message)
    assert (resumed["type"], resumed["state"]) == ("transcription", "active")
