"""Ids that are shortened."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.answers import API, job, watching
from tests.cli.conftest import Run
from tests.cli.fake_daemon import FakeDaemon
from vvwatch.cli.ids import match_names
from vvwatch.cli.tables import shorten_id
from vvwatch.core.identities import new_id


def made(kind: str, number: int) -> str:
    return new_id(kind, 1_700_000_000 + number, bytes([number]) * 10)


JOB, EXPORT, DELIVERY, KEY, RUN, VIDEO = (
    made(kind, number) for number, kind in enumerate(("job", "exp", "del", "key", "run", "vid"), 1)
)


@pytest.fixture(autouse=True)
def _ids(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The route that finds ids, over these."""
    answer = daemon.answer

    def find(request: Any) -> tuple[int, Any]:
        if request.path != f"{API}/ids":
            return answer(request)
        kind, part = request.query["kind"], request.query["part"]
        digits = (each.partition("_") for each in (JOB, EXPORT, DELIVERY, RUN, VIDEO))
        found = [f"{k}_{d}" for k, _, d in digits if k == kind and (d.startswith(part) or d.endswith(part))]
        return 200, [{"resource_id": each} for each in found]

    monkeypatch.setattr(daemon, "answer", find)
    daemon.answers |= {
        f"GET {API}/connectors": [{"connector_id": "conn_incoming"}, {"connector_id": "conn_incoming-2"}],
        f"GET {API}/api-keys": [{"key_id": KEY}],
        f"GET {API}/webhooks": [{"webhook_id": "wh_news"}],
        f"GET {API}/exports/{EXPORT}": {"status": "x"},
        f"POST {API}/exports/{EXPORT}/retry": {"export_id": EXPORT, "status": "pending"},
        f"POST {API}/webhooks/deliveries/{DELIVERY}/retry": {"delivery_id": DELIVERY, "status": "pending"},
        f"POST {API}/import-jobs/{JOB}/files/17/retry": {"path": "a", "message": "is tried again"},
        f"POST {API}/attention/{RUN}/dismiss": {"dismissed": [RUN]},
        f"POST {API}/api-keys/{KEY}/revoke": {"key_id": KEY, "name": "ci"},
        f"POST {API}/connectors/conn_incoming/test": {"success": True, "error_message": None},
        f"POST {API}/connectors/conn_incoming-2/test": {"success": True, "error_message": None},
        f"POST {API}/webhooks/wh_news/test": {"success": True, "status_code": 200, "error": None},
        f"GET {API}/videos/{VIDEO}/segments": {"data": [], "pagination": {"next_cursor": None}},
        f"GET {API}/import-jobs/{JOB}": job(JOB, execution={"run_id": None}),
        f"GET {API}/import-jobs/{JOB}/files": {"items": [], "next_cursor": None},
        f"GET {API}/exports": [],
        f"GET {API}/audit": {"data": [], "pagination": {"next_cursor": None}},
    }


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        (("exports", "show", shorten_id(EXPORT), "--json"), f"exports/{EXPORT}"),
        (("exports", "show", EXPORT[4:12], "--json"), f"exports/{EXPORT}"),
        (("exports", "show", EXPORT[:14] + "…", "--json"), f"exports/{EXPORT}"),
        (("exports", "show", EXPORT[-5:].upper(), "--json"), f"exports/{EXPORT}"),
        (("jobs", "show", shorten_id(JOB)), f"import-jobs/{JOB}/files"),
        (("retry", shorten_id(EXPORT)), f"exports/{EXPORT}/retry"),
        (("retry", DELIVERY[-8:]), f"webhooks/deliveries/{DELIVERY}/retry"),
        (("retry", f"{JOB[-8:]}/17"), f"import-jobs/{JOB}/files/17/retry"),
        (("dismiss", shorten_id(RUN)), f"attention/{RUN}/dismiss"),
        (("keys", "revoke", shorten_id(KEY)), f"api-keys/{KEY}/revoke"),
        (("connectors", "test", "incoming"), "connectors/conn_incoming/test"),
        (("connectors", "test", "conn_incoming"), "connectors/conn_incoming/test"),
        (("connectors", "test", "conn_incoming-…"), "connectors/conn_incoming-2/test"),
        (("webhooks", "test", "news"), "webhooks/wh_news/test"),
        (("results", shorten_id(VIDEO)), f"videos/{VIDEO}/segments"),
    ],
)
def test_the_api_gets_the_whole_id(run: Run, daemon: FakeDaemon, args: tuple[str, ...], asked: str) -> None:
    done = run(*args)
    assert done.exit_code == 0, done.stderr
    assert f"{API}/{asked}" in [request.path for request in daemon.asked]


def test_options_take_shortened_ids(run: Run, daemon: FakeDaemon) -> None:
    assert run("results", VIDEO, "--run", shorten_id(RUN)).exit_code == 0
    assert daemon.asked[-1].query["run_id"] == RUN
    assert run("audit", "--key", shorten_id(KEY), "--resource", shorten_id(JOB)).exit_code == 0
    assert (daemon.asked[-1].query["actor"], daemon.asked[-1].query["resource_id"]) == (KEY, JOB)
    assert run("audit", "--key", "config").exit_code == 0
    assert daemon.asked[-1].query["actor"] == "config"


def test_a_whole_id_costs_no_question(run: Run, daemon: FakeDaemon) -> None:
    run("exports", "show", EXPORT, "--json")
    assert daemon.requests("GET") == [f"{API}/exports/{EXPORT}"]


def test_an_id_that_could_be_several_lists_them(run: Run, daemon: FakeDaemon) -> None:
    done = run("retry", JOB[4:8], "--json")
    failure = json.loads(done.stderr)
    assert failure["code"] == "ambiguous_id"
    assert all(each in failure["try"] for each in (JOB, EXPORT, DELIVERY, RUN))
    assert daemon.requests("POST") == []


def test_what_nothing_matches_is_left_to_the_api(run: Run, daemon: FakeDaemon) -> None:
    assert run("exports", "show", "exp_zzzz").exit_code == 1
    assert daemon.asked[-1].path == f"{API}/exports/exp_zzzz"


def test_a_name_that_people_chose_is_never_guessed(run: Run, daemon: FakeDaemon) -> None:
    watching(
        daemon, cam12={"automation_id": "auto_import_cam12", "index_id": "idx_cam12", "status": "active"}
    )
    daemon.answers[f"POST {API}/indexes/idx_cam12/automations/import/pause"] = {
        "automation_id": "auto_import_cam12",
        "index_id": "idx_cam12",
        "status": "paused",
    }
    assert "is called" in run("pause", "cam1").stderr
    assert daemon.requests("POST") == []
    assert run("pause", "cam1…").exit_code == 0


def test_generated_names_are_matched_by_their_parts() -> None:
    index = made("idx", 9)
    names = (index, index[4:], "my rushes")
    for given in (index[:12], index[-8:], shorten_id(index), "my ru…", "…shes"):
        assert match_names(given, names), given
    for given in ("my ru", "rushes", "abc", "", "…", "idx_", index[:3], f"cam_{index[-8:]}"):
        assert not match_names(given, names), given
