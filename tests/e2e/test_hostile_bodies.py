"""Bodies that are made to keep the daemon busy: it refuses them, and everybody else is answered meanwhile."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.daemon_process import ADMIN_KEY, Daemon, wait_until

LONG_SECONDS = 1.5
"""Fifty times what the bounds allow for, since the machine may be busy. Judging all of PATTERNS takes five seconds."""

KEYS = b"{" + b",".join(b'"k%d":1' % number for number in range(85_000)) + b"}"
TABLES = b'{"filters":[' + b",".join([b"{}"] * 300_000) + b"]}"
PATTERNS = json.dumps({"connector_id": "c", "exclude": ["{1..100}" + "[a-z]" * 90] * 100}).encode()


def posted(daemon: Daemon, path: str, body: bytes, method: str = "POST") -> int:
    headers = {"X-API-Key": ADMIN_KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{daemon.url}/api/v2{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def longest_block(daemon: Daemon) -> float:
    with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith("vvwatch_event_loop_blocked_seconds "))
    return float(value)


@pytest.mark.timeout(240)
def test_no_body_blocks_the_event_loop(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        wait_until(lambda: bool(daemon.events("loop.measured")), "the loop is watched")
        before = longest_block(daemon)

        for _ in range(3):
            assert posted(daemon, "/workflow/search", KEYS) == 413
            assert posted(daemon, "/search/filter/main", TABLES) == 413
            assert posted(daemon, "/prompts", KEYS) == 413
            assert posted(daemon, "/indexes/main/automations/import", PATTERNS, "PUT") == 422

        measured = len(daemon.events("loop.measured"))
        wait_until(lambda: len(daemon.events("loop.measured")) > measured, "the loop is measured again")
        assert longest_block(daemon) <= max(before, LONG_SECONDS), daemon.events("loop.blocked")
