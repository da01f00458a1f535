"""Deleting a large index with the real daemon, which is killed while it does."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.daemon_process import Daemon, wait_until

OBJECTS = 150_000
MEDIA = 5_000


def fill(daemon: Daemon, index_id: str) -> None:
    """Give the index a ledger and media, while no daemon runs."""
    with sqlite3.connect(daemon.state / "vvwatch.db") as database:
        [connector_id] = database.execute("SELECT connector_id FROM import_automations").fetchone()
        made = database.execute(
            "INSERT INTO ledger_scopes (index_id, connector_id) VALUES (?, ?)", (index_id, connector_id)
        )
        known = ((made.lastrowid, f"{number:07}.mp4") for number in range(OBJECTS))
        database.executemany(
            "INSERT INTO objects (scope_id, key, version, window_seq) VALUES (?, ?, '1:2', 0)", known
        )
        media = ((f"vid_{number:07}", index_id) for number in range(MEDIA))
        database.executemany("INSERT INTO media (id, index_id, title) VALUES (?, ?, 'x')", media)
    database.close()


@pytest.mark.timeout(200)
def test_a_deletion_survives_kill_9_between_its_pieces(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path).start()
    index_id = daemon.call("POST", "/indexes", {"name": "big"})[1]["index_id"]
    daemon.kill()
    fill(daemon, index_id)

    def left() -> int:
        [(count,)] = daemon.rows("SELECT (SELECT count(*) FROM objects) + (SELECT count(*) FROM media)")
        return int(count)

    path = f"/indexes/{index_id}"
    daemon.start()
    assert daemon.call("DELETE", path)[0] == 202
    for _ in range(3):
        before = left()
        wait_until(lambda before=before: left() < before, "a piece is gone")  # type: ignore[misc]
        daemon.kill()
        assert 0 < left() < before
        daemon.start()
        assert daemon.call("GET", path)[0] == 404
    wait_until(lambda: daemon.get(f"{path}/deletion")["status"] == "deleted", "all is gone", seconds=90)
    assert left() == 0
    wait_until(lambda: bool(daemon.events("deletion.finished")), "it is said")
    assert daemon.events("deletion.finished")[-1]["id"] == index_id
    assert daemon.events("task.failed") == []
    daemon.kill()
