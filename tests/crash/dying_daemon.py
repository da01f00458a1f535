"""The real daemon, which kills itself with SIGKILL right before or right after one commit.

Usage: dying_daemon.py before|after FUNCTION CONFIG, where FUNCTION names a transaction function: module.function, or
module.function#3 for the third of its commits.
storage.write and storage.replace are no commits, but the writes to connectors, each of which can be numbered.
pictures.keep is none either: the pictures of an item get their name.
PgQueuer's own commits are called pgqueuer.dequeue (a job is taken) and pgqueuer.log_jobs (it is acknowledged).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import anyio
from pgqueuer.adapters.persistence.queries import Queries

from vvwatch.config import load
from vvwatch.daemon import ServeOptions, serve
from vvwatch.providers.local.storage import LocalStorage
from vvwatch.providers.remote import RemoteStorage
from vvwatch.store.db.database import Tx
from vvwatch.store.db.postgres import PostgresDatabase
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.workflow.pipeline.pictures import _Draft


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str, name: str, database: type[Any]) -> None:
    """Die at the first transaction called `name` (module.function): work undone (before) or committed (after)."""
    honest = database.write
    name, _, number = name.partition("#")
    numbers = count(1)

    async def write(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        is_named = f"{fn.__module__.rpartition('.')[2]}.{fn.__name__}" == name
        if not is_named or next(numbers) != int(number or 1):
            return await honest(self, fn, *args, **kwargs)

        def work(tx: Tx) -> Any:
            result = fn(tx, *args, **kwargs)
            if moment == "before":
                die()
            return result

        result = await honest(self, work)
        die()
        return result

    database.write = write


def arm_engine(moment: str, method: str) -> None:
    """Die at the first statement of PgQueuer's that moves a job."""
    honest = getattr(Queries, method)

    async def statement(self: Queries, *args: Any, **kwargs: Any) -> Any:
        acknowledges = method == "log_jobs"
        if moment == "before" and acknowledges:
            die()
        result = await honest(self, *args, **kwargs)
        if result or acknowledges:
            die()
        return result

    setattr(Queries, method, statement)


def arm_storage(moment: str, name: str) -> None:
    """Die at a write to a connector: before it, or when the object is there and nothing says so."""
    name, _, number = name.partition("#")
    numbers = count(1)
    for storage in (LocalStorage, RemoteStorage):
        _arm_method(storage, moment, name, numbers, int(number or 1))


def _arm_method(storage: type[Any], moment: str, name: str, numbers: Iterator[int], number: int) -> None:
    honest = getattr(storage, name)

    async def act(self: Any, *args: Any, **kwargs: Any) -> Any:
        dies = next(numbers) == number
        if dies and moment == "before":
            die()
        result = await honest(self, *args, **kwargs)
        if dies:
            die()
        return result

    setattr(storage, name, act)


if __name__ == "__main__":
    module, _, function = sys.argv[2].partition(".")
    if module == "pgqueuer":
        arm_engine(sys.argv[1], function)
    if sys.argv[2] == "pictures.keep":
        _arm_method(_Draft, sys.argv[1], function, count(1), 1)
    if module == "storage":
        arm_storage(sys.argv[1], function)
    for each in (SqliteDatabase, PostgresDatabase):
        arm(sys.argv[1], sys.argv[2], each)
    config = load(Path(sys.argv[3]), os.environ)
    sys.exit(anyio.run(serve, config, ServeOptions(os.environ)))
