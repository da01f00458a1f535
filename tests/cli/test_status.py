"""`vvwatch status`: the whole of it at one glance."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.answers import API, LONG_AGO, automation, job, watching
from tests.cli.conftest import Run
from tests.cli.fake_daemon import FakeDaemon

LISTS = ("indexes", "windows", "import-jobs", "prompt-runs", "exports", "webhooks")
MEDIA_COUNTERS = {
    f"{state}_{kind}": 0
    for state in ("total", "completed", "failed", "partial", "cancelled")
    for kind in ("videos", "audios", "images")
}
EXPECTED = (
    "vvwatch 0.1.0 at http://x, up for",
    "node b at http://b, up for",
    "node c is gone: last seen never",
    "node c: is gone, and only it reaches conn_in\n    start it",
    "3 files, closes now",
    "import job_2: 5 of 9 files",
    "run run_1: 1 of 2 items",
    "export exp_2: pending: the folder is full",
    "source auto_a: no watches left\n    sysctl …",
    "automation auto_b: the folder is gone\n    mount it",
    "import job job_1: bad\\x1b.mp4: it is cut short\n    vvwatch jobs show job_1",
    "export exp_1: the folder is full\n    vvwatch retry exp_1",
    "webhook wh_1: hook failed 20 times in a row and is disabled\n    see why https://y does not",
    "answer with a status of 2xx, then make it anew",
    "webhook wh_3: hook failed 1 time in a row\n",
)


@pytest.fixture
def busy(daemon: FakeDaemon) -> FakeDaemon:
    """A daemon with work under way and everything that can need somebody."""
    source = {"state": "degraded", "reason": "no watches left", "hint": "sysctl …"}
    daemon.answers |= {
        f"GET {API}/status": {
            "version": "0.1.0",
            "address": "http://x",
            "started_at": 1.0,
            "sources": {"auto_a": source},
            "nodes": [
                {"name": "b", "address": "http://b", "started_at": 1.0, "seen_at": 2.0, "waiting": []},
                {"name": "c", "address": "", "started_at": 0.0, "seen_at": 0.0, "waiting": ["conn_in"]},
            ],
        },
        f"GET {API}/windows": [{"automation_id": "auto_a", "object_count": 3, "due_at": LONG_AGO}],
        f"GET {API}/import-jobs": [job("job_1"), importing("job_2"), job("job_0")],
        f"GET {API}/prompt-runs": [
            MEDIA_COUNTERS
            | {"run_id": "run_1", "status": "processing", "total_videos": 2, "completed_videos": 1}
        ],
        f"GET {API}/exports": [
            export("exp_2", "pending", last_error="the folder is full"),
            export("exp_1", "failed", error_message="the folder is full"),
            export("exp_0", "failed", error_message="long ago", completed_at=LONG_AGO),
        ],
        f"GET {API}/webhooks": [
            webhook("wh_1", "disabled", 20),
            webhook("wh_2", "active", 0),
            webhook("wh_3", "active", 1),
        ],
    }
    gone = automation("b", status="paused", last_error="the folder is gone", last_error_hint="mount it")
    watching(daemon, a=automation("a"), b=gone)
    return daemon


def importing(job_id: str) -> dict[str, Any]:
    progress = {"total_files": 9, "imported": 4, "failed": 0, "skipped": 1}
    return job(job_id, status="importing", progress=progress)


def export(export_id: str, status: str, **changed: Any) -> dict[str, Any]:
    usual = {"completed_at": None, "error_message": None, "last_error": None}
    return usual | {"export_id": export_id, "status": status} | changed


def webhook(webhook_id: str, status: str, failures: int) -> dict[str, Any]:
    return {
        "webhook_id": webhook_id,
        "name": "hook",
        "url": "https://y",
        "status": status,
        "failure_count": failures,
    }


def test_status_tells_what_is_watched_under_way_and_in_need(run: Run, busy: FakeDaemon) -> None:
    shown = run("status").stdout
    assert [words for words in EXPECTED if words not in shown] == []
    assert "long ago" not in shown
    assert "wh_2" not in shown
    [source] = [line.split()[3] for line in shown.splitlines() if line.startswith("auto_b")]
    assert source == "-", "what is paused is not listed"
    assert "job_0" not in shown, "the same file failed for the same reason in job_1"


def test_status_is_one_document_for_programs(run: Run, busy: FakeDaemon) -> None:
    document = json.loads(run("status", "--json").stdout)
    assert document.keys() == {"daemon", "automations", "under_way", "attention"}
    assert document["under_way"].keys() == {"import_jobs", "prompt_runs", "exports"}
    assert [each["window"] is not None for each in document["automations"]] == [True, False]
    assert all(each.keys() == {"kind", "id", "what", "try"} for each in document["attention"])


def test_an_empty_status_teaches(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers |= {f"GET {API}/{name}": [] for name in LISTS}
    daemon.answers[f"GET {API}/status"] = {"version": "0.1.0"}
    shown = run("status").stdout
    assert "nothing is watched yet" in shown
    assert "needs you" not in shown


def test_watching_for_programs_is_one_object_a_line(
    run: Run, busy: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([None, KeyboardInterrupt()])

    def interrupted(_seconds: float) -> None:
        if error := next(looks):
            raise error

    monkeypatch.setattr("vvwatch.cli.status.time.sleep", interrupted)
    done = run("status", "--watch", "--json")
    assert [json.loads(line)["daemon"]["version"] for line in done.stdout.splitlines()] == ["0.1.0"] * 2
    assert done.exit_code == 0
