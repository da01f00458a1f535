"""Commands that ask the daemon: what they ask, what people and programs read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.answers import (
    API,
    LONG_AGO,
    automation,
    failed_segment,
    failed_segments,
    file,
    index_summary,
    job,
    prompt_run,
    watching,
)
from tests.cli.conftest import Run
from tests.cli.fake_daemon import FakeDaemon, refusal, serving
from vvwatch.cli.dev_config import state_of


@pytest.mark.parametrize("name", ["a", "A", "idx_a", "auto_a"])
def test_an_automation_answers_to_its_id_its_index_and_its_name(
    run: Run, daemon: FakeDaemon, name: str
) -> None:
    watching(daemon, a=automation("a"), b=automation("b"))
    daemon.answers[f"POST {API}/indexes/idx_a/automations/import/pause"] = automation("a", status="paused")
    done = run("pause", name)
    assert (done.exit_code, done.stdout) == (0, "auto_a is paused\n")


@pytest.mark.parametrize("command", ["pause", "resume", "scan", "windows", "jobs", "reconciles", "hold"])
def test_a_name_is_found_by_one_request_however_many_there_are(
    run: Run, daemon: FakeDaemon, command: str
) -> None:
    watching(daemon, **{f"a{number}": automation(f"a{number}") for number in range(300)})
    run(command, *(["list"] if command == "jobs" else []), "a299")
    assert daemon.requests("GET").count(f"{API}/automations") == 1
    assert len(daemon.asked) == 2, "one to find it, one to do it"


def test_an_unknown_name_among_many_lists_some(run: Run, daemon: FakeDaemon) -> None:
    watching(daemon, **{f"a{number}": automation(f"a{number}") for number in range(300)})
    told = run("pause", "c").stderr
    assert "idx_a0, idx_a1" in told
    assert "and 280 more" in told
    assert len(told) < 500


def test_resume_and_exports_have_their_own_routes(run: Run, daemon: FakeDaemon) -> None:
    watching(daemon, a=automation("a"))
    daemon.answers[f"GET {API}/automations"] = [
        index_summary("idx_a", "A", export_automation=automation("a", automation_id="auto_exp_a"))
    ]
    daemon.answers[f"POST {API}/indexes/idx_a/automations/export/resume"] = automation("a", status="disabled")
    assert "auto_a is disabled (enabled = false" in run("resume", "a", "--exports").stdout
    document = json.loads(run("resume", "a", "--exports", "--json").stdout)
    assert document["status"] == "disabled"


def test_a_pause_of_exports_names_what_it_paused(run: Run, daemon: FakeDaemon) -> None:
    exporting = automation("a", automation_id="auto_exp_a")
    daemon.answers[f"GET {API}/automations"] = [index_summary("idx_a", "A", export_automation=exporting)]
    daemon.answers[f"POST {API}/indexes/idx_a/automations/export/pause"] = exporting | {"status": "paused"}
    said = run("pause", "idx_a", "--exports").stdout
    assert said.startswith("auto_exp_a is paused")
    assert "not exported" in said


def test_an_unknown_or_ambiguous_name_lists_what_there_is(run: Run, daemon: FakeDaemon) -> None:
    watching(daemon, a=automation("a"), b=automation("b"))
    unknown = run("pause", "c")
    assert unknown.exit_code == 1
    assert unknown.stderr == "error: no index or automation is called 'c'\n  try: there is: idx_a, idx_b\n"
    daemon.answers[f"GET {API}/automations"] = [index_summary(f"idx_{name}", "same") for name in "ab"]
    assert "could be any of several" in run("pause", "same").stderr


def test_scan_asks_for_every_active_automation(run: Run, daemon: FakeDaemon) -> None:
    watching(daemon, a=automation("a"), b=automation("b", status="paused"), c=automation("c"))
    for name in "ac":
        daemon.answers[f"POST {API}/indexes/idx_{name}/automations/import/scan"] = (202, {})
    assert json.loads(run("scan", "--json").stdout) == {"scanning": ["auto_a", "auto_c"]}
    assert [path.split("/")[4] for path in daemon.requests("POST")] == ["idx_a", "idx_c"]
    assert run("scan", "a").stdout == "auto_a is being scanned\n"
    paused = run("scan", "b")
    assert (paused.exit_code, paused.stderr) == (1, "error: auto_b is paused\n  try: vvwatch resume idx_b\n")


def test_windows_say_when_they_close_or_why_they_did(run: Run, daemon: FakeDaemon) -> None:
    window = {
        "window_id": "win_1",
        "index_id": "idx_a",
        "state": "open",
        "held": False,
        "object_count": 2,
        "size_bytes": 2000,
        "opened_at": LONG_AGO,
        "due_at": LONG_AGO,
        "reason": None,
        "closed_at": None,
        "import_job_id": "job_9",
    }
    closed = window | {"window_id": "win_0", "state": "closed", "reason": "quiet", "closed_at": LONG_AGO}
    daemon.answers[f"GET {API}/windows"] = [window, closed]
    first, second = run("windows").stdout.splitlines()[1:]
    assert first.split()[:6] == ["win_1", "idx_a", "open", "2", "2.0", "kB"]
    assert first.endswith("now         -") or "now" in first
    assert "quiet, " in second
    assert second.endswith("job_9")
    assert json.loads(run("windows", "--open", "--json").stdout)["windows"] == [window, closed]
    assert daemon.asked[-1].query == {"state": "open", "limit": "20"}
    daemon.answers[f"GET {API}/windows"] = [window | {"held": True}]
    assert run("windows").stdout.splitlines()[1].split()[2] == "held"
    assert "when released" in run("windows").stdout
    daemon.answers[f"GET {API}/windows"] = []
    assert run("windows", "--open").stdout == "no window is open\n"


WINDOW = {
    "window_id": "win_1",
    "held": True,
    "object_count": 2,
    "due_at": LONG_AGO,
    "import_job_id": "job_9",
}


@pytest.mark.parametrize(
    ("command", "answer", "said"),
    [
        ("hold", WINDOW, "win_1 is held (2 files)\n"),
        ("release", WINDOW | {"held": False}, "win_1 is not held, closes now (2 files)\n"),
        ("fire", WINDOW | {"held": False}, "win_1 is closed: 2 files in job_9\n"),
    ],
)
def test_a_window_is_steered_by_the_name_of_its_automation(
    run: Run, daemon: FakeDaemon, command: str, answer: dict[str, Any], said: str
) -> None:
    watching(daemon, a=automation("a"))
    route = f"POST {API}/indexes/idx_a/automations/import/window/{command}"
    daemon.answers[route] = answer
    assert run(command, "auto_a").stdout == said
    assert json.loads(run(command, "a", "--json").stdout) == answer
    daemon.answers[route] = 409, refusal("conflict", "no window of automation 'auto_a' is open", "one opens")
    refused = run(command, "a")
    assert (refused.exit_code, refused.stderr.splitlines()[0]) == (
        1,
        "error: no window of automation 'auto_a' is open",
    )


PREVIEW = {
    "index_id": "idx_a",
    "listed": 300,
    "new": 102,
    "known": 7,
    "complete": False,
    "stopped_because": "20 seconds were over",
    "new_keys": ["new\x1b[31m.mp4", *(f"{number}.mp4" for number in range(99))],
    "declined": [{"reason": "zero_byte", "count": 3, "explanation": "it is empty"}],
}


def test_a_dry_scan_tells_what_it_would_find(run: Run, daemon: FakeDaemon) -> None:
    watching(daemon, a=automation("a"), b=automation("b", status="paused"))
    for name in "ab":
        daemon.answers[f"GET {API}/indexes/idx_{name}/automations/import/preview"] = PREVIEW
    told = run("scan", "--dry-run").stdout.splitlines()
    assert told[0] == "idx_a: 102 would be picked up, 7 known, 300 objects listed"
    assert told[1] == "  not complete: 20 seconds were over"
    assert told[2] == "  new   new\\x1b[31m.mp4"
    assert told[-2:] == ["  new   … and 2 more", "  not   3: it is empty"]
    assert run("scan", "b", "--dry-run").exit_code == 0, "a paused one can be looked at"
    assert json.loads(run("scan", "a", "--dry-run", "--json").stdout) == {"previews": [PREVIEW]}
    assert daemon.requests("POST") == []


def test_jobs_are_listed_without_naming_the_list(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/import-jobs"] = [job("job_1")]
    for args in (["jobs"], ["jobs", "list"], ["jobs", "--limit", "5"]):
        assert "job_1" in run(*args).stdout
    assert (
        json.loads(run("jobs", "--status", "failed", "--json").stdout)["import_jobs"][0]["job_id"] == "job_1"
    )
    assert daemon.asked[-1].query == {"status": "failed", "limit": "20"}


def paged(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, pages: dict[str | None, Any]) -> None:
    """Let the daemon answer with `pages` of files, by their cursors."""
    plain_answer = daemon.answer

    def answer(request: Any) -> tuple[int, Any]:
        if request.path.endswith("/files"):
            daemon.asked.append(request)
            items, cursor = pages[request.query.get("cursor")]
            return 200, {"items": items, "next_cursor": cursor, "total": 2}
        return plain_answer(request)

    monkeypatch.setattr(daemon, "answer", answer)


def test_one_job_is_shown_file_by_file_over_all_pages(
    run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers |= {
        f"GET {API}/import-jobs/job_1": job("job_1"),
        f"GET {API}/prompt-runs/run_1": prompt_run("run_1"),
        f"GET {API}/prompt-runs/run_1/failed-segments": failed_segments(
            {
                "vid_1": [failed_segment("seg_1_0", 2.5, "'people' is missing", '{"colour": "blue"}')],
                "vid_9": [failed_segment("seg_2_whole", None, "it is damaged", None)],
            }
        ),
        f"GET {API}/exports": [
            {
                "export_id": "exp_1",
                "run_id": "run_1",
                "status": "completed",
                "destination_uri": "file:///e",
                "last_error": None,
            }
        ],
    }
    pages = {None: ([file(1, "imported")], "next"), "next": ([file(2, "failed", "it is cut short")], None)}
    paged(daemon, monkeypatch, pages)
    shown = run("jobs", "show", "job_1").stdout
    assert "2.mp4  it is cut short" in shown
    assert "prompt run run_1: completed" in shown
    assert "export exp_1: completed file:///e" in shown
    assert "8 calls, 8,400 tokens, unknown cost" in shown
    assert "not done: transcription: the processor 'gpt' does not transcribe speech" in shown
    rows = [line.split("  ") for line in shown.splitlines() if line.startswith("seg_")]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["seg_1_0", "1.mp4", "2.5 to 5", "'people' is missing", '{"colour": "blue"}'],
        ["seg_2_whole", "vid_9", "all", "it is damaged"],
    ]
    assert "again: vvwatch retry job_1\n" in shown
    assert shown.endswith("again: vvwatch retry run_1\n")
    document = json.loads(run("jobs", "show", "job_1", "--json").stdout)
    assert document.keys() == {"import_job", "files", "prompt_run", "failed_segments", "exports"}
    assert len(document["files"]) == 2


@pytest.mark.parametrize(
    ("identifier", "route", "answer", "said"),
    [
        ("exp_1", "exports/exp_1/retry", {"export_id": "exp_1", "status": "pending"}, "exp_1 is pending\n"),
        (
            "del_1",
            "webhooks/deliveries/del_1/retry",
            {"delivery_id": "del_1", "status": "pending"},
            "del_1 is pending\n",
        ),
        (
            "job_1/7",
            "import-jobs/job_1/files/7/retry",
            {"path": "a.mp4", "message": "it counts as new"},
            "a.mp4: it counts as new\n",
        ),
    ],
)
def test_retry_finds_the_route_by_the_id(
    run: Run, daemon: FakeDaemon, identifier: str, route: str, answer: dict[str, str], said: str
) -> None:
    daemon.answers[f"POST {API}/{route}"] = (202, answer)
    assert run("retry", identifier).stdout == said
    assert json.loads(run("retry", identifier, "--json").stdout) == {"retried": [answer]}


def test_retry_of_a_job_tries_each_of_its_failed_files_on_every_page(
    run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers[f"GET {API}/import-jobs/job_1"] = {"source_kind": "connector"}
    pages = {None: ([file(7, "failed")], "next"), "next": ([file(8, "failed")], None)}
    paged(daemon, monkeypatch, pages)
    for number in (7, 8):
        daemon.answers[f"POST {API}/import-jobs/job_1/files/{number}/retry"] = {
            "path": f"{number}.mp4",
            "message": "ok",
        }
    assert run("retry", "job_1").stdout == "7.mp4: ok\n8.mp4: ok\n"
    asked = [each.query for each in daemon.asked if each.path.endswith("/files")]
    assert [each["failed_only"] for each in asked] == ["true", "true"]


def test_retry_of_a_job_of_attachments_is_left_to_the_job(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/import-jobs/job_1"] = {"source_kind": "attachments"}
    daemon.answers[f"POST {API}/import-jobs/job_1/retry"] = {"job_id": "job_1", "status": "importing"}
    assert run("retry", "job_1").stdout == "job_1 is importing\n"


def test_retry_of_a_run_tries_all_that_failed_in_it_or_the_one_that_is_named(
    run: Run, daemon: FakeDaemon
) -> None:
    failed = [failed_segment(f"seg_1_{number}", number, "cut off", None) for number in range(3)]
    daemon.answers[f"GET {API}/prompt-runs/run_1/failed-segments"] = failed_segments({"vid_1": failed})
    for number in (0, 2):
        daemon.answers[f"POST {API}/prompt-runs/run_1/videos/vid_1/segments/seg_1_{number}/retry"] = (
            202,
            {"segment_id": f"seg_1_{number}", "message": "it is processed again"},
        )
    daemon.answers[f"POST {API}/prompt-runs/run_1/videos/vid_1/segments/seg_1_1/retry"] = (
        409,
        refusal("conflict", "it is being tried again already", "wait"),
    )
    assert run("retry", "run_1").stdout.splitlines() == [
        "seg_1_0: it is processed again",
        "seg_1_1: it is being tried again already",
        "seg_1_2: it is processed again",
    ]
    assert run("retry", "run_1/seg_1_2").stdout == "seg_1_2: it is processed again\n"
    assert run("retry", "run_1/seg_1_1").exit_code == 1
    good = run("retry", "run_1/seg_1_7")
    assert good.stderr == "error: segment seg_1_7 of run_1 has not failed\n"
    daemon.answers[f"GET {API}/prompt-runs/run_1/failed-segments"] = failed_segments({})
    assert run("retry", "run_1").stderr == "error: nothing in run_1 has failed\n"


def test_what_cannot_be_tried_again_is_said(run: Run, daemon: FakeDaemon) -> None:
    odd = run("retry", "vid_1")
    assert odd.exit_code == 2
    assert "nothing that can be tried again" in odd.stderr
    daemon.answers[f"POST {API}/exports/exp_1/retry"] = (
        409,
        refusal("conflict", "export 'exp_1' is completed", "only what has failed"),
    )
    conflict = run("retry", "exp_1")
    assert conflict.exit_code == 1
    assert conflict.stderr.startswith(
        "error: export 'exp_1' is completed\n  where: POST /exports/exp_1/retry\n"
    )


def test_a_new_key_stands_alone_on_stdout(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"POST {API}/api-keys"] = (
        201,
        {"key": "sk_live_x", "key_id": "key_1", "scopes": ["read", "write"]},
    )
    done = run("keys", "create", "ci", "--scope", "read", "--scope", "write", "--expires", "30")
    assert done.stdout == "sk_live_x\n"
    assert "not shown again" in done.stderr
    assert daemon.asked[0].body == {"name": "ci", "scopes": ["read", "write"], "expires_in_days": 30}
    assert json.loads(run("keys", "create", "ci", "--json").stdout)["key"] == "sk_live_x"
    assert daemon.asked[1].body == {"name": "ci", "scopes": ["read"]}


def test_keys_are_listed_and_revoked(run: Run, daemon: FakeDaemon) -> None:
    key = {
        "key_id": "key_1",
        "name": "ci",
        "key_prefix": "sk_live_ab",
        "scopes": ["read"],
        "created_at": LONG_AGO,
        "last_used_at": None,
        "expires_at": None,
        "revoked_at": LONG_AGO,
        "is_active": False,
    }
    daemon.answers[f"GET {API}/api-keys"] = [key]
    daemon.answers[f"POST {API}/api-keys/key_1/revoke"] = key
    assert run("keys").stdout.splitlines()[1].split()[:4] == ["key_1", "ci", "sk_live_ab…", "read"]
    assert json.loads(run("keys", "list", "--json").stdout) == {"keys": [key]}
    assert run("keys", "revoke", "key_1").stdout == "key_1 (ci) is revoked\n"


def test_health_is_the_exit_code(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET /readyz"] = "ok\n"
    ready = run("health")
    assert (ready.exit_code, ready.stdout) == (0, "ready\n")
    assert daemon.asked[0].key is None
    daemon.answers["GET /readyz"] = (503, "[-]serving not yet\nnot ready\n")
    starting = run("health")
    assert starting.exit_code == 1
    assert "[-]serving not yet" in starting.stderr
    assert json.loads(run("health", "--json").stdout)["ready"] is False
    assert run("health", "--url", "http://127.0.0.1:9").exit_code == 1


VERSION = {
    "version": "v1",
    "is_current": True,
    "absent_since": None,
    "gone_at": None,
    "gone_proof": None,
    "window_id": "win_1",
    "window_held": False,
    "window_state": "closed",
    "window_reason": "quiet",
    "window_due_at": None,
    "import_job_id": "job_1",
    "file_status": "imported",
    "file_reason": None,
    "file_message": None,
    "video": {"video_id": "vid_1", "status": "processed"},
    "runs": [
        {
            "run_id": "run_1",
            "processor": "gpt",
            "status": "partial",
            "segment_count": 4,
            "error_code": None,
            "error_message": "1 of 4 segments failed",
            "failed_segments": [{"start_time": 2.5, "end_time": 5.0, "error": "'people' is missing"}],
        }
    ],
    "exports": [
        {"export_id": "exp_1", "status": "completed", "destination_uri": "file:///e", "last_error": None}
    ],
    "deliveries": [
        {
            "webhook_name": "hook",
            "event_type": "media.created",
            "status": "retrying",
            "error_message": "refused",
        }
    ],
}


def test_jobs_of_an_index_are_listed_by_its_name_alone(run: Run, daemon: FakeDaemon) -> None:
    watching(daemon, a=automation("a"))
    daemon.answers[f"GET {API}/import-jobs"] = []
    assert run("jobs", "idx_a").exit_code == 0
    assert daemon.asked[-1].query["index_id"] == "idx_a"
    assert "no such command 'conn_a'" in run("connectors", "conn_a").stderr


def test_explain_tells_an_objects_life(run: Run, daemon: FakeDaemon) -> None:
    standing = {"exists": True, "size_bytes": 1200, "modified_at": LONG_AGO, "error": None}
    index = {"index_id": "idx_a", "conclusion": "imported as vid_1", "versions": [VERSION]}
    place = {"uri": "file:///in/a.mp4", "connector_id": "conn_a", "standing": standing, "indexes": [index]}
    daemon.answers[f"GET {API}/explain"] = {
        "places": [place, place | {"standing": standing | {"exists": False}, "indexes": []}]
    }
    shown = run("explain", "/in/../in/a.mp4").stdout
    assert daemon.asked[0].query == {"uri": "/in/a.mp4"}
    for words in (
        "1.2 kB, changed",
        "imported as vid_1",
        "v1 (the current one)",
        "win_1 closed (quiet)",
        "job_1 imported",
        "vid_1 processed",
        "run_1 partial by gpt, 4 segments: 1 of 4 segments failed",
        "2.5 to 5 s: 'people' is missing",
        "vvwatch retry run_1",
        "exp_1 completed file:///e",
        "hook media.created retrying: refused",
        "there is no importable object",
        "no automation watches conn_a",
    ):
        assert words in shown
    assert json.loads(run("explain", "s3://bucket/a.mp4", "--json").stdout)["places"][0] == place
    assert daemon.asked[1].query == {"uri": "s3://bucket/a.mp4"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gone_at": LONG_AGO, "gone_proof": "sweeps"}, "v1 (gone, "),
        ({"gone_at": LONG_AGO, "gone_proof": "event"}, "ago: an event said so)"),
        ({"gone_at": LONG_AGO, "gone_proof": "person"}, "ago: a person accepted that it is missing)"),
        ({"absent_since": LONG_AGO}, "v1 (missed by the full scan of "),
        ({"window_held": True}, "win_1 is held open"),
    ],
)
def test_explain_tells_of_the_end_and_of_a_hold(
    run: Run, daemon: FakeDaemon, change: dict[str, Any], words: str
) -> None:
    standing = {"exists": False, "size_bytes": None, "modified_at": None, "error": None}
    index = {"index_id": "idx_a", "conclusion": "gone", "versions": [VERSION | change]}
    place = {"uri": "file:///in/a.mp4", "connector_id": "conn_a", "standing": standing, "indexes": [index]}
    daemon.answers[f"GET {API}/explain"] = {"places": [place]}
    assert words in run("explain", "/in/a.mp4").stdout


def test_explain_finds_the_trial_that_watches_the_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clips" / "deep" / "a.mp4"
    file.parent.mkdir(parents=True)
    state = state_of(tmp_path / "clips", os.environ)
    state.mkdir(parents=True)
    assert run("explain", str(tmp_path / "b.mp4")).exit_code == 69
    with serving(state) as trial:
        trial.answers[f"GET {API}/explain"] = {"places": []}
        assert run("explain", str(file)).exit_code == 0
        assert trial.asked[0].query == {"uri": str(file)}
        assert run("explain", file.as_uri()).exit_code == 0
        file.symlink_to("/etc/hosts")
        assert run("explain", str(file)).exit_code == 0
        assert run("explain", str(tmp_path / "clips")).exit_code == 0
        (tmp_path / "link").symlink_to(tmp_path / "clips")
        assert run("explain", str(tmp_path / "link" / file.name)).exit_code == 0
        assert "has not been imported" in run("results", str(file)).stderr
        monkeypatch.setenv("VVWATCH_STATE_DIR", str(tmp_path))
        assert run("explain", str(file)).exit_code == 69, "another daemon was named"


def test_explain_can_name_a_file_that_is_not_utf8(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/explain"] = {"places": []}
    assert run("explain", "/in/bad\udcff.mp4").exit_code == 0
    assert daemon.asked[0].query == {"uri": "file:///in/bad%FF.mp4"}


def test_without_a_daemon_every_command_exits_with_69(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("VVWATCH_STATE_DIR", str(tmp_path))
    commands = (
        "status",
        "explain x",
        "scan",
        "scan x --dry-run",
        "windows",
        "fire x",
        "hold x",
        "release x",
        "jobs",
        "jobs show x",
        "retry exp_1",
        "pause x",
        "resume x",
        "keys",
        "keys revoke x",
    )
    codes = {command: run(*command.split()).exit_code for command in commands}
    assert set(codes.values()) == {69}
