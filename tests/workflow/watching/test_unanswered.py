"""A store that hangs is seen while it does, and not before."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.clock import FakeClock
from vvwatch.workflow.watching.unanswered import UnansweredStores

pytestmark = pytest.mark.anyio


async def test_who_owes_an_answer_for_a_while_is_told_until_it_comes() -> None:
    clock = FakeClock()
    silence, seen = UnansweredStores(clock), list[dict[str, float]]()

    async def slow() -> AsyncIterator[int]:
        for number, seconds in enumerate((1, 20, 1)):
            clock.advance(seconds)
            seen.append({name: health.since for name, health in silence.health().items()})
            yield number

    began_at = clock.now()
    assert [number async for number in silence.count_waits("conn_in", slow())] == [0, 1, 2]
    assert seen == [{}, {"conn_in": began_at + 1}, {}]
    assert silence.health() == {}


async def test_a_failure_is_an_answer() -> None:
    silence = UnansweredStores(FakeClock())
    with pytest.raises(ValueError), silence.count_request("conn_in"):
        raise ValueError
    assert silence._asked == {}
