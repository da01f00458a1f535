"""A daemon or a run that stops in the middle of paid calls keeps what was paid for, and pays for nothing more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import samples
from tests.daemon_process import Daemon, wait_until
from tests.e2e import episodes
from tests.e2e.conftest import Make
from tests.e2e.test_processors import SCALE, openai
from tests.model_server import ModelServer

CLIPS, SECONDS_EACH = 4, 20
CALLS = CLIPS * (SECONDS_EACH // 2 + 1)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(latency_seconds=1.5) as server:
        yield server


def working(make: Make, folder: Path, server: ModelServer, limits: str) -> Daemon:
    """A daemon that has many calls to make."""
    extra = openai(server).replace("send_audio", f"{limits}\nsend_audio")
    daemon = make(automation="enabled = false", extra=extra + episodes.PROMPT + SCALE)
    clip = samples.video(folder / "clip.mp4", seconds=SECONDS_EACH - 0.5).read_bytes()
    for number in range(CLIPS):
        (daemon.incoming / f"clip-{number}.mp4").write_bytes(clip)
    return daemon


def unsettled(daemon: Daemon) -> int:
    [(count,)] = daemon.rows("select count(*) from llm_calls where status = 'started'")
    return int(count)


@pytest.mark.timeout(300)
def test_a_daemon_that_stops_lets_calls_under_way_end_and_begins_no_other(
    make: Make, tmp_path: Path, server: ModelServer
) -> None:
    daemon = working(make, tmp_path, server, "max_in_flight = 2")
    with daemon:
        episodes.watch_over_the_api(daemon)
        wait_until(lambda: len(server.charged) >= 3 and server.under_way == 2, "calls under way", 60)
        before, begun = len(server.charged) + server.under_way, time.monotonic()
        assert daemon.stop() == 0
        took = time.monotonic() - begun
    assert took < 15, "it waits for those calls, not for whole films"
    assert len(server.charged) <= before + 1
    assert unsettled(daemon) == 0
    with daemon:
        episodes.await_export(daemon, 120)
        assert daemon.rows("select distinct status from prompt_runs") == [("completed",)]
        assert daemon.stop() == 0
    assert (len(server.charged), server.charged.total()) == (CALLS, CALLS)


@pytest.mark.timeout(300)
def test_a_run_that_is_cancelled_pays_for_nothing_that_still_waits_for_its_turn(
    make: Make, tmp_path: Path, server: ModelServer
) -> None:
    daemon = working(make, tmp_path, server, "requests_per_minute = 120\nmax_in_flight = 8")
    with daemon:
        episodes.watch_over_the_api(daemon)
        wait_until(lambda: len(server.charged) >= 3, "calls", 60)
        [(run_id,)] = daemon.rows("select id from prompt_runs")
        assert unsettled(daemon) > 10, "many wait for their turn"
        status, _ = daemon.call("POST", f"/prompt-runs/{run_id}/cancel")
        assert status in (200, 202)
        most = len(server.charged) + server.under_way + 1
        ended = f"select 1 from prompt_runs where id = '{run_id}' and status = 'cancelled'"
        wait_until(lambda: bool(daemon.rows(ended)), "the run has ended", 60)
        assert len(server.charged) <= most
        check_kept(daemon, run_id, len(server.charged))
        assert daemon.stop() == 0


def check_kept(daemon: Daemon, run_id: str, paid: int) -> None:
    """What was paid for is there, counted, and nothing is held for calls that were not made."""
    assert unsettled(daemon) == 0
    calls = daemon.rows("select count(*) from llm_calls where status = 'completed'")
    segments = daemon.rows("select count(*) from segment_results where error is null")
    counted = daemon.rows(f"select completed_segments from prompt_runs where id = '{run_id}'")
    assert calls == segments == counted == [(paid,)]
    [(cost, held)] = daemon.rows(
        f"select cost_nanousd, reserved_nanousd from spending where scope = 'run:{run_id}'"
    )
    assert (cost, held) == (paid * 100_000_000, 0)
