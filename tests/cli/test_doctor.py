"""`vvwatch doctor` and `vvwatch reconciles`: what is asked, what people and programs read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cli.answers import API, LONG_AGO, automation, watching
from tests.cli.conftest import Run
from tests.cli.fake_daemon import FakeDaemon, refusal


def finding(about: str, subject: str, state: str = "ok", **changed: Any) -> dict[str, Any]:
    usual = {"id": "", "detail": "is fine", "fix": "", "repairable": False}
    return usual | {"about": about, "subject": subject, "state": state} | changed


PUT_ONLY = finding(
    "queue",
    "notifications",
    "problem",
    id="conn_in",
    detail="uploads in parts are missed\x1b",
    fix="aws s3api put-bucket-notification-configuration …",
    repairable=True,
)
WARNED = finding("host", "inotify watches", "warning", fix="sudo sysctl fs.inotify.max_user_watches=160")


def examined(daemon: FakeDaemon, *findings: dict[str, Any]) -> None:
    states = [each["state"] for each in findings]
    worst = next((state for state in ("problem", "warning") if state in states), "ok")
    daemon.answers[f"GET {API}/doctor"] = {
        "state": worst,
        "examined_at": LONG_AGO,
        "findings": list(findings),
    }


def test_what_is_not_well_stands_above_the_line_that_mends_it(run: Run, daemon: FakeDaemon) -> None:
    examined(daemon, finding("host", "open files"), WARNED, PUT_ONLY)
    done = run("doctor")
    assert done.exit_code == 1
    assert done.stdout == (
        "host\n"
        "  ok       open files: is fine\n"
        "  warning  inotify watches: is fine\n"
        "           sudo sysctl fs.inotify.max_user_watches=160\n"
        "queue conn_in\n"
        "  problem  notifications: uploads in parts are missed\\x1b\n"
        "           aws s3api put-bucket-notification-configuration …\n"
        "\n1 problem, 1 warning\n"
        "`vvwatch doctor --fix` repairs some of it\n"
    )


@pytest.mark.parametrize("found", [finding("host", "open files"), WARNED])
def test_a_warning_is_no_failure(run: Run, daemon: FakeDaemon, found: dict[str, Any]) -> None:
    examined(daemon, found)
    assert run("doctor").exit_code == 0


def test_what_is_about_the_same_stands_together(run: Run, daemon: FakeDaemon) -> None:
    examined(daemon, finding("queue", "rights", id="a"), finding("host", "x"), finding("queue", "y", id="a"))
    titles = [line for line in run("doctor").stdout.splitlines() if line and line[0].isalpha()]
    assert titles == ["queue a", "host"]


def test_fix_repairs_first_and_tells_what_it_did(run: Run, daemon: FakeDaemon) -> None:
    examined(daemon, finding("queue", "notifications", id="conn_in"))
    daemon.answers[f"POST {API}/doctor/repair"] = {"repaired": [PUT_ONLY], "findings": [], "state": "ok"}
    done = run("doctor", "--fix")
    assert done.stdout.splitlines()[0].startswith("repaired  queue conn_in, notifications: uploads in parts")
    assert done.exit_code == 0
    assert [request.method for request in daemon.asked] == ["POST", "GET"]
    document = json.loads(run("doctor", "--fix", "--json").stdout)
    assert (document["state"], document["repaired"]) == ("ok", [PUT_ONLY])


@pytest.mark.parametrize("name", ["conn_in", "in", "Dailies"])
def test_one_connector_is_examined_by_any_of_its_names(run: Run, daemon: FakeDaemon, name: str) -> None:
    daemon.answers[f"GET {API}/connectors"] = [
        {"connector_id": "conn_in", "name": "Dailies"},
        {"connector_id": "conn_out", "name": "out"},
    ]
    examined(daemon)
    daemon.answers[f"POST {API}/doctor/repair"] = {"repaired": []}
    assert run("doctor", name, "--fix").exit_code == 0
    assert [request.query for request in daemon.asked[1:]] == [{"connector_id": "conn_in"}] * 2
    unknown = run("doctor", "other")
    assert unknown.stderr == "error: no connector is called 'other'\n  try: there is: conn_in, conn_out\n"


def test_without_a_daemon_it_says_how_to_start_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VVWATCH_STATE_DIR", "/nonexistent")
    done = run("doctor")
    assert done.exit_code == 69
    assert "`vvwatch run` starts one" in done.stderr


def test_a_key_without_the_right_is_told_so(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/doctor"] = (403, refusal("x", "this needs a key with the scope 'admin'"))
    assert run("doctor").exit_code == 77


def report(**changed: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("matched", "known", "created", "changed", "gone", "recovered"), 0)
    usual = {
        "automation_id": "auto_a",
        "finished_at": LONG_AGO,
        "listed": 5,
        "list_calls": 1,
        "cost_usd": 0.0,
        "left_out": [],
        "store_notes": [],
    }
    return counts | usual | {"complete": True, "proof": True, "remark": "", "duration_seconds": 1.5} | changed


def test_reconciles_tell_what_events_had_missed_and_what_is_no_proof(run: Run, daemon: FakeDaemon) -> None:
    watching(daemon, a=automation("a"))
    partial = report(complete=False, proof=False, remark="the store said no")
    found = [report(recovered=3), report(proof=False, remark="suddenly empty"), partial]
    daemon.answers[f"GET {API}/indexes/idx_a/automations/import/reconciles"] = found
    shown = run("reconciles", "a").stdout
    rows = shown.splitlines()
    assert [row.split("1.5s")[-1].strip() for row in rows[1:4]] == ["complete", "no proof", "broke off"]
    assert re.search(r"^auto_a, .* ago: no proof\n  suddenly empty$", shown, re.MULTILINE)
    assert re.search(r"^auto_a, .* ago: broke off\n  the store said no$", shown, re.MULTILINE)
    assert rows[0].split()[7] == "RECOVERED"
    assert daemon.asked[-1].query == {"limit": "20"}
    daemon.answers[f"GET {API}/reconciles"] = found[:1]
    daemon.asked.clear()
    assert json.loads(run("reconciles", "--json").stdout) == {"reconciles": found[:1]}
    assert daemon.requests("GET") == [f"{API}/reconciles"], (
        "without a name, the last one of each by one request"
    )


def test_a_narrow_terminal_shows_what_a_sweep_came_to_and_all_of_why(
    run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lost, name = "most of what is known is missing, which is not believed yet", f"auto_{'a' * 40}"
    left_out = [{"reason": "key_too_long", "count": 3, "explanation": "its key has more than 1,024 bytes"}]
    daemon.answers[f"GET {API}/reconciles"] = [
        report(automation_id=name, listed=1_000_000, proof=False, remark=lost, left_out=left_out),
        report(automation_id=name, store_notes=["it lists objects without an ETag"]),
    ]
    shown = run("reconciles").stdout
    table, *why = shown.split("\n\n")
    assert max(map(len, table.splitlines())) <= 80
    assert table.splitlines()[0].split() == ["AUTOMATION", "SWEPT", "LISTED", "NEW", "GONE", "RESULT"]
    assert lost in why[0]
    assert "left out: 3, its key has more than 1,024 bytes" in why[0]
    assert "it lists objects without an ETag" in why[1]


def test_without_a_sweep_there_is_nothing_to_tell(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/reconciles"] = []
    assert run("reconciles").stdout == "there was no full scan yet\n"
