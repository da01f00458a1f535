"""`vvwatch audit`: what people and programs read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.answers import API, LONG_AGO
from tests.cli.conftest import Run
from tests.cli.fake_daemon import FakeDaemon


def entry(number: int = 1, **changed: Any) -> dict[str, Any]:
    return {
        "audit_id": f"aud_{number}",
        "at": LONG_AGO,
        "last_at": LONG_AGO,
        "actor": "key_1",
        "actor_name": "ci\x1b",
        "action": "index.changed",
        "outcome": "done",
        "resource_id": "idx_1",
        "route": "PATCH /indexes/{index_id}",
        "request_id": "req_1",
        "address": "203.0.113.9",
        "times": 1,
        "details": {"name": "films", "fields": ["description"]},
    } | changed


def page(*entries: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    pagination = {"limit": 200, "has_more": cursor is not None, "next_cursor": cursor}
    return {"data": list(entries), "pagination": pagination}


REFUSED = entry(
    actor="", actor_name="", action="request.refused", resource_id="", times=7, details={"reason": "link"}
)


def test_each_entry_is_a_line(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/audit"] = page(entry(), REFUSED)
    first, second = run("audit").stdout.splitlines()[1:]
    assert "key_1 (ci\\x1b)  index.changed" in first
    assert "name films, fields description" in first
    assert "-  " in second
    assert "request.refused x7" in second
    assert "reason link" in second


def test_an_empty_trail_says_so(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/audit"] = page()
    assert run("audit").stdout == (
        "the audit trail has no such entry; refused requests are written to it once a minute\n"
    )


def test_programs_get_the_entries(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/audit"] = page(entry())
    assert json.loads(run("audit", "--json").stdout) == {"audit": [entry()]}


def test_filters_are_asked_for(run: Run, daemon: FakeDaemon) -> None:
    daemon.answers[f"GET {API}/audit"] = page()
    run("audit", "--key", "cli", "--action", "index", "--resource", "idx_1", "--since", "2026-01-01T00:00Z")
    asked = daemon.asked[-1].query
    assert asked["since"].startswith(("2026-01-01T", "2025-12-31T"))
    wanted = {"actor": "cli", "action": "index", "resource_id": "idx_1", "limit": "50"}
    assert asked == wanted | {"since": asked["since"]}


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_what_is_no_moment_is_refused(run: Run, daemon: FakeDaemon, option: str) -> None:
    done = run("audit", option, "yesterday")
    assert done.exit_code == 2
    assert "'yesterday' is neither a duration (2h, 7d) nor a moment" in done.stderr
