"""Rate limits of an endpoint: turns in time, calls in flight, and how nodes share them.

Requests and tokens per minute are both counted as time. A call takes seconds of the schedule in proportion to its
share of the minute's allowance, and no two calls share a second. So nodes share a schedule by taking spans of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from vvwatch.core.processors import Rates

_MINUTE_SECONDS: Final = 60.0
_MARGIN: Final = 1.01
"""Requests travel for different times; without a margin one too many would arrive in some minute."""

LATE_SECONDS: Final = 0.1
"""A turn this late is not lost: later calls catch up."""

LEASED_LATE_SECONDS: Final = 0.5
"""The same of a stretch that a database has to hand out first; still less than the margin of a minute."""

_ROUNDING_SECONDS: Final = 1e-3

LEASE_SECONDS: Final = 15.0
"""The slots of a node that does not renew its lease go to others after this time."""

MOST_PATIENCE_SECONDS: Final = 86_400.0
"""The longest pause that an endpoint's request is honoured for."""


def seconds_of(rates: Rates, tokens: int) -> float:
    """Return how many seconds of the schedule a call of so many tokens takes; 0 without a limit."""
    minutes = [1 / rates.requests_per_minute] if rates.requests_per_minute else []
    if rates.tokens_per_minute:
        minutes.append(max(tokens, 0) / rates.tokens_per_minute)
    return _MARGIN * _MINUTE_SECONDS * max(minutes, default=0.0)


@dataclass(slots=True)
class Turns:
    """A span of the schedule: the next call takes time from `next_at` on, none beyond `until`.

    Time unused for `late_seconds` is lost.
    """

    next_at: float = -inf
    until: float = inf
    late_seconds: float = LATE_SECONDS

    def begins_at(self, now: float, seconds: float) -> float | None:
        """Return when a call that takes so many seconds may begin; None when the span has no room."""
        at = max(self.next_at, now - self.late_seconds)
        return max(at, now) if at + seconds <= self.until + _ROUNDING_SECONDS else None

    def take(self, now: float, seconds: float) -> None:
        """Let a call begin now."""
        self.next_at = max(self.next_at, now - self.late_seconds) + seconds


@dataclass(slots=True)
class InFlight:
    """The calls in flight and their limit, lower for a while after the endpoint asks for patience.

    The first call after that goes alone; each success allows one more.
    """

    most: int
    size: int
    busy: int = 0

    def has_room(self) -> bool:
        """Return whether one more may begin."""
        return self.busy < self.size

    def shrink(self) -> None:
        """Let one go at a time: the endpoint asked for patience."""
        self.size = 1

    def end(self, *, well: bool) -> None:
        """Let a call end; `well`: nobody asked for patience while it was under way."""
        self.busy -= 1
        if well:
            self.size = min(self.size + 1, self.most)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a node needs of a shared schedule.

    `in_flight` calls are running here; it `wants` that many at once. It asks for `seconds` of the schedule, beginning
    `after_seconds`, the duration of a request for a lease. `patience_seconds`: the pause that the endpoint asked for.
    """

    in_flight: int
    wants: int
    seconds: float = 0.0
    after_seconds: float = 0.0
    patience_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Lease:
    """What a node received: `slots` calls in flight, and the schedule from `begins_at` to `ends_at`.

    Nobody calls before `held_until`. Moments are epoch seconds; `ends_at` is None when it asked for no time.
    """

    slots: int
    begins_at: float = 0.0
    ends_at: float | None = None
    held_until: float = 0.0


def share_slots(most: int, wants: Mapping[str, int]) -> dict[str, int]:
    """Divide `most` slots evenly; nobody gets more than it wants.

    The remainder goes to the first that want more, in the order of `wants`.
    """
    shares = dict.fromkeys(wants, 0)
    while most > 0 and (hungry := [name for name, want in wants.items() if shares[name] < want]):
        each = most // len(hungry)
        for name in hungry[: most if each == 0 else None]:
            given = min(max(each, 1), wants[name] - shares[name])
            shares[name] += given
            most -= given
    return shares


def bounded_patience(seconds: float) -> float:
    """Return the pause for a requested number of seconds: at least 0, at most a day."""
    return min(seconds, MOST_PATIENCE_SECONDS) if seconds > 0 else 0.0
