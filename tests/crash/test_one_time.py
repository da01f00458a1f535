"""An import that a person asks for survives `kill -9` at each of its commits: each file once, or told why not."""

from __future__ import annotations

import urllib.error
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.crash.dying import die_at
from tests.crash.producer import Producer
from tests.daemon_process import Daemon, wait_until

PROGRAM = Path(__file__).with_name("dying_daemon.py")
POINTS = [
    (moment, f"one_time.{name}")
    for name in ("begin", "record_listed", "seal")
    for moment in ("before", "after")
]
STOPPED = 300


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path, automation="paused = true", warm=True)


@contextmanager
def mortal(daemon: Daemon, moment: str, name: str) -> Iterator[Daemon]:
    """A life that is asked something in the block, and dies at the commit."""
    dying = replace(daemon, command=(str(PROGRAM), moment, name)).start()
    assert dying.process is not None
    try:
        with suppress(urllib.error.URLError, ConnectionError):
            yield dying
        assert dying.process.wait(40) == -9
    finally:
        dying.kill()


def job_of(daemon: Daemon) -> dict[str, Any]:
    [job] = daemon.get("/import-jobs")
    assert isinstance(job, dict)
    return job


def wanted(daemon: Daemon) -> dict[str, str]:
    return {"connector_id": "conn_in", "index_id": "idx_main"}


@pytest.mark.timeout(300)
def test_a_job_killed_at_each_commit_imports_every_file_once(daemon: Daemon, picture: Path) -> None:
    """Trap 27, kill_at_every_await."""
    producer = Producer(daemon.incoming, picture)
    for _ in range(5):
        producer.drop()
    first, *others = POINTS
    with mortal(daemon, *first) as asked:
        assert asked.call("POST", "/import-jobs", wanted(daemon))[0] == 202
    for moment, name in others:
        die_at(daemon, moment, name)
    with daemon:
        wait_until(lambda: job_of(daemon)["status"] == "completed", "completed")
        progress = job_of(daemon)["progress"]
    assert (progress["total_files"], progress["imported"]) == (5, 5)
    assert Counter(key for (key,) in daemon.rows("select key from media")) == Counter(producer.names)
    assert len(daemon.rows("select key from objects")) == 5


@pytest.mark.timeout(300)
def test_a_cancelled_job_killed_meanwhile_tells_every_file(daemon: Daemon, picture: Path) -> None:
    producer = Producer(daemon.incoming, picture)
    for _ in range(STOPPED):
        producer.drop()
    with mortal(daemon, "before", "imports.finish_file") as asked:
        assert asked.call("POST", "/import-jobs", wanted(daemon))[0] == 202
    with mortal(daemon, "before", "cancellation.skip_files") as asked:
        asked.call("POST", f"/import-jobs/{job_of(asked)['job_id']}/cancel")
    die_at(daemon, "after", "cancellation.skip_files")
    with daemon:
        wait_until(lambda: pending(daemon) == 0, "told")
        job = job_of(daemon)
    progress = job["progress"]
    assert (job["status"], progress["total_files"]) == ("cancelled", STOPPED)
    assert progress["skipped"] > 0
    assert progress["imported"] + progress["skipped"] == STOPPED
    assert daemon.rows("select count(*) from media") == [(progress["imported"],)]
    assert daemon.rows("select count(*) from objects") == [(progress["imported"],)]


def pending(daemon: Daemon) -> int:
    [(count,)] = daemon.rows("select count(*) from import_files where status = 'pending'")
    return int(count)
