"""Processing results: the values that travel from a processor to the store and the export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vvwatch.core.pictures import PicturePack

FIXED_SECONDS = 10
"""The default length of a fixed segment."""


def with_lengths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return run settings in which each fixed segmentation has a length."""
    missing = {
        f"{kind}_segment_duration": FIXED_SECONDS
        for kind in ("video", "audio")
        if settings.get(f"{kind}_segmentation_type") == "fixed"
        and not settings.get(f"{kind}_segment_duration")
    }
    return {**settings, **missing}


@dataclass(frozen=True, slots=True)
class Probe:
    """What the container and the first picture say. `damage` names what is wrong, empty when sound.

    `width` and `height` are those of the picture as displayed, after it is turned by `rotation_degrees` (0, 90,
    180 or 270, clockwise), None where there is no picture or none could be decoded.

    `frame_rate` is the mean; `frame_rate_exact` is it as a fraction, such as 30000/1001, where all frames come at equal
    distances. `start_timecode` is that of the first frame, as the file writes it. `first_picture_seconds` is when the
    first picture comes, on the clock of the segments: other tracks may begin earlier. `caption_tracks` is None
    where nobody has counted; captions in the pictures count as one.
    """

    media_type: str
    container: str
    duration_seconds: float | None
    width: int | None = None
    height: int | None = None
    rotation_degrees: int | None = None
    frame_rate: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    bit_rate: int | None = None
    damage: tuple[str, ...] = ()
    frame_rate_exact: str | None = None
    start_timecode: str | None = None
    first_picture_seconds: float | None = None
    caption_tracks: int | None = None


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a prompt run cuts and treats media: the preset of `contract` names, without `prompt_id`."""

    video_segmentation_type: str = "smart"
    video_segment_duration: int | None = None
    audio_segmentation_type: str = "content_aware"
    audio_segment_duration: int | None = None
    processing_model: str | None = None
    enable_transcription: bool = True
    enable_image_embedding: bool = True


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of media with what was found in it; times in seconds from the start."""

    start_time: float
    end_time: float
    metadata: dict[str, Any]
    metadata_text: str
    warning: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Where an item is cut, in seconds from its start, and what was found on the way.

    `damage` and `warnings` are as in `ProcessingResult`; `probe` is right where the import could only guess. `shots`
    are the moments at which one shot gives way to the next, wherever the spans are cut; `sound_track` is the number
    of the stream that is heard, None where there is none. `pictures` were kept on the way.
    """

    spans: tuple[tuple[float, float], ...]
    damage: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    probe: Probe | None = None
    shots: tuple[float, ...] = ()
    sound_track: int | None = None
    pictures: PicturePack | None = None


@dataclass(frozen=True, slots=True)
class ProcessingResult:
    """All of one item's results. `damage` non-empty means: results are partial and the item is not sound.

    `probe` is given by a processor that has seen the whole: it is right where the import could only guess.
    `whole_error` is why nothing is said of the whole, though the prompt asks. `pictures` are on this node's disk, and
    last when the result is stored.
    """

    segments: tuple[Segment, ...]
    metadata: dict[str, Any]
    metadata_text: str
    damage: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    probe: Probe | None = None
    whole_error: str | None = None
    pictures: PicturePack | None = None
