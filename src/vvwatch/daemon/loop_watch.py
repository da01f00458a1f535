"""Measures how long the event loop is blocked, and by what: times each turn, and samples long ones from a thread.

While one callback runs, nothing else does: no request is answered and no work is done. A block of `BLOCKED_SECONDS`
or more is reported as `loop.blocked`, with the place in the code.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from vvwatch.telemetry import Telemetry

BLOCKED_SECONDS: Final = 0.25
"""From how long on a block is reported."""

_LOOK_SECONDS: Final = 0.25
_NOTED_SECONDS: Final = 0.01
_MEASURE_SECONDS: Final = 15.0
_REMEMBERED_SECONDS: Final = 60.0
_MOST_KEPT: Final = 1_000
_FRAMES: Final = 8
_OUTSIDE: Final = "outside the event loop"
_IDLE: Final = frozenset({"threading", "queue", "selectors", "concurrent.futures.thread"})


class _TimedSelector(selectors.DefaultSelector):
    """Notifies `watch` when the loop begins and ends waiting."""

    def __init__(self, watch: LoopWatch) -> None:
        super().__init__()
        self._watch = watch

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._watch.turn_ends()
        try:
            return super().select(timeout)
        finally:
            self._watch.turn_begins()


class LoopWatch:
    """Measures the loop that `loop` creates, at a cost below 0.1 % of a core.

    `seconds` is a monotonic clock. In a loop created elsewhere it notices only what stops every thread: a long call
    that never releases the interpreter lock, or a machine without a free core.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._began_at: float | None = None  # of the turn of the loop that is under way
        self._stack: list[str] = []  # where the loop was found in it
        self._loop_thread = threading.get_ident()
        self._longest: deque[tuple[float, float]] = deque(maxlen=_MOST_KEPT)  # when it ended, and its seconds
        self._blocks: deque[tuple[float, list[str]]] = deque(maxlen=_MOST_KEPT)  # that are not reported yet
        self._noting = threading.Lock()
        self._look_at = self._measure_at = seconds()

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return a new event loop that this measures."""
        return asyncio.SelectorEventLoop(_TimedSelector(self))

    @contextmanager
    def reporting(self, telemetry: Telemetry) -> Iterator[None]:
        """Report to `telemetry` from a thread until the block ends; enter it in the loop's thread."""
        self._loop_thread = threading.get_ident()
        ended = threading.Event()

        def looking() -> None:
            self._look_at = self._seconds() + _LOOK_SECONDS
            while not ended.wait(_LOOK_SECONDS):
                self.look(telemetry)

        thread = threading.Thread(target=looking, name="loop-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def turn_begins(self) -> None:
        """Note that the loop stopped waiting."""
        self._began_at = self._seconds()

    def turn_ends(self) -> None:
        """Note that the loop ran everything due, and waits."""
        began_at, self._began_at = self._began_at, None
        if began_at is not None:
            now = self._seconds()
            if now - began_at >= _NOTED_SECONDS:
                self._note(now, now - began_at, self._stack)
        if self._stack:
            self._stack = []

    def longest(self) -> float:
        """Return the longest block of the last minute in seconds; 0 for less than 10 ms."""
        since = self._seconds() - _REMEMBERED_SECONDS
        return max((seconds for ended_at, seconds in tuple(self._longest) if ended_at >= since), default=0.0)

    def look(self, telemetry: Telemetry) -> None:
        """Sample the loop; report finished blocks and, four times a minute, the longest."""
        now, began_at = self._seconds(), self._began_at
        if began_at is not None and now - began_at >= BLOCKED_SECONDS:
            self._stack = self._stack or _stack_of(self._loop_thread)
        elif now - self._look_at >= BLOCKED_SECONDS and not self._blocks:
            self._note(now, now - self._look_at, [_OUTSIDE, *_busy_threads(self._loop_thread)])
        while self._blocks:
            seconds, stack = self._blocks.popleft()
            telemetry.emit(
                "loop.blocked",
                seconds=round(seconds, 3),
                where=stack[0] if stack else "",
                stack=" < ".join(stack),
                event_loop_blocked_seconds=round(self.longest(), 3),
            )
        if now >= self._measure_at:
            self._measure_at = now + _MEASURE_SECONDS
            telemetry.emit("loop.measured", event_loop_blocked_seconds=round(self.longest(), 3))
        self._look_at = self._seconds() + _LOOK_SECONDS

    def _note(self, now: float, seconds: float, stack: list[str]) -> None:
        with self._noting:
            while self._longest and self._longest[-1][1] <= seconds:
                self._longest.pop()  # shorter and older: never again the longest
            self._longest.append((now, seconds))
        if seconds >= BLOCKED_SECONDS:
            self._blocks.append((seconds, stack))


def _stack_of(thread: int) -> list[str]:
    """Return where a thread is in the code, innermost function first."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001  # documented, for such a use
    places: list[str] = []
    while frame is not None and len(places) < _FRAMES:
        places.append(_frame_name(frame))
        frame = frame.f_back
    return places


def _busy_threads(loop_thread: int) -> list[str]:
    """Return where the other busy threads are."""
    own = {loop_thread, threading.get_ident()}
    frames = sys._current_frames()  # noqa: SLF001  # documented, for such a use
    busy = (frame for thread, frame in frames.items() if thread not in own)
    return [_frame_name(frame) for frame in busy if frame.f_globals.get("__name__") not in _IDLE][:_FRAMES]


def _frame_name(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
