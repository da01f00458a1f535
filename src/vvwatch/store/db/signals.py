"""Wake any number of waiters without a task or a queue for each."""

from __future__ import annotations

import anyio


class Signal:
    """Wakes all waiters of one event loop when it is given; `times` counts how often."""

    def __init__(self) -> None:
        self.times = 0
        self._next: anyio.Event | None = None

    def give(self) -> None:
        """Wake all waiters."""
        self.times += 1
        if self._next is not None:
            self._next.set()
            self._next = None

    async def wait(self, seen: int) -> None:
        """Return once it was given more than `seen` times."""
        while self.times <= seen:
            if self._next is None:
                self._next = anyio.Event()
            await self._next.wait()
