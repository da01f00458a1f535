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
    "answer with a status of 2xx, then set its status to active",
    "webhook wh_3: hook failed 1 time in a row\n",
)


def window(*, held: bool) -> dict[str, object]:
    return {"automation_id": "auto_a", "object_count": 3, "due_at": LONG_AGO, "held": held}


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
        f"GET {API}/windows": [window(held=False)],
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


def test_a_job_that_found_no_file_and_a_run_without_a_job_say_where_to_look(
    run: Run, busy: FakeDaemon
) -> None:
    progress = {"total_files": 0, "imported": 0, "failed": 0, "skipped": 0}
    unlisted = {"status": "failed", "progress": progress, "failed_files": [], "error_message": "key refused"}
    asked = {"run_id": "run_9", "status": "failed", "error_message": "no media", "import_job_id": None}
    busy.answers[f"GET {API}/import-jobs"] = [job("job_9", **unlisted)]
    busy.answers[f"GET {API}/prompt-runs"] = [MEDIA_COUNTERS | asked | {"completed_at": None}]
    shown = run("status").stdout
    assert "import job job_9: key refused\n    vvwatch jobs show job_9\n" in shown
    assert "prompt run run_9: no media\n    GET /api/v2/prompt-runs/run_9/failed-segments\n" in shown


def test_status_says_of_a_held_window_that_it_is(run: Run, busy: FakeDaemon) -> None:
    busy.answers[f"GET {API}/windows"] = [window(held=True)]
    assert "3 files, held" in run("status").stdout


def test_status_finds_the_window_of_an_automation_also_among_more_than_are_listed(
    run: Run, busy: FakeDaemon
) -> None:
    others = [window(held=False) | {"automation_id": f"auto_{number}"} for number in range(200)]
    busy.answers[f"GET {API}/windows"] = others
    for name, found in (("a", window(held=True)), ("b", None)):
        busy.answers[f"GET {API}/indexes/idx_{name}/automations/import/window"] = {"window": found}
    shown = run("status").stdout.splitlines()
    rows = [line for line in shown if line.startswith("auto_")]
    assert ["3 files, held" in line for line in rows] == [True, False]


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


def watched(**changed: Any) -> dict[str, Any]:
    usual = {
        "learnt_by": "listing",
        "source": None,
        "scan_seconds": 60.0,
        "sweep_seconds": 60.0,
        "stretched": False,
        "max_list_calls_per_hour": None,
        "calls_per_hour": 60.0,
        "hot_prefixes": 0,
        "last_sweep": None,
        "next_sweep_at": LONG_AGO,
        "refused_messages": 0,
    }
    return usual | changed


SWEEP = {"finished_at": LONG_AGO, "listed": 1000, "created": 2, "changed": 1, "gone": 0, "recovered": 2}
SWEPT = SWEEP | {"complete": True, "proof": False, "remark": "suddenly empty"}


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (watched(), "auto_a: polling every 1m; not swept yet, next now"),
        (
            watched(learnt_by="events", source={"state": "healthy"}, sweep_seconds=3600.0),
            "auto_a: events healthy, swept every 1h; not swept yet, next now",
        ),
        (
            watched(learnt_by="notices", source={"state": "degraded"}),
            "auto_a: notices of the kernel degraded, swept every 1m;",
        ),
        (
            watched(stretched=True, sweep_seconds=600.0, max_list_calls_per_hour=60, hot_prefixes=3),
            "    stretched, because max_list_calls_per_hour is 60; new keys are looked for in 3 folders meanwhile",
        ),
        (watched(last_sweep=SWEPT), "(no proof: suddenly empty: 1000 listed, 3 new, 0 gone, 2 recovered)"),
        (watched(refused_messages=2), "2 messages of the last day told nothing of use: `vvwatch doctor`"),
    ],
)
def test_status_tells_how_changes_are_learnt(
    run: Run, busy: FakeDaemon, found: dict[str, Any], shown: str
) -> None:
    busy.answers[f"GET {API}/status"]["watching"] = {"auto_a": found, "auto_b": watched()}
    told = run("status").stdout
    assert shown in told
    assert "auto_b: polling" not in told, "what is paused is not watched"


def test_a_queue_in_trouble_needs_you(run: Run, busy: FakeDaemon) -> None:
    health = {"state": "failed", "reason": "no right to receive", "hint": "grant sqs:ReceiveMessage"}
    busy.answers[f"GET {API}/status"]["queues"] = {
        "conn_in": health,
        "conn_out": health | {"state": "healthy"},
    }
    shown = run("status").stdout
    assert "queue conn_in: no right to receive\n    grant sqs:ReceiveMessage" in shown
    assert "conn_out" not in shown
