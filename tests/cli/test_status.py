"""`vvwatch status`: the whole of it at one glance."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.answers import API, LONG_AGO, automation
from tests.cli.conftest import Run
from tests.cli.fake_daemon import FakeDaemon

EXPECTED = (
    "vvwatch 0.1.0 at http://x, up for",
    "node b at http://b, up for",
    "node c is lost: last seen never",
    "3 files, closes now",
    "failing since",
    "auto_a: 20,000 listed, none matches *.jpg",
    "import job_2: 5 of 9 files",
    "run run_1: 1 of 2 items",
    "export exp_2: pending: the folder is full, next try now",
    "and 3 more exports",
    "source auto_a: no watches left\n    sysctl …",
    "import job job_1: bad\\x1b.mp4: it is cut short\n    vvwatch jobs show job_1",
    "export exp_2: the folder is full; next try now\n    mend that",
    "and 2 older import jobs that failed",
    "`vvwatch dismiss ID`",
)


def window(*, held: bool = False) -> dict[str, object]:
    return {"window_id": "win_1", "object_count": 3, "due_at": LONG_AGO, "held": held}


def told(name: str, **changed: Any) -> dict[str, Any]:
    """An automation as the status has it."""
    usual = automation(name) | {
        "index_name": name.upper(),
        "window": None,
        "watching": watched(),
        "export": None,
        "failing_since": None,
        "failures": 0,
        "remarks": [],
    }
    return usual | changed


def work(identifier: str, **changed: Any) -> dict[str, Any]:
    usual = {
        "id": identifier,
        "status": "pending",
        "done": 0,
        "total": 1,
        "trouble": None,
        "next_try_at": None,
    }
    return usual | changed


def attention(kind: str, identifier: str, what: str, fix: str, **changed: Any) -> dict[str, Any]:
    usual = {"kind": kind, "attention_id": identifier, "state": "failed", "what": what, "fix": fix}
    return usual | {"count": 1, "alike": 1, "since": None, "next_try_at": None, "dismissable": True} | changed


def only(*newest: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    return {"count": len(newest) if count is None else count, "newest": list(newest)}


@pytest.fixture
def busy(daemon: FakeDaemon) -> FakeDaemon:
    """A daemon with work under way and everything that can need somebody."""
    seen = {"version": "1", "started_at": LONG_AGO, "seen_at": LONG_AGO}
    waiting = {"trouble": "the folder is full", "next_try_at": LONG_AGO}
    daemon.answers[f"GET {API}/status"] = {
        "version": "0.1.0",
        "address": "http://x",
        "started_at": LONG_AGO,
        "ready": True,
        "database": {"writable": True, "error": None},
        "automations": [
            told("a", window=window(), remarks=["20,000 listed, none matches *.jpg"]),
            told("b", status="paused", watching=None),
            told("c", failing_since=LONG_AGO, failures=7),
        ],
        "work": {
            "settling": 0,
            "import_jobs": only(work("job_2", done=5, total=9)),
            "prompt_runs": only(work("run_1", done=1, total=2)),
            "exports": only(work("exp_2", **waiting), count=4),
        },
        "attention": [
            attention("source", "auto_a", "no watches left", "sysctl …", dismissable=False),
            attention(
                "import_job", "job_1", "bad\x1b.mp4: it is cut short", "vvwatch jobs show job_1", alike=2
            ),
            attention("export", "exp_2", "the folder is full", "mend that", next_try_at=LONG_AGO),
        ],
        "attention_counts": {"import_jobs": 4, "prompt_runs": 0, "exports": 0},
        "nodes": [
            {"name": "b", "address": "http://b", "waiting": [], **seen},
            {"name": "c", "address": "", "waiting": ["conn_in"], **seen, "seen_at": None},
        ],
    }
    return daemon


def test_status_tells_what_is_watched_under_way_and_in_need(run: Run, busy: FakeDaemon) -> None:
    shown = run("status").stdout
    assert [words for words in EXPECTED if words not in shown] == []
    [source] = [line.split()[3] for line in shown.splitlines() if line.startswith("auto_b")]
    assert source == "-", "what is paused is not listed"


def test_status_asks_once(run: Run, busy: FakeDaemon) -> None:
    run("status")
    assert busy.requests("GET") == [f"{API}/status"]


def test_status_says_of_a_held_window_that_it_is(run: Run, busy: FakeDaemon) -> None:
    busy.answers[f"GET {API}/status"]["automations"][0]["window"] = window(held=True)
    assert "3 files, held" in run("status").stdout


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_database_that_cannot_be_written_to_is_a_failure(
    run: Run, busy: FakeDaemon, options: tuple[str, ...]
) -> None:
    assert run("status", *options).exit_code == 0
    full = "the database does not work: database or disk is full"
    busy.answers[f"GET {API}/status"] |= {
        "database": {"writable": False, "error": full},
        "attention": [attention("database", "database", full, "make room")],
    }
    done = run("status", *options)
    assert done.exit_code == 1
    assert full in done.stdout
    assert "database database" not in done.stdout


def test_status_is_one_document_for_programs(run: Run, busy: FakeDaemon) -> None:
    document = json.loads(run("status", "--json").stdout)
    assert document.keys() == {"daemon", "automations", "under_way", "attention"}
    assert document["under_way"].keys() == {"settling", "import_jobs", "prompt_runs", "exports"}
    assert [each["window"] is not None for each in document["automations"]] == [True, False, False]
    assert all({"kind", "id", "what", "try"} <= each.keys() for each in document["attention"])


def test_an_empty_status_teaches(run: Run, daemon: FakeDaemon) -> None:
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
SWEPT = SWEEP | {
    "complete": True,
    "proof": False,
    "remark": "suddenly empty",
    "left_out": [{"reason": "incomplete_entry", "count": 3, "explanation": "its size is not told"}],
    "store_notes": ["the store tells no ETags"],
}


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (watched(), "auto_a: polling every 1m; not fully scanned yet, next now"),
        (
            watched(learnt_by="events", source={"state": "healthy"}, sweep_seconds=3600.0),
            "auto_a: events healthy, full scan every 1h; not fully scanned yet, next now",
        ),
        (
            watched(learnt_by="notices", source={"state": "degraded"}),
            "auto_a: notices of the kernel degraded, full scan every 1m;",
        ),
        (
            watched(stretched=True, sweep_seconds=600.0, max_list_calls_per_hour=60, hot_prefixes=3),
            "    stretched, because max_list_calls_per_hour is 60; new keys are looked for in 3 folders meanwhile",
        ),
        (watched(last_sweep=SWEPT), "(no proof: suddenly empty: 1000 listed, 3 new, 0 gone, 2 recovered)"),
        (watched(last_sweep=SWEPT), "    left out: 3, its size is not told\n    the store tells no ETags"),
        (watched(refused_messages=2), "2 messages of the last day had no usable content: `vvwatch doctor`"),
    ],
)
def test_status_tells_how_changes_are_learnt(
    run: Run, busy: FakeDaemon, found: dict[str, Any], shown: str
) -> None:
    busy.answers[f"GET {API}/status"]["automations"][0]["watching"] = found
    output = run("status").stdout
    assert shown in output
    assert "auto_b: polling" not in output, "what is paused is not watched"


def test_a_narrow_terminal_has_the_state_of_each_automation(
    run: Run, busy: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    busy.answers[f"GET {API}/status"]["automations"] = [
        told("x" * 26, last_import_job_id=f"job_{'y' * 26}", window=window())
    ]
    table = run("status").stdout.split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= 80
    assert {"AUTOMATION", "STATE", "SOURCE", "WINDOW"} <= set(table[0].split())
    assert "closes now" in table[1]


def test_what_needs_you_is_said_once_of_many_alike(run: Run, busy: FakeDaemon) -> None:
    alike = [attention("source", f"auto_{n}", "no watches left", "sysctl …") for n in range(170)]
    other = attention("source", "auto_x", "the folder is away", "mount it")
    busy.answers[f"GET {API}/status"]["attention"] = [*alike, other]
    shown = run("status").stdout
    assert shown.count("no watches left") == shown.count("sysctl …") == 1
    assert "source auto_0 and 169 more: no watches left" in shown
    assert "source auto_x: the folder is away" in shown
    assert len(json.loads(run("status", "--json").stdout)["attention"]) == 171
