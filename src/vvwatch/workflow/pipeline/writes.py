"""Write results of effects until they are committed, so that no effect is repeated, and in batches."""

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
    """Return the result of `fn`, however long the database is unreachable.

    `fn` must be fenced: if the response to a commit was lost, it runs once more and finds its job stale.
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
    """Whether it runs alone because the batch that it was part of failed."""


class Batcher(Generic[T, R]):
    """Batches concurrent calls: `do` gets the waiting items, and returns their results in order, or raises.

    An error of ours is raised to all callers. Any other is the fault of one item: each item is then run alone.
    """

    def __init__(self, do: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._do = do
        self._turn = anyio.Lock()
        self._waiting: list[_Call[T, R]] = []

    async def __call__(self, item: T) -> R:
        """Return the result for `item`; raise what `do` raises."""
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
        except Exception as error:  # noqa: BLE001  # each caller gets it
            is_every = isinstance(error, VvwatchError) or len(some) == 1
            for each in some:
                each.error, each.is_done, each.is_alone = error, is_every, True
            self._waiting = [each for each in some if not each.is_done] + self._waiting
            return
        except BaseException:  # this caller is cancelled: the next one repeats it for those who still wait
            self._waiting = [each for each in some if each is not some[0]] + self._waiting
            raise
        for each, result in zip(some, results, strict=True):
            each.results, each.error, each.is_done = (result,), None, True
