"""How a prompt run cuts and treats media, wherever a request says it: automations, runs, prompts, import jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from vvwatch.api.context import ApiContext
from vvwatch.api.wire import Body
from vvwatch.errors import InvalidInput
from vvwatch.ports import Processor, Prompt

Id = Annotated[str, Field(min_length=1, max_length=200)]
SegmentSeconds = Annotated[int, Field(ge=1, le=300)]


class RunOptions(Body):
    """How a run cuts and treats media."""

    video_segmentation_type: Literal["smart", "content_aware", "fixed"] = "smart"
    video_segment_duration: SegmentSeconds | None = None
    audio_segmentation_type: Literal["content_aware", "fixed"] = "content_aware"
    audio_segment_duration: SegmentSeconds | None = None
    processing_model: Annotated[str, Field(max_length=200)] | None = None
    enable_transcription: bool = True
    enable_image_embedding: bool = True

    @model_validator(mode="after")
    def _fixed_needs_a_length(self) -> RunOptions:
        lengths = {
            "video": (self.video_segmentation_type, self.video_segment_duration),
            "audio": (self.audio_segmentation_type, self.audio_segment_duration),
        }
        for media_type, (segmentation, seconds) in lengths.items():
            if segmentation == "fixed" and seconds is None:
                text = "{name} is needed when {media_type}_segmentation_type is fixed"
                context = {"name": f"{media_type}_segment_duration", "media_type": media_type}
                raise PydanticCustomError("missing_duration", text, context)
        return self


def check_together(settings: Mapping[str, Any]) -> None:
    """Raises InvalidInput for options that do not go together, though each may be one, and be from elsewhere."""
    try:
        RunOptions(**settings)
    except ValidationError as error:
        raise InvalidInput(error.errors()[0]["msg"], "send it, or leave out what needs it") from error


def processor_of(context: ApiContext, name: str | None) -> Processor:
    """The processor that a `processing_model` names, or the usual one. Raises InvalidInput for an unknown one."""
    wanted = name or context.settings.default_processor
    if wanted not in context.processors:
        known = ", ".join(sorted(context.processors))
        raise InvalidInput(f"no processor is called {wanted!r}", f"processing_model may be null or {known}")
    return context.processors[wanted]


def asked_of(prompt: sa.Row[tuple[object, ...]]) -> Prompt:
    """The prompt of a row, as processors take it."""
    return Prompt(prompt.prompt_text, prompt.json_schema, prompt.video_level)
