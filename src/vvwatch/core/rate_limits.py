"""Rate limits of API keys: requests per clock minute and hour."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

_MINUTE_SECONDS: Final = 60
_HOUR_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Limits:
    """The most requests of one key per minute and per hour."""

    per_minute: int
    per_hour: int

    @classmethod
    def of(cls, per_minute: int | None, per_hour: int | None) -> Limits | None:
        """Return the limits if at least one is given; the other defaults to what that allows."""
        if per_minute is None and per_hour is None:
            return None
        return cls(
            per_minute or per_hour or 0, per_hour or _HOUR_SECONDS // _MINUTE_SECONDS * (per_minute or 0)
        )


@dataclass(frozen=True, slots=True)
class Used:
    """The requests of one key in the minute and in the hour of `at` (epoch seconds)."""

    at: float
    in_minute: int = 0
    in_hour: int = 0

    def count_at(self, now: float) -> Used:
        """Return the part that counts at `now`."""
        same_minute = _ends_at(self.at, _MINUTE_SECONDS) == _ends_at(now, _MINUTE_SECONDS)
        same_hour = _ends_at(self.at, _HOUR_SECONDS) == _ends_at(now, _HOUR_SECONDS)
        return Used(now, self.in_minute if same_minute else 0, self.in_hour if same_hour else 0)

    def remaining(self, limits: Limits) -> int:
        """Return how many more requests the key may make before `reset_at`."""
        return max(0, min(limits.per_minute - self.in_minute, limits.per_hour - self.in_hour))

    def reset_at(self, limits: Limits) -> int:
        """Return when there is room again, in epoch seconds: the end of the minute, or of a used-up hour."""
        span = _HOUR_SECONDS if self.in_hour >= limits.per_hour else _MINUTE_SECONDS
        return _ends_at(self.at, span)


def _ends_at(moment: float, span_seconds: int) -> int:
    return (int(moment // span_seconds) + 1) * span_seconds


class Meter:
    """Counts requests per key in memory: a restart resets it, and each node counts its own."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._used: dict[str, Used] = {}

    def find_use(self, key_id: str, now: float) -> Used:
        """Return the use of the key at `now`."""
        return self._used.get(key_id, Used(now)).count_at(now)

    def take(self, key_id: str, now: float) -> int:
        """Count a request and return 0; if it is one too many, count nothing and return the seconds to wait."""
        used = self.find_use(key_id, now)
        if used.in_minute >= self.limits.per_minute or used.in_hour >= self.limits.per_hour:
            return max(1, math.ceil(used.reset_at(self.limits) - now))
        self._used[key_id] = replace(used, in_minute=used.in_minute + 1, in_hour=used.in_hour + 1)
        return 0
