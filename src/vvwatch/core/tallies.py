"""Running totals per run: media per type, how they ended, and their seconds.

{"video": {"total": 3, "completed": 2, "seconds": 12.5}, ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

WHOLE_FAILED: Final = "whole_failed"
"""The tally key of items that lack only the result for the whole."""

TRANSCRIBED: Final = "transcribed"
"""The tally key of items that have a transcript."""

UNTRANSCRIBED: Final = "untranscribed"
"""The tally key of items for which no source had a transcript."""


def count_in_tally(tally: Mapping[str, Any] | None, media_type: str, **more: float) -> dict[str, Any] | None:
    """Return the tally with `more` added for a type. None, for a run without a tally, stays None."""
    if tally is None:
        return None
    before = tally.get(media_type, {})
    return {**tally, media_type: {**before, **{name: before.get(name, 0) + more[name] for name in more}}}
