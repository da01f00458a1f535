"""What a prompt run will have to do, told before it begins."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vvwatch.core.media import RunSettings
from vvwatch.core.segments import MAXIMUM_SECONDS, MINIMUM_SECONDS


@dataclass(frozen=True, slots=True)
class Amount:
    """So many media of one type, so long together."""

    media_type: str
    count: int
    seconds: float


def segments_between(amount: Amount, settings: RunSettings) -> tuple[int, int]:
    """Into how many segments these media are cut at least and at most."""
    if amount.media_type == "image":
        return amount.count, amount.count
    longest, shortest = _segment_lengths(amount.media_type, settings)
    least = math.ceil(amount.seconds / longest)
    return max(least, amount.count), math.floor(amount.seconds / shortest) + amount.count


def _segment_lengths(media_type: str, settings: RunSettings) -> tuple[float, float]:
    """How long a segment is at most, and at least but for the last of each item, in seconds."""
    is_audio = media_type == "audio"
    mode = settings.audio_segmentation_type if is_audio else settings.video_segmentation_type
    fixed = settings.audio_segment_duration if is_audio else settings.video_segment_duration
    return (fixed, fixed) if mode == "fixed" and fixed else (MAXIMUM_SECONDS, MINIMUM_SECONDS)
