"""`kill -9` while captions that came after their media are taken in: replaced once, exported once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import samples
from tests.crash.dying import die_at
from tests.daemon_process import Daemon, wait_until
from tests.postgres_server import PostgresServer

POINTS = [
    (moment, name)
    for name in ("sidecars.record_sidecars", "transcript_retries.finish")
    for moment in ("before", "after")
]


@pytest.fixture
def database_url(dialect: str, request: pytest.FixtureRequest) -> Iterator[str]:
    if dialect == "sqlite":
        yield ""
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    yield server.create_database("captions")
    server.drop_database("captions")


def exported_texts(daemon: Daemon) -> list[str | None]:
    """What the exports say is said in the clip, the oldest export first."""
    found = {}
    for path in daemon.outgoing.rglob("*.json"):
        document = json.loads(path.read_text())
        if "media" in document:
            [segment] = document["media"][0]["segments"]
            found[document["export_id"]] = segment["transcript"] and segment["transcript"]["text"]
    return [found[export_id] for export_id in sorted(found)]


def is_quiet(daemon: Daemon, exports: int) -> bool:
    done = daemon.rows("select count(*), count(completed_at) from exports")
    return done == [(exports, exports)] and daemon.rows(
        "select count(*) from segment_retries where completed_at is null"
    ) == [(0,)]


@pytest.mark.timeout(600)
def test_whatever_instant_it_dies_at_late_captions_are_taken_once(tmp_path: Path, database_url: str) -> None:
    daemon = Daemon(tmp_path, database_url=database_url, heartbeat="1s")
    clip = samples.video(tmp_path / "clip.mp4", 1, audio=False)
    (daemon.incoming / "clip.mp4").write_bytes(clip.read_bytes())
    with daemon:
        wait_until(lambda: is_quiet(daemon, 1), "the first export", seconds=60)
    for number, point in enumerate(POINTS):
        text = f"1\n00:00:00,100 --> 00:00:00,900\nwords {number}\n"
        (daemon.incoming / "clip.srt").write_text(text)
        die_at(daemon, *point, seconds=60)
        with daemon:
            wait_until(lambda: is_quiet(daemon, number + 2), f"{point} is made good", seconds=60)  # noqa: B023
    assert exported_texts(daemon) == [None, *(f"words {number}" for number in range(len(POINTS)))]
    assert daemon.rows("select source, count(*) from transcripts group by source") == [("sidecar", 1)]
    assert daemon.rows("select count(*) from segment_results") == [(1,)]
    failed = "select count(*) from import_files where status <> 'imported'"
    assert daemon.rows(failed) == [(0,)]
