"""`kill -9` while a sidecar that came after its media is taken in: the facts are replaced once, and exported once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import samples
from tests.crash.dying import die_at
from tests.daemon_process import Daemon, wait_until
from tests.postgres_server import PostgresServer

POINTS = [
    ("before", "sidecars.record_sidecars"),
    ("after", "sidecars.record_sidecars"),
    ("before", "fact_updates.begin"),
    ("after", "fact_updates.begin"),
    ("before", "fact_updates.finish"),
    ("after", "fact_updates.finish"),
]


@pytest.fixture
def database_url(dialect: str, request: pytest.FixtureRequest) -> Iterator[str]:
    if dialect == "sqlite":
        yield ""
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    yield server.create_database("facts")
    server.drop_database("facts")


def exported_facts(daemon: Daemon) -> list[Any]:
    """What the exports say is known of the clip, the oldest export first."""
    found = {}
    for path in daemon.outgoing.rglob("*.json"):
        document = json.loads(path.read_text())
        if "media" in document:
            [item] = document["media"]
            found[document["export_id"]] = (item["video"]["facts"] or {}).get("sidecar", {}).get("fields")
    return [found[export_id] for export_id in sorted(found)]


def is_quiet(daemon: Daemon, exports: int) -> bool:
    done = daemon.rows("select count(*), count(completed_at) from exports")
    return done == [(exports, exports)] and daemon.rows("select count(*) from fact_updates") == [(0,)]


@pytest.mark.timeout(600)
def test_whatever_instant_it_dies_at_late_facts_are_taken_once(tmp_path: Path, database_url: str) -> None:
    daemon = Daemon(tmp_path, database_url=database_url, heartbeat="1s", automation='facts = ["sidecar"]')
    clip = samples.video(tmp_path / "clip.mp4", 1, audio=False)
    (daemon.incoming / "clip.mp4").write_bytes(clip.read_bytes())
    with daemon:
        wait_until(lambda: is_quiet(daemon, 1), "the first export", seconds=60)
    for number, point in enumerate(POINTS):
        (daemon.incoming / "clip.json").write_text(json.dumps({"take": number}))
        die_at(daemon, *point, seconds=60)
        with daemon:
            wait_until(lambda: is_quiet(daemon, number + 2), f"{point} is made good", seconds=60)  # noqa: B023
    assert exported_facts(daemon) == [None, *({"take": number} for number in range(len(POINTS)))]
    assert daemon.rows("select count(*), count(distinct run_id) from exports") == [(len(POINTS) + 1, 1)]
    failed = "select count(*) from import_files where status <> 'imported'"
    assert daemon.rows(failed) == [(0,)]
