"""The commands that list exports, runs, results, webhooks, deliveries, connectors and prompts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.answers import API, LONG_AGO, failed_segment, failed_segments, prompt_run
from tests.cli.conftest import Run
from tests.cli.fake_daemon import FakeDaemon

EXPORT = {
    "export_id": "exp_1",
    "index_id": "idx_a",
    "status": "failed",
    "attempts": 2,
    "max_attempts": 150,
    "created_at": LONG_AGO,
    "destination_type": "connector",
    "destination_uri": None,
    "last_error": "no room\x1b",
    "files": [{"name": "a.csv", "format": "csv", "size_bytes": 1_200, "sha256": "ab"}],
}
RUN = {
    "run_id": "run_1",
    "prompt_name": "scenes",
    "status": "completed",
    "cost": {"calls": 2, "usd": 0.5, "unpriced_calls": 0},
    "started_at": LONG_AGO,
    **{f"{what}_{kind}": 1 for what in ("completed", "total") for kind in ("videos", "audios", "images")},
    **{f"failed_{kind}": 0 for kind in ("videos", "audios", "images")},
}
SEGMENT = {
    "segment_id": "seg_1_0",
    "start_time": 0.0,
    "end_time": 2.5,
    "metadata_text": "a lighthouse",
    "error_message": None,
}
WEBHOOK = {
    "webhook_id": "wh_news",
    "status": "disabled",
    "failure_count": 20,
    "last_success_at": None,
    "events": ["export.ready"],
    "url": "https://news.example/hook",
}
DELIVERY = {
    "delivery_id": "del_1",
    "webhook_id": "wh_news",
    "event_type": "export.ready",
    "status": "failed",
    "attempts": 6,
    "next_retry_at": None,
    "created_at": LONG_AGO,
    "error_message": "the connection was refused",
}
ATTEMPT = {
    "number": 1,
    "started_at": LONG_AGO,
    "duration_seconds": None,
    "response_status_code": None,
    "error_message": "the connection was refused",
}
CONNECTOR = {
    "connector_id": "conn_in",
    "provider": "local",
    "scopes": ["import"],
    "status": "active",
    "last_tested_at": None,
    "last_test_error": None,
}
FILE = {"path": "day-1/a.mp4", "size_bytes": 10, "last_modified": LONG_AGO}
PROMPT = {
    "prompt_id": "prompt_1",
    "name": "scenes",
    "prompt_version": 3,
    "is_active": True,
    "prompt_text": "Say\n  what is shown.",
}
EVERYTHING = {
    "exports": ("exports", [EXPORT]),
    "prompt_runs": ("prompt-runs", [RUN]),
    "webhooks": ("webhooks", [WEBHOOK]),
    "connectors": ("connectors", [CONNECTOR]),
    "prompts": ("prompts", {"prompts": [PROMPT]}),
}
COMMANDS = {"exports": "exports", "prompt_runs": "runs", "webhooks": "webhooks"}


def page(*segments: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    return {"data": list(segments), "pagination": {"next_cursor": cursor}}


def explained(*video_ids: str) -> dict[str, Any]:
    versions = [{"video": {"video_id": each}} for each in video_ids]
    return {"places": [{"indexes": [{"versions": [{"video": None}, *versions]}]}]}


@pytest.mark.parametrize("name", EVERYTHING)
def test_programs_read_all_that_the_daemon_answers(run: Run, daemon: FakeDaemon, name: str) -> None:
    path, answer = EVERYTHING[name]
    daemon.answers[f"GET {API}/{path}"] = answer
    found = answer["prompts"] if isinstance(answer, dict) else answer
    assert json.loads(run(COMMANDS.get(name, name), "--json").stdout) == {name: found}


@pytest.mark.parametrize(
    ("command", "path", "words"),
    [
        ("exports", "exports", "there was no export yet"),
        ("runs", "prompt-runs", "there was no prompt run yet"),
        ("webhooks", "webhooks", "there is no webhook"),
        ("deliveries", "webhooks", "there was no delivery yet"),
        ("connectors", "connectors", "there is no connector"),
    ],
)
def test_an_empty_list_says_so(run: Run, daemon: FakeDaemon, command: str, path: str, words: str) -> None:
    daemon.answers[f"GET {API}/{path}"] = []
    assert run(command).stdout.startswith(words)


def test_an_export_says_why_it_failed_and_what_to_do(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/exports/exp_1"] = EXPORT
    _, row, _, _, file, _, advice = run("exports", "show", "exp_1").stdout.splitlines()
    assert row.endswith("no room\\x1b"), "what a store says may hold control characters"
    assert file.split() == ["a.csv", "csv", "1.2", "kB", "ab"]
    assert advice == "try it again: vvwatch retry exp_1"


def test_a_run_counts_all_kinds_of_media(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/prompt-runs"] = [RUN]
    assert run("runs").stdout.splitlines()[1].split()[:6] == ["run_1", "scenes", "completed", "3", "of", "3"]


def test_a_run_is_shown_with_its_failures_cost_and_exports(run: Run, daemon: FakeDaemon) -> None:
    found = {**RUN, **prompt_run("run_1")}
    lacking = failed_segment("seg_1_0", 2.5, "'people' is missing", '{"colour": "blue"}')
    export = {**EXPORT, "run_id": "run_1", "destination_uri": "file:///e"}
    daemon.answers |= {
        f"GET {API}/prompt-runs/run_1": found,
        f"GET {API}/prompt-runs/run_1/failed-segments": failed_segments(
            {"vid_1": [lacking], "vid_9": [lacking]}
        ),
        f"GET {API}/videos/vid_1": {"title": "harbour"},
        f"GET {API}/exports": [export, {**export, "run_id": "run_2", "export_id": "exp_2"}],
    }
    lines = run("runs", "show", "run_1").stdout.splitlines()
    text = "\n".join(lines)
    assert lines[1].split()[:3] == ["run_1", "scenes", "completed"]
    assert "harbour" in text
    assert "vid_9" in text, "its media item was deleted"
    assert "'people' is missing" in text
    assert "export exp_1: failed file:///e" in text
    assert "exp_2" not in text
    assert lines[-1] == "try what failed again: vvwatch retry run_1"
    document = json.loads(run("runs", "show", "run_1", "--json").stdout)
    assert document["prompt_run"] == found
    assert [each["video_id"] for each in document["failed_segments"]] == ["vid_1", "vid_9"]
    assert [each["export_id"] for each in document["exports"]] == ["exp_1"]


def test_results_are_those_of_the_newest_import_of_a_file(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/explain"] = explained("vid_1", "vid_2")
    daemon.answers[f"GET {API}/videos/vid_2/segments"] = page(SEGMENT)
    assert run("results", "s3://rushes/a.mp4").stdout.splitlines()[1].split() == [
        *("seg_1_0", "0", "to", "2.5", "a", "lighthouse"),
    ]
    found = json.loads(run("results", "vid_2", "--json").stdout)
    assert found == {"video_id": "vid_2", "segments": [SEGMENT]}


def test_results_of_a_file_that_was_not_imported_lead_to_explain(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/explain"] = explained()
    done = run("results", "s3://rushes/a.mp4")
    assert done.exit_code == 1
    assert "`vvwatch explain s3://rushes/a.mp4` says what happened to it" in done.stderr


def test_deliveries_of_all_webhooks_are_merged_newest_first(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/webhooks"] = [WEBHOOK, WEBHOOK | {"webhook_id": "wh_b"}]
    daemon.answers[f"GET {API}/webhooks/wh_news/deliveries"] = [DELIVERY]
    daemon.answers[f"GET {API}/webhooks/wh_b/deliveries"] = [DELIVERY | {"delivery_id": "del_2"}]
    lines = run("deliveries", "--limit", "2").stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["del_2", "del_1"]
    assert lines[0].endswith("the connection was refused")


def test_a_delivery_is_shown_attempt_by_attempt(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/webhooks/deliveries/del_1"] = DELIVERY | {"attempt_log": [ATTEMPT]}
    lines = run("deliveries", "show", "del_1").stdout.splitlines()
    assert lines[4].split()[:1] == ["1"]
    assert lines[4].endswith("the connection was refused")
    assert lines[-1] == "send it again: vvwatch retry del_1"


@pytest.mark.parametrize(
    ("answer", "exit_code", "words"),
    [
        ({"success": True, "status_code": 204, "error": None}, 0, "wh_news answered 204"),
        ({"success": False, "status_code": 500, "error": "it broke"}, 1, "wh_news answered 500: it broke"),
        (
            {"success": False, "status_code": None, "error": "refused"},
            1,
            "wh_news gave no answer: refused",
        ),
    ],
)
def test_a_test_of_a_webhook_exits_with_its_result(
    run: Run, daemon: FakeDaemon, answer: dict[str, Any], exit_code: int, words: str
) -> None:
    daemon.answers[f"POST {API}/webhooks/wh_news/test"] = answer
    done = run("webhooks", "test", "wh_news")
    assert (done.exit_code, done.stdout) == (exit_code, f"{words}\n")


def test_a_test_of_a_connector_exits_with_its_result(run: Run, daemon: FakeDaemon) -> None:
    path = f"POST {API}/connectors/conn_in/test"
    daemon.answers[path] = {"success": True, "error_message": None, "store_notes": []}
    assert run("connectors", "test", "conn_in").stdout == "conn_in works\n"
    daemon.answers[path] = {"success": False, "error_message": "no such folder", "store_notes": []}
    done = run("connectors", "test", "conn_in")
    assert (done.exit_code, done.stdout) == (1, "conn_in fails: no such folder\n")


def test_a_connector_is_browsed_below_a_prefix(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"POST {API}/connectors/conn_in/browse"] = [FILE]
    done = run("connectors", "browse", "conn_in", "day-1/", "--pattern", "*.mp4", "--limit", "5")
    assert done.stdout.splitlines()[1].endswith("day-1/a.mp4")
    assert daemon.asked[-1].body == {"prefix": "day-1/", "pattern": "*.mp4", "limit": 5}


def test_a_prompt_is_shown_in_one_line(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/prompts"] = {"prompts": [PROMPT]}
    assert run("prompts").stdout.splitlines()[1].endswith("Say what is shown.")
