"""A plugin that ends what tests started when their run is killed: nothing outlives it, however it ends.

A guardian, `python guardian.py MARK`, runs beside the tests. Its stdin is a pipe that only the runner holds open. When
the runner is gone, the guardian kills each process that has the mark in its environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

RUN_MARK = "PYTEST_RUN_MARK"
ROUNDS = 20
GUARDIAN = pytest.StashKey["subprocess.Popen[bytes]"]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the guardian where this module is a plugin."""
    start_guardian(config)


def start_guardian(config: pytest.Config) -> None:
    """Mark the environment that everything inherits, and start the guardian; workers of xdist inherit both."""
    if sys.platform != "linux" or hasattr(config, "workerinput"):
        return
    mark = uuid4().hex
    config.stash[GUARDIAN] = subprocess.Popen(
        [sys.executable, "-I", __file__, f"{RUN_MARK}={mark}"], stdin=subprocess.PIPE, start_new_session=True
    )
    os.environ[RUN_MARK] = mark


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the guardian look for leftovers once more, and wait for it."""
    if guardian := config.stash.get(GUARDIAN, None):
        guardian.communicate()


def marked(mark: bytes) -> Iterator[int]:
    """Yield the ids of the processes that began with `mark` in their environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def watch(mark: str) -> None:
    """Wait for the end of stdin, then kill until nothing is left: what is killed may start one more before."""
    sys.stdin.buffer.read()
    for _ in range(ROUNDS):
        found = [pid for pid in marked(mark.encode()) if pid != os.getpid()]
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return


if __name__ == "__main__":
    watch(sys.argv[1])
