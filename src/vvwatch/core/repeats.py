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
    reported_at: float
    seen_at: float
    wait_seconds: float
    unreported: int = 0
    times: int = 1
    is_over: bool = False
    is_reported: bool = True  # since it began, or came back
    ends: int = 0  # that were reported


@dataclass(frozen=True, slots=True)
class Report:
    """A report due now: the number of occurrences since the last report, and the duration so far."""

    unreported: int
    lasts_seconds: float


@dataclass(frozen=True, slots=True)
class Past:
    """A trouble that is over: its number of occurrences and its duration."""

    times: int
    lasted_seconds: float


class Repeats:
    """Remembers troubles by a key and says when to report them. Moments are monotonic seconds.

    A trouble is reported at once, again after `first_seconds`, and then at intervals that grow fourfold up to
    `longest_seconds`. A trouble that did not occur for a whole interval counts as new. One that returns sooner after
    its end was reported is reported once it has lasted `first_seconds`; each quick return doubles this, up to five
    minutes. Beyond a thousand troubles the oldest are forgotten: rather one report too many than none.
    """

    def __init__(
        self, first_seconds: float = _FIRST_SECONDS, longest_seconds: float = _LONGEST_SECONDS
    ) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._troubles: dict[Hashable, _Trouble] = {}

    def note(self, key: Hashable, now: float) -> Report | None:
        """Record an occurrence; return the report to make, or None if the last one is recent."""
        trouble = self._troubles.pop(key, None)  # the order of the dictionary is that of the last notes
        if trouble is None or now - trouble.seen_at > trouble.wait_seconds:
            self._begin(key, now)
            return Report(0, 0.0)
        self._troubles[key] = trouble
        if trouble.is_over:
            trouble.is_over = trouble.is_reported = False
        trouble.times += 1
        trouble.seen_at = now
        if now - trouble.reported_at < trouble.wait_seconds:
            trouble.unreported += 1
            return None
        return self._report(trouble, now)

    def _begin(self, key: Hashable, now: float) -> None:
        self._troubles[key] = _Trouble(now, now, now, self._first_seconds)
        if len(self._troubles) > _MOST:
            del self._troubles[next(iter(self._troubles))]

    def _report(self, trouble: _Trouble, now: float) -> Report:
        report = Report(trouble.unreported, now - trouble.began_at)
        trouble.reported_at, trouble.unreported, trouble.is_reported = now, 0, True
        trouble.wait_seconds = min(trouble.wait_seconds * _GROWTH, self._longest_seconds)
        return report

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
        if not trouble.is_reported:
            return None
        calm_seconds = self._first_seconds * 2.0**trouble.ends
        trouble.ends, trouble.reported_at = trouble.ends + 1, now
        trouble.wait_seconds = min(calm_seconds, max(self._first_seconds, _LONGEST_CALM_SECONDS))
        return Past(trouble.times, now - trouble.began_at)
