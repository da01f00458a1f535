"""Stores that owe an answer: one that hangs is neither healthy nor failed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from vvwatch.ports import Clock, SourceHealth

T = TypeVar("T")
_NOTED_SECONDS: Final = 5.0
_HINT: Final = "check the store and the network to it; requests wait until their time-out"


class UnansweredStores:
    """Remembers since when each connector's store owes an answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: dict[object, tuple[str, float]] = {}

    @contextmanager
    def count_request(self, connector_id: str) -> Iterator[None]:
        """Count the store as asked during the block."""
        question = object()
        self._asked[question] = connector_id, self._clock.now()
        try:
            yield
        finally:
            del self._asked[question]

    async def count_waits(self, connector_id: str, answers: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield the same answers, and count the store as asked while waiting for each."""
        while True:
            with self.count_request(connector_id):
                try:
                    answer = await anext(answers)
                except StopAsyncIteration:
                    return
            yield answer

    def health(self) -> dict[str, SourceHealth]:
        """Return the health by connector id of stores that owe an answer for a while."""
        now, found = self._clock.now(), dict[str, SourceHealth]()
        for connector_id, since in sorted(self._asked.values(), key=lambda asked: asked[1], reverse=True):
            if now - since >= _NOTED_SECONDS:
                reason = f"its store has not answered for {now - since:.0f} s"
                found[connector_id] = SourceHealth("degraded", reason, _HINT, since)
        return found
