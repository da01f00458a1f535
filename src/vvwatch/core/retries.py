"""How long to wait before trying again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

DELIVERY_DELAYS: Final = (30.0, 120.0, 600.0, 3_600.0, 21_600.0)
"""Seconds before the second to the sixth attempt of a delivery."""

_DELIVERY_JITTER: Final = 0.1
_MOST_DOUBLINGS: Final = 60


def backoff(attempt: int, *, base_seconds: float, cap_seconds: float, sample: float) -> float:
    """Seconds to wait after `attempt` failures came before this one (0 at first), doubling up to the cap.

    The result lies in [half, whole) of that by `sample` in [0, 1), so that waiters do not return all at once.
    """
    ceiling = min(cap_seconds, base_seconds * 2.0 ** min(max(attempt, 0), _MOST_DOUBLINGS))
    return ceiling * (1 + sample) / 2


def delivery_delay(
    attempts: int, sample: float, retry_after: float | None = None, delays: Sequence[float] = DELIVERY_DELAYS
) -> float | None:
    """Seconds until the next attempt after `attempts` (1 or more) failed ones, or None: give up.

    `retry_after` is what the receiver asked for: honoured when longer, up to the longest of `delays`.
    """
    if attempts > len(delays):
        return None
    usual = delays[max(attempts, 1) - 1] * (1 + _DELIVERY_JITTER * (2 * sample - 1))
    return max(usual, min(retry_after or 0.0, max(delays)))
