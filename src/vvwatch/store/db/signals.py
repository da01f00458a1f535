"""Waking whoever waits for something to happen, any number of them, without a task or a queue for each."""

from __future__ import annotations

import anyio


class Signal:
    """Wakes all who wait when it is given; for one event loop. `times` counts how often that was."""

    def __init__(self) -> None:
        self.times = 0
        self._next: anyio.Event | None = None

    def give(self) -> None:
        """Wake everyone who waits."""
        self.times += 1
        if self._next is not None:
            self._next.set()
            self._next = None

    async def wait(self, seen: int) -> None:
        """Return when it was given more often than `seen` times."""
        while self.times <= seen:
            if self._next is None:
                self._next = anyio.Event()
            await self._next.wait()
