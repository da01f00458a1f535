from __future__ import annotations

import anyio
import pytest

from vvwatch.ports import Hint
from vvwatch.providers.local.outbox import Outbox

pytestmark = pytest.mark.anyio


async def told(outbox: Outbox, count: int) -> list[Hint]:
    hints: list[Hint] = []
    enough = anyio.Event()

    async def notify(hint: Hint) -> None:
        hints.append(hint)
        if len(hints) == count:
            enough.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.deliver, notify)
        with anyio.fail_after(5):
            await enough.wait()
        tasks.cancel_scope.cancel()
    return hints


async def test_keys_are_told_once_each_before_prefixes() -> None:
    outbox = Outbox()
    outbox.add(["a", "b"], ["x/"])
    outbox.add(["a"], ["x/"])
    assert await told(outbox, 2) == [Hint(keys=("a", "b")), Hint(rescan=("x/",))]


async def test_a_prefix_that_another_covers_is_left_out() -> None:
    outbox = Outbox()
    outbox.add(rescan=["x/y/", "x/", "x/z/q/", "w/"])
    assert await told(outbox, 1) == [Hint(rescan=("w/", "x/"))]


async def test_many_keys_come_in_hints_of_a_thousand() -> None:
    outbox = Outbox()
    outbox.add(f"{number}" for number in range(2_500))
    assert [len(hint.keys) for hint in await told(outbox, 3)] == [1000, 1000, 500]


async def test_more_than_can_be_kept_becomes_one_listing_of_everything() -> None:
    outbox = Outbox()
    outbox.add(f"{number}" for number in range(50_001))
    assert await told(outbox, 1) == [Hint(rescan=("",))]
    outbox.add(rescan=[f"{number}/" for number in range(201)])
    assert await told(outbox, 1) == [Hint(rescan=("",))]


async def test_what_is_added_while_telling_is_told_next() -> None:
    outbox = Outbox()
    outbox.add(["a"])
    hints = []

    async def notify(hint: Hint) -> None:
        hints.append(hint)
        if len(hints) == 1:
            outbox.add(["a"])
        else:
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.deliver, notify)
    assert hints == [Hint(keys=("a",)), Hint(keys=("a",))]
