"""A copy that kills itself with SIGKILL right before or right after one of the target's commits.

Usage: dying_copy.py before|after NUMBER FROM TO
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

import anyio

from vvwatch.clock import SystemClock
from vvwatch.store.admin import moving
from vvwatch.store.db.database import Tx
from vvwatch.store.db.opening import resolve_place


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(database: Any, moment: str, number: int) -> None:
    honest, numbers = database.write, count(1)

    async def write(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        fatal = fn.__module__ == moving.__name__ and next(numbers) == number

        def work(tx: Tx) -> Any:
            result = fn(tx, *args, **kwargs)
            if fatal and moment == "before":
                die()
            return result

        result = await honest(work)
        if fatal:
            die()
        return result

    database.write = write


if __name__ == "__main__":
    moving._BATCH_ROWS = 2  # type: ignore[misc]
    source, target = (resolve_place(url, Path(), SystemClock()) for url in sys.argv[3:5])
    arm(target.database, sys.argv[1], int(sys.argv[2]))
    anyio.run(moving.copy, source, target, "here", lambda *_: None)
