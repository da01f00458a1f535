"""Pauses between attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

DELIVERY_DELAYS: Final = (30.0, 120.0, 600.0, 3_600.0, 21_600.0)
"""Seconds before the second to the sixth attempt of a delivery."""

_DELIVERY_JITTER: Final = 0.1
_MOST_DOUBLINGS: Final = 60


def backoff_seconds(attempt: int, *, base_seconds: float, cap_seconds: float, sample: float) -> float:
    """Return the pause after `attempt` earlier failures (0 at first), doubling up to the cap.

    The result lies in [half, whole) of that by `sample` in [0, 1), so that waiters do not return together.
    """
    ceiling = min(cap_seconds, base_seconds * 2.0 ** min(max(attempt, 0), _MOST_DOUBLINGS))
    return ceiling * (1 + sample) / 2


def delivery_delay(
    attempts: int, sample: float, retry_after: float | None = None, delays: Sequence[float] = DELIVERY_DELAYS
) -> float | None:
    """Return the seconds until the next attempt after `attempts` (1 or more) failures, or None to give up.

    `retry_after` comes from the receiver: honoured when longer, up to the longest of `delays`.
    """
    if attempts > len(delays):
        return None
    usual = delays[max(attempts, 1) - 1] * (1 + _DELIVERY_JITTER * (2 * sample - 1))
    return max(usual, min(retry_after or 0.0, max(delays)))


@dataclass(frozen=True, slots=True)
class Bound:
    """How long to wait for an object while its store serves others: both limits must be reached."""

    attempts: int = 3
    seconds: float = 30.0

    def is_reached(self, failures: int, since: float, now: float) -> bool:
        """Return whether an object with so many failures, the first at `since`, has failed for now."""
        return failures >= self.attempts and now - since >= self.seconds


@dataclass(frozen=True, slots=True)
class Patience:
    """Automatic retries of a failed object: pauses double from the first to the longest.

    So a recovered object is found after at most the time that it was away.
    """

    first_seconds: float = 15.0
    longest_seconds: float = 86_400.0

    def not_before(self, seconds: float) -> Patience:
        """Return the same with no pause shorter than `seconds`."""
        return Patience(max(self.first_seconds, seconds), max(self.longest_seconds, seconds))

    def delay(self, tries: int, at_most: float | None = None) -> float:
        """Return the seconds to the next attempt after `tries` failures; at most `at_most`, if given."""
        longest = self.longest_seconds if at_most is None else min(self.longest_seconds, at_most)
        return min(longest, self.first_seconds * 2.0 ** min(max(tries, 0), _MOST_DOUBLINGS))
