"""`vvwatch db reseal --new-key`, killed by SIGKILL at each of its steps in turn, each time on a copy of its own.

Usage: dying_reseal.py STATE_DIR FOLDER. Prints how often it died, and leaves what it left in FOLDER/1, FOLDER/2, …
A step is a commit, or a call that makes a file durable or gives it its name: right before and right after each.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from vvwatch.cli.root import vvwatch
from vvwatch.store.admin import resealing
from vvwatch.store.db.sqlite import SqliteDatabase


def arm(fatal: int) -> None:
    """Die at the step of this number."""
    steps = count(1)

    def step() -> None:
        if next(steps) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(honest: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            step()
            result = honest(*args, **kwargs)
            step()
            return result

        return call

    honest = SqliteDatabase.write

    async def write(self: SqliteDatabase, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if fn.__module__ != resealing.__name__ or kwargs.get("dry"):
            return await honest(self, fn, *args, **kwargs)

        def work(tx: Any) -> Any:
            result = fn(tx, *args, **kwargs)
            step()
            return result

        result = await honest(self, work)
        step()
        return result

    SqliteDatabase.write = write  # type: ignore[method-assign]
    os.fsync = dying(os.fsync)
    Path.replace = dying(Path.replace)  # type: ignore[method-assign]


def main(template: Path, folder: Path) -> None:
    for number in count(1):
        state = shutil.copytree(template, folder / str(number))
        child = os.fork()
        if not child:
            arm(number)
            url = f"sqlite:///{state / 'vvwatch.db'}"
            vvwatch.main(["db", "reseal", "--new-key", "--state-dir", str(state), "--database-url", url])
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            print(number - 1)
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
