"""Leave the database to others at least half of the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from vvwatch.ports import Clock
from vvwatch.store.db.database import Database, Tx

P = ParamSpec("P")
T = TypeVar("T")


async def write_and_pause(
    database: Database, clock: Clock, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Return the result of `fn` in a transaction of its own, after a pause as long as that took."""
    started = clock.monotonic()
    result = await database.write(fn, *args, **kwargs)
    if (took := clock.monotonic() - started) > 0:
        await clock.sleep(took)
    return result
