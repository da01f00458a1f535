"""Durations as people write them: `90s`, `5m`, `1h30m`, `0.5s`."""

from __future__ import annotations

import re
from typing import Final

from vvwatch.errors import InvalidInput

_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_LONGEST_SECONDS: Final = 3_650 * 86_400.0
_NUMBER: Final = r"(?:(\d{1,9}(?:\.\d{1,9})?)"
_WRITTEN: Final = re.compile("".join(rf"{_NUMBER}{unit})?" for unit in _UNITS), re.ASCII)
_HINT: Final = "write a number and a unit (s, m, h, d), the larger unit first: 90s, 5m, 1h30m, 1d"


def parse_duration(text: str) -> float:
    """Return the seconds of a written duration, zero included.

    Raises InvalidInput for anything else, or over ten years.
    """
    written = _WRITTEN.fullmatch(text.strip())
    if written is None or not any(written.groups()):
        raise InvalidInput(f"{text!r} is not a duration", _HINT)
    parts = zip(written.groups(default="0"), _UNITS.values(), strict=True)
    seconds = sum(float(number) * unit for number, unit in parts)
    if seconds > _LONGEST_SECONDS:
        raise InvalidInput(f"{text!r} is longer than ten years", _HINT)
    return seconds
