"""Run several requests in parallel."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TypeVar

from anyio import Semaphore, create_task_group

_T = TypeVar("_T")


async def run_in_parallel(
    at_once: int, work: Callable[[_T], Awaitable[None]], items: AsyncIterable[_T]
) -> None:
    """Do the work on every item, `at_once` at a time, with at most one more waiting.

    Raises the first error alone, after all other work has ended.
    """
    slots = Semaphore(at_once)

    async def one(item: _T) -> None:
        try:
            await work(item)
        finally:
            slots.release()

    try:
        async with create_task_group() as tasks:
            async for item in items:
                await slots.acquire()
                tasks.start_soon(one, item)
    except BaseExceptionGroup as group:
        raise _first_error(group) from None


def _first_error(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
