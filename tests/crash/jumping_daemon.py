"""The real daemon on a clock that jumps: seconds in a file are added to the time of day.

Usage: jumping_daemon.py OFFSET_FILE CONFIG.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import anyio

from vvwatch.clock import SystemClock
from vvwatch.config import load
from vvwatch.daemon import ServeOptions, serve


def jump(offset: Path) -> None:
    def now(_: SystemClock) -> float:
        return time.time() + float(offset.read_text())

    setattr(SystemClock, "now", now)  # noqa: B010  # a method is not assigned to


if __name__ == "__main__":
    jump(Path(sys.argv[1]))
    config = load(Path(sys.argv[2]), os.environ)
    sys.exit(anyio.run(serve, config, ServeOptions(os.environ)))
