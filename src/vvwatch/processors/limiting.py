"""The limiter of one processor: callers wait here for a turn, first come, first served.

One process needs nothing else. Nodes that share a processor lease stretches of its schedule and slots for calls in
flight; a node renews its lease while it has work, and returns what it does not use.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf
from typing import Final

import anyio

from vvwatch.core.limits import (
    LEASE_SECONDS,
    LEASED_LATE_SECONDS,
    Ask,
    InFlight,
    Lease,
    Turns,
    bounded_patience,
    seconds_of,
)
from vvwatch.core.processors import Rates
from vvwatch.errors import (
    ProcessorClosing,
    ProcessorPaused,
    ProcessorUnavailable,
    StoreUnavailable,
    VvwatchError,
)
from vvwatch.ports import Clock
from vvwatch.ports.processing import Limiter, Quota

RENEWAL_SECONDS: Final = 1.0
"""The interval of lease renewals, and so the delay until all nodes learn what one of them heard."""

_RETRY_SECONDS: Final = 0.25
_LEASED_AHEAD_SECONDS: Final = 1.0
_USED_FRACTION: Final = 0.8
_LONGEST_WAIT_SECONDS: Final = 60.0
"""A caller that would wait longer is sent away, so it does not occupy a lane."""


@dataclass(slots=True, eq=False)
class _Caller:
    """A caller that waits for a turn of so many seconds of the schedule."""

    turn: asyncio.Future[None]
    seconds: float


class SharedLimiter:
    """Implements `Limiter`. `quota` is what the nodes share; a single node asks it only for pauses.

    `on_patience` is called with the seconds for which the endpoint asked us to wait.
    """

    def __init__(
        self,
        rates: Rates,
        clock: Clock,
        quota: Quota,
        on_patience: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.rates = rates
        self._on_patience = on_patience
        self._clock = clock
        self._quota = quota
        self._callers: deque[_Caller] = deque()
        self._in_flight = InFlight(rates.in_flight, rates.in_flight)
        is_leased = quota.is_shared and seconds_of(rates, 1) > 0
        self._turns = Turns(until=-inf) if is_leased else Turns()
        self._used_seconds = self._ahead_seconds = (
            0.0  # of the current stretch, and the longest that the next one may be
        )
        self._held_until = 0.0
        self._held = 0  # how often the endpoint asked for patience
        self._paused: ProcessorPaused | None = None
        self._is_closing = False
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = inf
        self._share = _LeaseKeeper(self, clock, quota) if quota.is_shared else None

    @property
    def in_flight(self) -> int:
        """Return the number of calls in flight on this node."""
        return self._in_flight.busy

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[None]:
        """Wait for a turn and hold a slot for the life of the block. `tokens`: the most that the call may use.

        Raises ProcessorPaused, ProcessorClosing when this process is about to end, or ProcessorUnavailable when the
        endpoint asked for too much patience to wait here.
        """
        await self._refuse_while_paused()
        if self._is_closing:
            raise _closing_error()
        if self._patience() > _LONGEST_WAIT_SECONDS:
            raise self._away()
        await self._turn(seconds_of(self.rates, tokens))
        held = self._held
        try:
            yield
        finally:
            self._leave(well=held == self._held)

    def hold_back(self, seconds: float) -> None:
        """Let no call begin for `seconds`: the endpoint asked for patience."""
        seconds = bounded_patience(seconds)
        self._on_patience(seconds)
        self._in_flight.shrink()
        self._held += 1
        self._hold_until(self._clock.monotonic() + seconds)
        if self._share is not None:
            self._share.hold_back(seconds)

    async def pause(self, error: Exception) -> None:
        """Pause the processor on all nodes until its configuration changes or a person resumes it."""
        try:
            await self._quota.pause(error)
        finally:
            hint = error.hint if isinstance(error, VvwatchError) else ""
            self.stop(ProcessorPaused(str(error), hint))

    def drain(self) -> None:
        """Let no further call begin; those in flight may end."""
        self._is_closing = True
        for caller in self._take_callers():
            caller.turn.set_exception(_closing_error())

    async def aclose(self) -> None:
        """Stop the background work."""
        if self._timer is not None:
            self._timer.cancel()
        if self._share is not None:
            await self._share.aclose()

    def stop(self, paused: ProcessorPaused) -> None:
        """Send all waiting callers away: the processor is paused."""
        self._paused = paused
        for caller in self._take_callers():
            caller.turn.set_exception(ProcessorPaused(paused.message, paused.hint, paused.until))

    def fail(self, error: Exception) -> None:
        """Send all waiting callers away: this error is not theirs, and may not pass."""
        for caller in self._take_callers():
            caller.turn.set_exception(error)

    def take_over(self, lease: Lease, *, ahead_seconds: float) -> None:
        """Use the node's lease. Its moments are `ahead_seconds` ahead of the monotonic clock's."""
        if lease.ends_at is not None:
            moments = lease.begins_at - ahead_seconds, lease.ends_at - ahead_seconds
            self._turns = Turns(*moments, LEASED_LATE_SECONDS)
            self._used_seconds = 0.0
        self._hold_until(lease.held_until - ahead_seconds)
        self.serve()

    def unused_seconds(self) -> float:
        """Return how much is left of the stretch of the schedule."""
        return max(self._turns.until - max(self._turns.next_at, self._clock.monotonic()), 0.0)

    def needed_seconds(self) -> float:
        """Return how long a stretch to lease: about what is used in a second; 0 for none."""
        if not self._callers or self._begins_at(self._callers[0]) is not None:
            return 0.0
        was_used = self._used_seconds > _USED_FRACTION * self._ahead_seconds
        ahead = self._ahead_seconds * 2 if was_used else self._ahead_seconds / 2
        wanted = max(ahead, sum(caller.seconds for caller in self._callers))
        self._ahead_seconds = max(self._callers[0].seconds, min(wanted, _LEASED_AHEAD_SECONDS))
        return self._ahead_seconds

    @property
    def load(self) -> int:
        """Return how many calls are in flight or wait here."""
        return self._in_flight.busy + len(self._callers)

    def serve(self) -> None:
        """Start the callers whose turn has come, and schedule the next."""
        while self._callers:
            caller = self._callers[0]
            if caller.turn.done():  # it left
                self._callers.popleft()
                continue
            if not self._in_flight.has_room() or not self._has_slot():
                return
            at, now = self._begins_at(caller), self._clock.monotonic()
            if at is None:
                assert self._share is not None  # noqa: S101  # the schedule of one node alone has no end
                self._share.nudge()
                return
            if at > now:
                self._serve_at(at)
                return
            self._callers.popleft()
            self._turns.take(now, caller.seconds)
            self._used_seconds += caller.seconds
            self._in_flight.busy += 1
            caller.turn.set_result(None)

    async def _turn(self, seconds: float) -> None:
        caller = _Caller(asyncio.get_running_loop().create_future(), seconds)
        self._callers.append(caller)
        self.serve()
        if self._share is not None:
            self._share.note()
        try:
            await caller.turn
        except asyncio.CancelledError:
            if caller.turn.done() and not caller.turn.cancelled() and caller.turn.exception() is None:
                self._leave(well=False)  # its turn came as it left
            elif caller in self._callers:
                self._callers.remove(caller)
                self.serve()
            raise

    def _leave(self, *, well: bool) -> None:
        self._in_flight.end(well=well)
        if self._share is not None:
            self._share.note_end()
        self.serve()

    def _has_slot(self) -> bool:
        return self._share is None or self._share.has_slot(self._in_flight.busy)

    def _begins_at(self, caller: _Caller) -> float | None:
        now = max(self._clock.monotonic(), self._held_until)
        return self._turns.begins_at(now, caller.seconds)

    def _hold_until(self, moment: float) -> None:
        self._held_until = max(self._held_until, moment)
        if self._patience() > _LONGEST_WAIT_SECONDS:
            for caller in self._take_callers():
                caller.turn.set_exception(self._away())

    def _patience(self) -> float:
        return self._held_until - self._clock.monotonic()

    def _away(self) -> ProcessorUnavailable:
        seconds = self._patience()
        return ProcessorUnavailable(
            f"the endpoint asked for {seconds:.0f} s of patience", "it is tried again automatically", seconds
        )

    def _take_callers(self) -> list[_Caller]:
        callers = [caller for caller in self._callers if not caller.turn.done()]
        self._callers.clear()
        return callers

    async def _refuse_while_paused(self) -> None:
        if self._paused is not None:
            self._paused = await self._quota.paused()
        if self._paused is not None:
            raise ProcessorPaused(self._paused.message, self._paused.hint, self._paused.until)

    def _serve_at(self, moment: float) -> None:
        if self._timer is not None and self._timer_at <= moment:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = moment
        self._timer = asyncio.create_task(self._serve_later(moment))

    async def _serve_later(self, moment: float) -> None:
        await self._clock.sleep(max(moment - self._clock.monotonic(), 0.0))
        self._timer = None
        self.serve()


def _closing_error() -> ProcessorClosing:
    return ProcessorClosing("vvwatch is stopping", "the item goes on after the next start")


_: type[Limiter] = SharedLimiter


class _LeaseKeeper:
    """The lease of this node: renewed while there is work, and returned a moment later."""

    def __init__(self, limiter: SharedLimiter, clock: Clock, quota: Quota) -> None:
        self._limiter = limiter
        self._clock = clock
        self._quota = quota
        self._slots = 0
        self._valid_until = -inf
        self._ends_at: float | None = None
        self._patience_seconds = 0.0
        self._peak = 0
        self._lag_seconds = 0.0
        self._is_denied = False
        self._news = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def has_slot(self, busy: int) -> bool:
        """Return whether this node may have one more call in flight; if not, request it."""
        if busy < self._slots and self._clock.monotonic() < self._valid_until:
            return True
        if not self._is_denied:
            self.nudge()
        return False

    def note(self) -> None:
        """Note that a caller came."""
        self._peak = max(self._peak, self._limiter.load)
        self._work()

    def note_end(self) -> None:
        """Note that a call ended: a slot that others wait for is returned at once."""
        if self._limiter.in_flight >= self._slots:
            self.nudge()

    def hold_back(self, seconds: float) -> None:
        """Tell the other nodes that the endpoint asked for patience."""
        self._patience_seconds = max(self._patience_seconds, seconds)
        self.nudge()

    def nudge(self) -> None:
        """Renew the lease now."""
        self._news.set()
        self._work()

    async def aclose(self) -> None:
        """Return the lease."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            await self._give_back()

    def _work(self) -> None:
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while self._has_work():
            await self._renew()
            await self._rest()
            if not self._has_work():
                await self._give_back()

    def _has_work(self) -> bool:
        return self._limiter.load > 0 or self._patience_seconds > 0 or self._news.is_set()

    async def _renew(self) -> None:
        self._news.clear()
        limiter, patience = self._limiter, self._patience_seconds
        load = limiter.load
        wants = min(max(self._peak, load), limiter.rates.in_flight)
        ask = Ask(limiter.in_flight, wants, limiter.needed_seconds(), self._lag_seconds, patience)
        self._peak, asked_at = load, self._clock.monotonic()
        try:
            lease, paused = await self._quota.lease(ask)
        except StoreUnavailable:  # callers go on waiting; the lease expires
            return
        except Exception as error:  # noqa: BLE001  # nobody waits for what a fault of ours will never give
            limiter.fail(error)
            return
        self._patience_seconds = 0.0 if patience == self._patience_seconds else self._patience_seconds
        self._slots, self._valid_until = lease.slots, asked_at + LEASE_SECONDS - RENEWAL_SECONDS
        lag = self._clock.monotonic() - asked_at
        self._lag_seconds = lag if lag > LEASED_LATE_SECONDS / 2 else 0.0
        self._is_denied = lease.slots <= limiter.in_flight
        self._ends_at = self._ends_at if lease.ends_at is None else lease.ends_at
        if paused is not None:
            limiter.stop(paused)
        limiter.take_over(lease, ahead_seconds=self._clock.now() - self._clock.monotonic())

    async def _rest(self) -> None:
        """Return when the lease is due for renewal, or earlier if something happened."""
        is_waiting = self._is_denied and self._limiter.load > self._limiter.in_flight
        async with anyio.create_task_group() as tasks:
            seconds = _RETRY_SECONDS if is_waiting else RENEWAL_SECONDS
            tasks.start_soon(self._end_after, seconds, tasks.cancel_scope)
            await self._news.wait()
            tasks.cancel_scope.cancel()

    async def _end_after(self, seconds: float, scope: anyio.CancelScope) -> None:
        await self._clock.sleep(seconds)
        scope.cancel()

    async def _give_back(self) -> None:
        self._slots = 0
        with suppress(StoreUnavailable):  # then it expires
            await self._quota.give_back(self._ends_at, self._limiter.unused_seconds())
