"""What a processor says about media: the values that travel from a processor to the store and the export."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DEFAULT_PROCESSOR = "technical"
"""Who runs a prompt when the preset names nobody."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the container says, before anything is decoded. `damage` names what is wrong, empty when sound."""

    media_type: str
    container: str
    duration_seconds: float | None
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    bit_rate: int | None = None
    damage: tuple[str, ...] = ()


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
class ProcessingResult:
    """All of one item's results. `damage` non-empty means: results are partial and the item is not sound."""

    segments: tuple[Segment, ...]
    metadata: dict[str, Any]
    metadata_text: str
    damage: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
