"""An item whose processing ends at any moment goes on where it was, and pays for nothing twice."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.chat_endpoint import Answer, Asked, said
from tests.processing import MemoryJournal, OpenLimiter
from tests.processors.openai.conftest import GOOD, WITH_WHOLE, QuickClock, Rigs
from vvwatch.errors import BudgetReached, ProcessorPaused, RunStopped, Superseded

pytestmark = pytest.mark.anyio


class Mortal(MemoryJournal):
    """Each life ends at the `left`th thing that it tells or asks: before that is stored, or just behind."""

    left = 0
    stored = True

    async def _step(self, told: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.stored:
            told.close()
            raise Superseded("killed")
        answer = await told
        if self.left == 0:
            raise Superseded("killed")
        return answer

    async def begin_call(self, *told: Any, **more: Any) -> Any:
        return await self._step(super().begin_call(*told, **more))

    async def end_call(self, *told: Any, **more: Any) -> None:
        await self._step(super().end_call(*told, **more))

    async def keep_plan(self, *told: Any) -> None:
        await self._step(super().keep_plan(*told))


def answers(asked: Asked) -> Answer:
    if not asked.pictures:
        return said({"title": "Boats"})
    is_second_try = len(asked.body["messages"]) > 2
    return said(GOOD) if is_second_try or '"segment":2,' not in asked.text else said("no JSON")


async def lives(rig: Rigs, moment: int, *, stored: bool, segments: int) -> tuple[Counter[str], Any] | None:
    """How often each call was paid for in two lives, and the result; None when the first did not die."""
    journal = Mortal()
    journal.left, journal.stored = moment, stored
    first = await rig(answers, WITH_WHOLE, segments=segments, journal=journal)
    try:
        await first.result()
    except Superseded:
        second = await rig(answers, WITH_WHOLE, segments=segments, journal=journal)
        result = await second.result()
        return first.endpoint.paid + second.endpoint.paid, result
    return None


@pytest.mark.parametrize("segments", [2, 4])
@pytest.mark.parametrize("stored", [True, False])
async def test_an_item_is_finished_whenever_its_first_life_ends(
    rig: Rigs, stored: bool, segments: int
) -> None:
    undisturbed = await rig(answers, WITH_WHOLE, segments=segments)
    expected = await undisturbed.result()
    for moment in itertools.count(1):
        ended = await lives(rig, moment, stored=stored, segments=segments)
        if ended is None:
            break
        paid, result = ended
        assert result == expected
        assert paid.keys() == undisturbed.endpoint.paid.keys()
        assert max(paid.values()) <= 2, "what was answered and not stored is asked again, under its key"
    assert moment > 2 * len(undisturbed.endpoint.paid)


@pytest.mark.parametrize("moment", range(1, 9))
async def test_an_answer_that_is_stored_is_never_asked_for_again(rig: Rigs, moment: int) -> None:
    ended = await lives(rig, moment, stored=True, segments=1)
    if ended is not None:
        assert set(ended[0].values()) == {1}


@pytest.mark.parametrize(
    "refusal",
    [BudgetReached("spent", "raise it", 5.0), ProcessorPaused("paused", "mend it"), RunStopped("cancelled")],
    ids=lambda error: error.code,
)
async def test_what_may_not_begin_is_not_asked_and_what_is_there_stays(rig: Rigs, refusal: Exception) -> None:
    here = await rig(answers, WITH_WHOLE, segments=3)
    await here.result()
    kept = dict(here.journal.kept)
    del here.journal.kept[1], here.journal.calls[1, "segment", 0], here.journal.calls[1, "segment", 1]
    asked = len(here.endpoint.chats)
    here.journal.refuse = refusal
    with pytest.raises(type(refusal)):
        await here.result()
    assert len(here.endpoint.chats) == asked
    here.journal.refuse = None
    assert (await here.result()).segments == tuple(kept[ordinal] for ordinal in range(3))


class Queue(OpenLimiter):
    """Lets each wait for its turn for two seconds; during the second wait `refusal` comes about."""

    def __init__(self, clock: QuickClock, journal: MemoryJournal, refusal: Exception) -> None:
        super().__init__()
        self._waits = 0
        self._told = clock, journal, refusal

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[None]:
        clock, journal, refusal = self._told
        self._waits += 1
        await clock.sleep(2.0)
        if self._waits == 2:
            journal.refuse = refusal
        async with super().slot(tokens):
            yield


@pytest.mark.parametrize(
    "refusal", [RunStopped("cancelled"), Superseded("taken over")], ids=lambda error: error.code
)
async def test_who_waited_for_a_turn_looks_whether_the_call_is_still_wanted(
    rig: Rigs, refusal: Exception
) -> None:
    journal, clock = MemoryJournal(), QuickClock()
    queue = Queue(clock, journal, refusal)
    here = await rig(
        answers, WITH_WHOLE, segments=6, journal=journal, clock=clock, limiter=queue, max_in_flight=1
    )
    with pytest.raises(type(refusal)):
        await here.result()
    assert len(here.endpoint.chats) <= 1
