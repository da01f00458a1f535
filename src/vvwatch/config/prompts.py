"""Prompts as they are declared, and how an automation uses one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from vvwatch.core.media import RunSettings, with_lengths
from vvwatch.options.tables import Table

SegmentSeconds = Annotated[int, Field(ge=1, le=300)]
BUILT_IN_PROMPTS = ("technical",)
"""Prompts that exist without being declared."""


class VideoLevel(Table):
    """What a prompt asks about a whole item."""

    required = ("instructions_text", "json_schema")

    instructions_text: str = Field(default="", min_length=1, max_length=12000)
    json_schema: dict[str, Any] = Field(default_factory=dict)
    json_schema_file: str | None = None


class PromptTable(Table):
    """A prompt; each schema stands in the file itself or in one of its own."""

    required = ("prompt_text", "json_schema")

    name: str | None = Field(default=None, min_length=3, max_length=100)
    description: str = Field(default="", max_length=500)
    prompt_text: str = Field(default="", min_length=10, max_length=5000)
    json_schema: dict[str, Any] = Field(default_factory=dict)
    json_schema_file: str | None = None
    video_level: VideoLevel | None = None


class PromptPreset(Table):
    """The prompt of an automation (its name or id) and how a run cuts and treats media."""

    prompt_id: str = "technical"
    video_segmentation_type: Literal["smart", "content_aware", "fixed"] = "smart"
    video_segment_duration: SegmentSeconds | None = None
    audio_segmentation_type: Literal["content_aware", "fixed"] = "content_aware"
    audio_segment_duration: SegmentSeconds | None = None
    processing_model: str | None = None
    enable_transcription: bool = True
    enable_image_embedding: bool = True

    @property
    def settings(self) -> RunSettings:
        """The run settings, without the prompt."""
        return RunSettings(**with_lengths(self.model_dump(exclude={"prompt_id"})))
