"""Throttle repeated reports of the same trouble: the first at once, then one at growing intervals with a count."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

_FIRST_SECONDS: Final = 30.0
_GROWTH: Final = 4.0
_LONGEST_SECONDS: Final = 3600.0
_LONGEST_CALM_SECONDS: Final = 300.0
_MOST: Final = 1_000


@dataclass(slots=True)
class _Trouble:
    began_at: float
    told_at: float
    seen_at: float
    wait_seconds: float
    unsaid: int = 0
    times: int = 1
    is_over: bool = False
    is_told: bool = True  # since it began, or came back
    ends: int = 0  # that were told


@dataclass(frozen=True, slots=True)
class Told:
    """A report due now: the number of occurrences since the last report, and the duration so far."""

    unsaid: int
    lasts_seconds: float


@dataclass(frozen=True, slots=True)
class Past:
    """A trouble that is over: its number of occurrences and its duration."""

    times: int
    lasted_seconds: float


class Repeats:
    """Remembers troubles by a key. Moments are monotonic seconds.

    After `first_seconds` the trouble is told for the second time; each interval is four times the one before, up to
    `longest_seconds`. A trouble that was not seen for a whole interval is a new one when it comes again. One that comes
    back sooner after its end was told is told when it lasts for `first_seconds` after that; each time that it comes
    and goes in so short a while this is twice as long, up to five minutes. Of more than a thousand troubles those that
    were seen longest ago are forgotten: told too often rather than never.
    """

    def __init__(
        self, first_seconds: float = _FIRST_SECONDS, longest_seconds: float = _LONGEST_SECONDS
    ) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._troubles: dict[Hashable, _Trouble] = {}

    def note(self, key: Hashable, now: float) -> Told | None:
        """Record an occurrence; return the report to make, or None if the last one is recent."""
        trouble = self._troubles.pop(key, None)  # the order of the dictionary is that of the last notes
        if trouble is None or now - trouble.seen_at > trouble.wait_seconds:
            self._begin(key, now)
            return Told(0, 0.0)
        self._troubles[key] = trouble
        if trouble.is_over:
            trouble.is_over = trouble.is_told = False
        trouble.times += 1
        trouble.seen_at = now
        if now - trouble.told_at < trouble.wait_seconds:
            trouble.unsaid += 1
            return None
        return self._tell(trouble, now)

    def _begin(self, key: Hashable, now: float) -> None:
        self._troubles[key] = _Trouble(now, now, now, self._first_seconds)
        if len(self._troubles) > _MOST:
            del self._troubles[next(iter(self._troubles))]

    def _tell(self, trouble: _Trouble, now: float) -> Told:
        told = Told(trouble.unsaid, now - trouble.began_at)
        trouble.told_at, trouble.unsaid, trouble.is_told = now, 0, True
        trouble.wait_seconds = min(trouble.wait_seconds * _GROWTH, self._longest_seconds)
        return told

    def lasts(self, key: Hashable) -> bool:
        """Return whether the trouble occurred and has not ended."""
        trouble = self._troubles.get(key)
        return trouble is not None and not trouble.is_over

    def end(self, key: Hashable, now: float) -> Past | None:
        """End the trouble; return None if there was none, or none was reported since it came back."""
        trouble = self._troubles.get(key)
        if trouble is None or trouble.is_over:
            return None
        trouble.is_over = True
        if not trouble.is_told:
            return None
        calm_seconds = self._first_seconds * 2.0**trouble.ends
        trouble.ends, trouble.told_at = trouble.ends + 1, now
        trouble.wait_seconds = min(calm_seconds, max(self._first_seconds, _LONGEST_CALM_SECONDS))
        return Past(trouble.times, now - trouble.began_at)
