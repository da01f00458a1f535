"""Commands that ask the daemon: what they ask, what people and programs read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_daemon import FakeDaemon, refusal

API = "/api/v2"
LONG_AGO = "2020-01-01T00:00:00.000Z"


def automation(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "automation_id": f"auto_{name}",
        "index_id": f"idx_{name}",
        "status": "active",
        "last_scan_at": LONG_AGO,
        "last_import_job_id": None,
        "last_error": None,
        "last_error_hint": None,
    } | changed


def job(job_id: str, **changed: Any) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "target_index_id": "idx_a",
        "status": "completed",
        "progress": {"total_files": 3, "imported": 2, "failed": 1, "skipped": 0},
        "execution": {"run_id": "run_1"},
        "failed_files": [{"path": "bad\x1b.mp4", "error": "it is cut short"}],
        "error_message": None,
        "started_at": LONG_AGO,
        "completed_at": None,
    } | changed


def watching(daemon: FakeDaemon, **automations: dict[str, Any]) -> None:
    """Indexes of these names, each with this import automation and no export automation."""
    daemon.answers[f"GET {API}/indexes"] = [
        {"index_id": f"idx_{name}", "name": name.upper()} for name in automations
    ]
    for name, found in automations.items():
        daemon.answers[f"GET {API}/indexes/idx_{name}/automations/import"] = found


def test_status_tells_everything_at_one_glance(run: Run, daemon: FakeDaemon) -> None:
    going = {
        f"{state}_{kind}": 0
        for state in ("total", "completed", "failed", "partial", "cancelled")
        for kind in ("videos", "audios", "images")
    }
    daemon.answers |= {
        f"GET {API}/status": {
            "version": "0.1.0",
            "address": "http://x",
            "started_at": 1.0,
            "sources": {"auto_a": {"state": "degraded", "reason": "no watches left", "hint": "sysctl …"}},
        },
        f"GET {API}/windows": [{"automation_id": "auto_a", "object_count": 3, "due_at": LONG_AGO}],
        f"GET {API}/import-jobs": [
            job("job_1"),
            job(
                "job_2",
                status="importing",
                progress={"total_files": 9, "imported": 4, "failed": 0, "skipped": 1},
            ),
        ],
        f"GET {API}/prompt-runs": [
            going | {"run_id": "run_1", "status": "processing", "total_videos": 2, "completed_videos": 1}
        ],
        f"GET {API}/exports": [
            {
                "export_id": "exp_1",
                "status": "failed",
                "completed_at": None,
                "error_message": "the folder is full",
            },
            {"export_id": "exp_0", "status": "failed", "completed_at": LONG_AGO, "error_message": "long ago"},
        ],
        f"GET {API}/webhooks": [
            {
                "webhook_id": "wh_1",
                "name": "hook",
                "url": "https://y",
                "status": "disabled",
                "failure_count": 20,
            }
        ],
    }
    watching(
        daemon,
        a=automation("a"),
        b=automation("b", status="paused", last_error="the folder is gone", last_error_hint="mount it"),
    )
    shown = run("status").stdout
    for words in (
        "vvwatch 0.1.0 at http://x, up for",
        "3 files, closes now",
        "import job_2: 5 of 9 files",
        "run run_1: 1 of 2 items",
        "source auto_a: no watches left\n    sysctl …",
        "automation auto_b: the folder is gone\n    mount it",
        "import job job_1: bad\\x1b.mp4: it is cut short\n    vvwatch jobs show job_1",
        "export exp_1: the folder is full\n    vvwatch retry exp_1",
        "webhook wh_1: hook failed 20 times in a row and is disabled",
    ):
        assert words in shown
    assert "long ago" not in shown
    document = json.loads(run("status", "--json").stdout)
    assert document.keys() == {"daemon", "automations", "under_way", "attention"}
    assert [each["window"] is not None for each in document["automations"]] == [True, False]
    assert all(each.keys() == {"kind", "id", "what", "try"} for each in document["attention"])


def test_an_empty_status_teaches(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers |= {
        f"GET {API}/{name}": []
        for name in ("indexes", "windows", "import-jobs", "prompt-runs", "exports", "webhooks")
    }
    daemon.answers[f"GET {API}/status"] = {"version": "0.1.0"}
    shown = run("status").stdout
    assert "nothing is watched yet" in shown
    assert "needs you" not in shown


@pytest.mark.parametrize("name", ["a", "A", "idx_a", "auto_a"])
def test_an_automation_answers_to_its_id_its_index_and_its_name(
    run: Run, daemon: FakeDaemon, name: str
) -> None:
    watching(daemon, a=automation("a"), b=automation("b"))
    daemon.answers[f"POST {API}/indexes/idx_a/automations/import/pause"] = automation("a", status="paused")
    done = run("pause", name)
    assert (done.exit_code, done.stdout) == (0, "auto_a is paused\n")


def test_resume_and_exports_have_their_own_routes(run: Run, daemon: FakeDaemon) -> None:
    watching(daemon, a=automation("a"))
    daemon.answers[f"GET {API}/indexes/idx_a/automations/export"] = automation("a")
    daemon.answers[f"POST {API}/indexes/idx_a/automations/export/resume"] = automation("a", status="disabled")
    assert "auto_a is disabled (enabled = false" in run("resume", "a", "--exports").stdout
    document = json.loads(run("resume", "a", "--exports", "--json").stdout)
    assert document["status"] == "disabled"


def test_an_unknown_or_ambiguous_name_lists_what_there_is(run: Run, daemon: FakeDaemon) -> None:
    watching(daemon, a=automation("a"), b=automation("b"))
    unknown = run("pause", "c")
    assert unknown.exit_code == 1
    assert unknown.stderr == "error: no index or automation is called 'c'\n  try: there is: idx_a, idx_b\n"
    daemon.answers[f"GET {API}/indexes"] = [{"index_id": f"idx_{name}", "name": "same"} for name in "ab"]
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
    daemon.answers[f"GET {API}/windows"] = []
    assert run("windows", "--open").stdout == "no window is open\n"


def test_jobs_are_listed_without_naming_the_list(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/import-jobs"] = [job("job_1")]
    for args in (["jobs"], ["jobs", "list"], ["jobs", "--limit", "5"]):
        assert "job_1" in run(*args).stdout
    assert (
        json.loads(run("jobs", "--status", "failed", "--json").stdout)["import_jobs"][0]["job_id"] == "job_1"
    )
    assert daemon.asked[-1].query == {"status": "failed", "limit": "20"}


def file(file_id: int, status: str, message: str | None = None) -> dict[str, Any]:
    return {
        "file_id": str(file_id),
        "status": status,
        "size_bytes": 10,
        "path": f"{file_id}.mp4",
        "message": message,
        "failure": None,
        "skip_reason": None,
    }


def test_one_job_is_shown_file_by_file_over_all_pages(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers |= {
        f"GET {API}/import-jobs/job_1": job("job_1"),
        f"GET {API}/prompt-runs/run_1": {"run_id": "run_1", "status": "completed", "error_message": None},
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
    plain_answer = daemon.answer

    def answer(request: Any) -> tuple[int, Any]:
        if request.path.endswith("/files"):
            items, cursor = pages[request.query.get("cursor")]
            return 200, {"items": items, "next_cursor": cursor, "total": 2}
        return plain_answer(request)

    daemon.answer = answer  # type: ignore[method-assign]
    shown = run("jobs", "show", "job_1").stdout
    assert "2.mp4  it is cut short" in shown
    assert "prompt run run_1: completed" in shown
    assert "export exp_1: completed file:///e" in shown
    assert shown.endswith("vvwatch retry job_1\n")
    document = json.loads(run("jobs", "show", "job_1", "--json").stdout)
    assert document.keys() == {"import_job", "files", "prompt_run", "exports"}
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


def test_retry_of_a_job_tries_each_of_its_failed_files(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/import-jobs/job_1/files"] = {"items": [file(7, "failed"), file(8, "failed")]}
    for number in (7, 8):
        daemon.answers[f"POST {API}/import-jobs/job_1/files/{number}/retry"] = {
            "path": f"{number}.mp4",
            "message": "ok",
        }
    assert run("retry", "job_1").stdout == "7.mp4: ok\n8.mp4: ok\n"
    assert daemon.asked[0].query["failed_only"] == "true"


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


def test_explain_tells_an_objects_life(run: Run, daemon: FakeDaemon) -> None:
    version = {
        "version": "v1", "is_current": True, "window_id": "win_1", "window_state": "closed", "window_reason": "quiet",
        "window_due_at": None, "import_job_id": "job_1", "file_status": "imported", "file_reason": None, "file_message": None,
        "video": {"video_id": "vid_1", "status": "processed"},
        "runs": [{"run_id": "run_1", "status": "completed", "segment_count": 4, "error_message": None}],
        "exports": [{"export_id": "exp_1", "status": "completed", "destination_uri": "file:///e", "last_error": None}],
        "deliveries": [{"webhook_name": "hook", "event_type": "media.created", "status": "retrying", "error_message": "refused"}],
    }  # fmt: skip
    standing = {"exists": True, "size_bytes": 1200, "modified_at": LONG_AGO, "error": None}
    index = {"index_id": "idx_a", "conclusion": "imported as vid_1", "versions": [version]}
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
        "run_1 completed, 4 segments",
        "exp_1 completed file:///e",
        "hook media.created retrying: refused",
        "nothing stands there",
        "no automation watches conn_a",
    ):
        assert words in shown
    assert json.loads(run("explain", "s3://bucket/a.mp4", "--json").stdout)["places"][0] == place
    assert daemon.asked[1].query == {"uri": "s3://bucket/a.mp4"}


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
        "windows",
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
