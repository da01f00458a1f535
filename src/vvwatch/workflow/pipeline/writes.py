"""Write what effects came to: until the database has it, so that no effect is repeated, and in batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Concatenate, Generic, ParamSpec, TypeVar

import anyio

from vvwatch.errors import StoreUnavailable, VvwatchError
from vvwatch.ports import Clock
from vvwatch.store.db.database import Database, Tx

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
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


MOST: int = 64
"""How many calls share a transaction at most."""


@dataclass(slots=True, eq=False)
class _Call(Generic[T, R]):
    item: T
    results: Sequence[R] = ()
    error: Exception | None = None
    is_done: bool = False
    is_alone: bool = False
    """Whether it is done by itself, as something that it was done with could not be done."""


class Batcher(Generic[T, R]):
    """Calls `do` with what was asked for meanwhile; it answers each in its place, or raises.

    What it raises of our own errors is raised to all. Any other is the fault of one of them: each is done by itself.
    """

    def __init__(self, do: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._do = do
        self._turn = anyio.Lock()
        self._waiting: list[_Call[T, R]] = []

    async def __call__(self, item: T) -> R:
        """What is answered to `item`; raises what `do` raises."""
        mine = _Call[T, R](item)
        self._waiting.append(mine)
        try:
            async with self._turn:
                while not mine.is_done:
                    await self._next()
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        if mine.error is not None:
            raise mine.error
        return mine.results[0]

    async def _next(self) -> None:
        count = 1 if self._waiting[0].is_alone else MOST
        some, self._waiting = self._waiting[:count], self._waiting[count:]
        try:
            results = await self._do([each.item for each in some])
        except Exception as error:  # noqa: BLE001  # each of them is told
            is_every = isinstance(error, VvwatchError) or len(some) == 1
            for each in some:
                each.error, each.is_done, each.is_alone = error, is_every, True
            self._waiting = [each for each in some if not each.is_done] + self._waiting
            return
        except BaseException:  # who does it is cancelled: the next one does it again for those who still wait
            self._waiting = [each for each in some if each is not some[0]] + self._waiting
            raise
        for each, result in zip(some, results, strict=True):
            each.results, each.error, each.is_done = (result,), None, True
