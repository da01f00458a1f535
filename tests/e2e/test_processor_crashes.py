"""Killed time and again while models and programs are paid for each segment: none is lost, none is paid for twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests import samples, slices
from tests.daemon_process import Daemon, wait_until
from tests.e2e import episodes
from tests.e2e.conftest import Make
from tests.e2e.test_processors import SCALE, delegating, openai, upstream_of
from tests.model_server import ModelServer

CLIPS, CALL_SECONDS = 10, 0.2
KILLS = 40 if slices.FULL else 8
CALLS = CLIPS * (3 + 1)
"""Each clip has three segments and a summary."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def drop_clips(daemon: Daemon, folder: Path) -> None:
    clip = samples.video(folder / "clip.mp4", seconds=5.5).read_bytes()
    for number in range(CLIPS):
        (daemon.incoming / f"clip-{number}.mp4").write_bytes(clip)


def kill_often(daemon: Daemon, is_busy: Callable[[], bool]) -> None:
    """Let it live until a call is under way, and kill it during that call or soon after it, so often."""
    rng = random.Random(7)
    for _ in range(KILLS):
        with daemon:
            deadline = time.monotonic() + 5
            while not is_busy() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 2 * CALL_SECONDS))


def check(daemon: Daemon) -> None:
    found = episodes.segments_of(daemon)
    assert found == {f"clip-{number}.mp4": [None] * 3 for number in range(CLIPS)}
    [counts] = daemon.rows(
        """select status, total_items, completed_items, total_segments, completed_segments from prompt_runs"""
    )
    assert counts == ("completed", CLIPS, CLIPS, 3 * CLIPS, 3 * CLIPS)


def lead(daemon: Daemon, folder: Path, is_busy: Callable[[], bool]) -> None:
    """The whole way: watched, killed, and left alone until it is done."""
    drop_clips(daemon, folder)
    with daemon:
        episodes.watch_over_the_api(daemon)
    kill_often(daemon, is_busy)
    with daemon:
        episodes.await_export(daemon, 240)
        check(daemon)


def slow_down(script: Path) -> None:
    """Let the program take its time after it has left its key."""
    text = script.read_text()
    script.write_text(text.replace("whole =", f"import time; time.sleep({CALL_SECONDS})\nwhole =", 1))


def programs(script: Path) -> list[psutil.Process]:
    """Those that run the script, of whichever life of the daemon."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if str(script) in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.timeout(600)
def test_a_model_is_paid_once_for_each_segment(make: Make, tmp_path: Path, stack: ExitStack) -> None:
    server = stack.enter_context(ModelServer(latency_seconds=CALL_SECONDS))
    extra = openai(server).replace("send_audio", "max_in_flight = 1\nsend_audio")
    daemon = make(automation="enabled = false", extra=extra + episodes.PROMPT + SCALE)
    (tmp_path / "made").mkdir()
    lead(daemon, tmp_path / "made", lambda: server.under_way > 0)
    assert len(server.charged) == CALLS
    assert server.changed == []
    assert server.charged.total() > CALLS, "no kill fell into a call: this test proves nothing"
    ledger = daemon.rows("select status, count(*) from llm_calls group by status")
    assert ledger == [("completed", CALLS)]


@pytest.mark.timeout(600)
def test_a_program_is_run_under_one_key_for_each_segment(make: Make, tmp_path: Path) -> None:
    table, runs = episodes.program(tmp_path)
    slow_down(tmp_path / "describe.py")
    extra = '\n[processing]\ndefault = "script"\n' + table + "concurrency = 1\n" + episodes.PROMPT + SCALE
    daemon = make(automation="enabled = false", extra=extra)
    (tmp_path / "made").mkdir()
    sizes = [0]

    def has_begun() -> bool:
        """Whether a program has begun since the last look."""
        sizes.append(runs.stat().st_size)
        return sizes[-1] > sizes[-2]

    lead(daemon, tmp_path / "made", has_begun)
    wait_until(lambda: programs(tmp_path / "describe.py") == [], "no program runs any more")
    keys = runs.read_text().split()
    assert len(set(keys)) == CALLS
    assert len(keys) > CALLS, "no kill fell into a program: this test proves nothing"


@pytest.mark.timeout(600)
def test_an_upstream_is_paid_once_for_each_file(make: Make, tmp_path: Path, stack: ExitStack) -> None:
    upstream = stack.enter_context(upstream_of(tmp_path))
    extra = delegating(tmp_path, upstream) + episodes.PROMPT + SCALE
    daemon = make(automation="enabled = false", extra=extra)
    (tmp_path / "made").mkdir()
    steps = [0]

    def has_asked() -> bool:
        """Whether the upstream has anything new since the last look."""
        [(count,)] = upstream.rows("select (select count(*) from media) + (select count(*) from prompt_runs)")
        steps.append(count)
        return steps[-1] > steps[-2]

    lead(daemon, tmp_path / "made", has_asked)
    assert upstream.rows("select count(*) from media") == [(CLIPS,)]
    assert upstream.rows("select count(*), sum(total_items) from prompt_runs") == [(CLIPS, CLIPS)]
