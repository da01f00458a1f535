"""How often an endpoint may be asked: turns in time, calls in flight, and how nodes that share it divide them.

Requests and tokens a minute are one thing here: time. A call takes as many seconds of the schedule as it is a part of
what a minute allows, and no two calls take the same second. So nodes can share a schedule by taking stretches of it.
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
"""A turn that comes so late is not lost: the calls after it catch up."""

LEASED_LATE_SECONDS: Final = 0.5
"""The same of a stretch that a database has to hand out first; still less than the margin of a minute."""

_ROUNDING_SECONDS: Final = 1e-3

LEASE_SECONDS: Final = 15.0
"""The slots of a node that does not renew its lease are given to others after so long."""

MOST_PATIENCE_SECONDS: Final = 86_400.0
"""An endpoint that asks for more patience is asked again after so much."""


def seconds_of(rates: Rates, tokens: int) -> float:
    """Return how many seconds of the schedule a call of so many tokens takes; 0 where nothing is limited."""
    minutes = [1 / rates.requests_per_minute] if rates.requests_per_minute else []
    if rates.tokens_per_minute:
        minutes.append(max(tokens, 0) / rates.tokens_per_minute)
    return _MARGIN * _MINUTE_SECONDS * max(minutes, default=0.0)


@dataclass(slots=True)
class Turns:
    """A stretch of the schedule: the next call takes of it from `next_at` on, and none beyond `until`.

    What was not used for `late_seconds` is lost.
    """

    next_at: float = -inf
    until: float = inf
    late_seconds: float = LATE_SECONDS

    def begins_at(self, now: float, seconds: float) -> float | None:
        """Return when a call that takes so many seconds may begin; None when the stretch has no room for it."""
        at = max(self.next_at, now - self.late_seconds)
        return max(at, now) if at + seconds <= self.until + _ROUNDING_SECONDS else None

    def take(self, now: float, seconds: float) -> None:
        """Let a call begin now."""
        self.next_at = max(self.next_at, now - self.late_seconds) + seconds


@dataclass(slots=True)
class InFlight:
    """The calls under way, and how many there may be: fewer for a while after the endpoint asked for patience.

    The first call after that goes alone, and each that ends well lets one more go beside it.
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
    """What a node needs of a schedule that it shares.

    `in_flight` calls are under way here; it `wants` to have so many under way at once. `seconds` of the schedule are
    to be its own, and begin `after_seconds`: so long an answer takes. The endpoint asked it for `patience_seconds`.
    """

    in_flight: int
    wants: int
    seconds: float = 0.0
    after_seconds: float = 0.0
    patience_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Lease:
    """What a node got. It may have `slots` calls under way; the schedule is its own from `begins_at` to `ends_at`.

    Nobody calls before `held_until`. Moments are epoch seconds; `ends_at` is None when it asked for no time.
    """

    slots: int
    begins_at: float = 0.0
    ends_at: float | None = None
    held_until: float = 0.0


def share_slots(most: int, wants: Mapping[str, int]) -> dict[str, int]:
    """Divide `most` slots: everybody gets as many as the others, or what it wants where that is less.

    What cannot be divided goes to the first of those that want more, in the order of `wants`.
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
    """Return for how long to wait when an endpoint says so many seconds: never less than 0, never more than a day."""
    return min(seconds, MOST_PATIENCE_SECONDS) if seconds > 0 else 0.0
