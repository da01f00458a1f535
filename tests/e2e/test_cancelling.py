"""A run that is cancelled while it works, by a daemon that is killed in the middle of it."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests import samples
from tests.daemon_process import Daemon, wait_until
from tests.e2e.conftest import Make

COUNT = 12
ENDS = ("completed", "failed", "partial", "cancelled")
EXTRA = "[processing]\nconcurrency = 1\n"


def fill(daemon: Daemon) -> None:
    first = samples.video(daemon.incoming / "000.mp4", seconds=4)
    for number in range(1, COUNT):
        shutil.copy(first, daemon.incoming / f"{number:03}.mp4")


def run_of(daemon: Daemon, run_id: str) -> Any:
    return daemon.get(f"/prompt-runs/{run_id}")


def post(daemon: Daemon, path: str, body: Any = None) -> Any:
    status, answer = daemon.call("POST", path, body)
    assert status in (200, 202), answer
    return answer


def imported(daemon: Daemon) -> bool:
    ended = [run for run in daemon.get("/prompt-runs") if run["status"] == "completed"]
    return bool(ended) and ended[0]["total_videos"] == COUNT


def adds_up(run: Any) -> bool:
    return bool(run["total_videos"] == sum(run[f"{end}_videos"] for end in ENDS) == COUNT)


@pytest.mark.timeout(240)
def test_a_run_is_cancelled_across_kill_9(make: Make) -> None:
    daemon = make(debounce="2s", settle="0.5s", extra=EXTRA)
    fill(daemon)
    with daemon:
        wait_until(lambda: imported(daemon), "all is imported and processed once", 150)
        [index] = daemon.get("/indexes")
        target = {"type": "index", "index_id": index["index_id"]}
        asked = {"prompt_id": "prompt_technical", "target": target}
        run_id = post(daemon, "/prompt-runs/execute", asked)["run_id"]
        wait_until(lambda: run_of(daemon, run_id)["completed_videos"] > 0, "it has begun", 30)
        stopping = post(daemon, f"/prompt-runs/{run_id}/cancel")
        assert stopping["stop_state"]["requested_at"]
        assert stopping["cancelled_videos"] > 0
        daemon.kill()
    with daemon:
        wait_until(lambda: run_of(daemon, run_id)["status"] == "cancelled", "it is cancelled", 60)
        run = run_of(daemon, run_id)
        assert adds_up(run)
        assert run["completed_videos"] + run["cancelled_videos"] == COUNT
        assert run["stop_state"]["completed_at"]
        assert daemon.rows(f"select count(*) from exports where run_id = '{run_id}'") == [(0,)]
        assert daemon.stop() == 0
