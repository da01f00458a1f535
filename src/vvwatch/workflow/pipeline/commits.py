"""Keeping what an effect came to: a database that is away is waited for, so that the effect is not repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from vvwatch.errors import StoreUnavailable
from vvwatch.ports import Clock
from vvwatch.store.db.database import Database, Tx

P = ParamSpec("P")
T = TypeVar("T")
_AGAIN_SECONDS = 1.0


async def write_until_committed(
    database: Database,
    clock: Clock,
    fn: Callable[Concatenate[Tx, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """What `fn` returns, however long the database takes to come back.

    `fn` must be fenced: when the answer to a commit was lost, it runs once more and finds its job stale.
    """
    while True:
        try:
            return await database.write(fn, *args, **kwargs)
        except StoreUnavailable:
            await clock.sleep(_AGAIN_SECONDS)
