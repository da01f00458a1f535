"""The real daemon, which kills itself with SIGKILL right before or right after one commit.

Usage: dying_daemon.py before|after FUNCTION CONFIG, where FUNCTION names a transaction function: module.function.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio

from vvwatch.config import load
from vvwatch.daemon import ServeOptions, serve
from vvwatch.store.database import Tx
from vvwatch.store.sqlite import SqliteDatabase


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str, name: str) -> None:
    """Die at the first transaction called `name` (module.function): work undone (before) or committed (after)."""
    honest = SqliteDatabase.write

    async def write(self: SqliteDatabase, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if f"{fn.__module__.rpartition('.')[2]}.{fn.__name__}" != name:
            return await honest(self, fn, *args, **kwargs)

        def work(tx: Tx) -> Any:
            result = fn(tx, *args, **kwargs)
            if moment == "before":
                die()
            return result

        result = await honest(self, work)
        die()
        return result

    SqliteDatabase.write = write  # type: ignore[method-assign]


if __name__ == "__main__":
    arm(sys.argv[1], sys.argv[2])
    config = load(Path(sys.argv[3]), os.environ)
    sys.exit(anyio.run(serve, config, ServeOptions(os.environ)))
