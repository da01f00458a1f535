"""Listing intervals."""

from __future__ import annotations

from typing import Final

_PUBLIC: Final = {300.0: 60.0, 600.0: 120.0, 3_600.0: 300.0, 86_400.0: 900.0}
_FRACTION: Final = 5
_SHORTEST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 900.0


def scan_seconds(quiet_seconds: float) -> float:
    """Return the seconds between two listings for a debounce interval: 1 to 900."""
    usual = min(max(quiet_seconds / _FRACTION, _SHORTEST_SECONDS), _LONGEST_SECONDS)
    return _PUBLIC.get(quiet_seconds, usual)


def jitter_seconds(seconds: float, fraction: float, sample: float) -> float:
    """Return `seconds` moved by up to `fraction` of it to either side; `sample` in [0, 1) says where."""
    return seconds * (1 + fraction * (2 * sample - 1))
