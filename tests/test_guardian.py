"""A run of tests that is killed leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
SLEEPER = """
import subprocess, sys
from pathlib import Path

def test_hang():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path("pid.new").write_text(str(child.pid))
    Path("pid.new").rename("pid")
    child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the guardian looks in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_killed_run_leaves_no_process(tmp_path: Path, number: int, workers: str) -> None:
    (tmp_path / "test_sleeper.py").write_text(SLEEPER)
    (tmp_path / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-q", workers, "-p", "tests.guardian", "-p", "no:schemathesis"]
    environ = {"PYTHONPATH": str(ROOT), "PATH": ""}
    # A run that a shell started in the background ignores Ctrl-C, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with (tmp_path / "log").open("wb") as log:
        runner = subprocess.Popen(
            command, cwd=tmp_path, env=environ, start_new_session=True, stdout=log, stderr=log
        )
    signal.signal(signal.SIGINT, before)
    written = tmp_path / "pid"
    while not written.exists():
        assert runner.poll() is None
        time.sleep(0.05)
    sleeper = psutil.Process(int(written.read_text()))

    if number == signal.SIGINT:
        os.killpg(runner.pid, number)  # as a terminal does for Ctrl-C
    else:
        runner.send_signal(number)

    assert runner.wait(60) != 0
    psutil.wait_procs([sleeper], timeout=60)
    assert not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE
