"""`vvwatch processors`: what people and programs read."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.answers import API
from tests.cli.conftest import Run
from tests.cli.fake_daemon import FakeDaemon

TODAY = {
    "calls": 1_200,
    "input_tokens": 90_000,
    "output_tokens": 10_000,
    "cost_usd": 1.5,
    "unpriced_calls": 0,
}
BUDGET = {"table": "[processing.budget]", "option": "per_day_usd", "most": 50.0, "used": 1.5, "left": 48.5}


def processor(name: str = "gpt", **changed: Any) -> dict[str, Any]:
    usual = {
        "type": "openai",
        "models": ["gpt-*"],
        "state": "active",
        "paused_at": None,
        "until": None,
        "reason": None,
        "fix": None,
        "calls_in_flight": 3,
        "today": TODAY,
        "budgets": [],
    }
    return usual | {"processor_id": name, "name": name} | changed


PAUSED = processor(
    state="paused",
    reason="the endpoint refused the key\x1b",
    fix="put another into gpt.key, then vvwatch processors resume gpt",
)


def test_what_processors_did_today_stands_in_a_line_each(run: Run, daemon: FakeDaemon) -> None:
    unpriced = processor("local", today=TODAY | {"unpriced_calls": 5})
    daemon.answers[f"GET {API}/processors"] = [processor(), unpriced]
    first, second = run("processors").stdout.splitlines()[1:]
    assert first.split() == ["gpt", "openai", "active", "3", "1,200", "100,000", "1.5000", "USD"]
    assert second.endswith("at least 1.5000 USD"), "nobody knows what five calls cost"


def test_a_pause_is_told_with_the_line_that_mends_it(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/processors"] = [PAUSED]
    assert run("processors", "list").stdout.splitlines()[2:] == [
        "gpt is paused: the endpoint refused the key\\x1b",
        "  put another into gpt.key, then vvwatch processors resume gpt",
    ]


def test_budgets_say_what_is_used(run: Run, daemon: FakeDaemon) -> None:
    per_item = BUDGET | {"option": "per_item_usd", "used": None, "left": None, "until": None}
    budgets = [BUDGET | {"until": "2040-01-01T00:00:00.000Z"}, per_item]
    daemon.answers[f"GET {API}/processors"] = [processor(budgets=budgets)]
    [line] = run("processors").stdout.splitlines()[2:]
    assert line.startswith("gpt: 1.5 of 50 used ([processing.budget] per_day_usd), resets ")


def test_a_processor_is_resumed_by_name(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"POST {API}/processors/gpt/resume"] = processor()
    assert run("processors", "resume", "gpt").stdout == "gpt is active\n"
    assert json.loads(run("processors", "resume", "gpt", "--json").stdout)["name"] == "gpt"


def test_programs_read_all_of_it(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/processors"] = [PAUSED]
    assert json.loads(run("processors", "--json").stdout) == {"processors": [PAUSED]}
