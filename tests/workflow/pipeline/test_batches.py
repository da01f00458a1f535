from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from vvwatch.errors import StoreUnavailable
from vvwatch.workflow.pipeline.writes import Batcher

pytestmark = pytest.mark.anyio


class Office:
    """Doubles what it is given, when it may."""

    def __init__(self) -> None:
        self.may = anyio.Event()
        self.asked: list[Sequence[int]] = []
        self.error: Exception | None = None
        self.answers: dict[int, int] = {}
        self.together = Batcher(self.do)

    async def do(self, numbers: Sequence[int]) -> Sequence[int]:
        self.asked.append(list(numbers))
        await self.may.wait()
        if self.error:
            raise self.error
        return [2 * number for number in numbers]

    async def ask(self, number: int) -> None:
        self.answers[number] = await self.together(number)


async def test_what_comes_meanwhile_is_done_at_once_and_each_gets_its_own() -> None:
    office = Office()
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(office.ask, number)
        await anyio.wait_all_tasks_blocked()
        office.may.set()
    assert office.asked == [[0, 1, 2, 3, 4]]
    assert office.answers == {number: 2 * number for number in range(5)}


class Particular(Office):
    """Does not take odd numbers, nor what stands beside one."""

    async def do(self, numbers: Sequence[int]) -> Sequence[int]:
        found = await super().do(numbers)
        if any(number % 2 for number in numbers):
            raise self.odd
        return found

    odd: Exception = ValueError("odd")

    async def ask(self, number: int) -> None:
        try:
            await super().ask(number)
        except Exception:  # noqa: BLE001  # any of those that it is made to raise
            self.answers[number] = -1


async def test_who_cannot_be_done_spoils_it_for_nobody_else() -> None:
    office = Particular()
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(office.ask, number)
        await anyio.wait_all_tasks_blocked()
        office.may.set()
    assert office.asked == [[0, 1, 2, 3], [0], [1], [2], [3]]
    assert office.answers == {0: 0, 1: -1, 2: 4, 3: -1}


async def test_what_keeps_all_from_being_done_is_not_tried_with_each() -> None:
    office = Particular()
    office.odd = StoreUnavailable("away")
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(office.ask, number)
        await anyio.wait_all_tasks_blocked()
        office.may.set()
    assert office.asked == [[0, 1, 2, 3]]
    assert set(office.answers.values()) == {-1}


async def test_a_failure_is_told_to_each_and_the_next_goes_on() -> None:
    office = Office()
    office.error = ValueError("no")
    office.may.set()
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await office.together(1)
    office.error = None
    assert await office.together(2) == 4


async def test_who_is_cancelled_takes_nobody_along() -> None:
    office = Office()
    async with anyio.create_task_group() as others:
        async with anyio.create_task_group() as first:
            first.start_soon(office.ask, 1)
            others.start_soon(office.ask, 2)
            await anyio.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
        office.may.set()
    assert office.answers == {2: 4}
