"""Time that moves only when a test moves it."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio


@dataclass
class FakeClock:
    """`advance` moves the wall and the monotonic clock and wakes sleepers; `jump` moves the wall clock alone."""

    wall: float = 1_790_000_000.0
    mono: float = 1_000.0
    _sleepers: list[tuple[float, anyio.Event]] = field(default_factory=list)

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    async def sleep(self, seconds: float) -> None:
        event = anyio.Event()
        self._sleepers.append((self.mono + seconds, event))
        await event.wait()

    def jump(self, seconds: float) -> None:
        self.wall += seconds

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds
        for due, event in self._sleepers:
            if due <= self.mono:
                event.set()
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].is_set()]
