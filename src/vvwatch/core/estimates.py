"""Estimate the work of a prompt run before it begins."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vvwatch.core.media import RunSettings
from vvwatch.core.segments import MAXIMUM_SECONDS, MINIMUM_SECONDS


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of media of one type, and their total seconds."""

    media_type: str
    count: int
    seconds: float


def segments_between(amount: Amount, settings: RunSettings) -> tuple[int, int]:
    """Return the least and the greatest number of segments for these media."""
    if amount.media_type == "image":
        return amount.count, amount.count
    longest, shortest = _segment_lengths(amount.media_type, settings)
    least = math.ceil(amount.seconds / longest)
    return max(least, amount.count), math.floor(amount.seconds / shortest) + amount.count


def _segment_lengths(media_type: str, settings: RunSettings) -> tuple[float, float]:
    """Return the longest and the shortest segment in seconds; only the last of an item may be shorter."""
    is_audio = media_type == "audio"
    mode = settings.audio_segmentation_type if is_audio else settings.video_segmentation_type
    fixed = settings.audio_segment_duration if is_audio else settings.video_segment_duration
    return (fixed, fixed) if mode == "fixed" and fixed else (MAXIMUM_SECONDS, MINIMUM_SECONDS)
