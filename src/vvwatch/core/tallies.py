"""How many media of each type a run has, how they ended, and how long they are together: kept, not counted anew.

{"video": {"total": 3, "completed": 2, "seconds": 12.5}, ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

WHOLE_FAILED: Final = "whole_failed"
"""What a tally calls items of which only what is said of the whole is missing."""


def count_in_tally(tally: Mapping[str, Any] | None, media_type: str, **more: float) -> dict[str, Any] | None:
    """The tally with so many `more` of these of a type. None, which is that of a run that keeps none, stays None."""
    if tally is None:
        return None
    before = tally.get(media_type, {})
    return {**tally, media_type: {**before, **{name: before.get(name, 0) + more[name] for name in more}}}
