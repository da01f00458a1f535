"""Options of a prompt run, in automations, runs, prompts and import jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.wire import Body
from vvwatch.config import ids
from vvwatch.config.words import describe_error
from vvwatch.errors import InvalidInput
from vvwatch.ports.processing import Processor, Prompt
from vvwatch.store.models.catalog import Prompt as PromptRow

Id = Annotated[str, Field(min_length=1, max_length=200)]
PromptId = Annotated[Id, AfterValidator(ids.prompt_id)]
"""A prompt's id, or the name of a prompt in the configuration file."""
SegmentSeconds = Annotated[int, Field(ge=1, le=300)]


class RunOptions(Body):
    """How a run segments and processes media. Fixed segments default to ten seconds."""

    video_segmentation_type: Literal["smart", "content_aware", "fixed"] = "smart"
    video_segment_duration: SegmentSeconds | None = None
    audio_segmentation_type: Literal["content_aware", "fixed"] = "content_aware"
    audio_segment_duration: SegmentSeconds | None = None
    processing_model: Annotated[str, Field(max_length=200)] | None = None
    enable_transcription: bool = True
    enable_image_embedding: bool = True


def check_options(settings: Mapping[str, Any]) -> None:
    """Raise InvalidInput for options that exclude each other, even if they come from different places."""
    try:
        RunOptions(**settings)
    except ValidationError as error:
        raise InvalidInput(
            " ".join(describe_error(error.errors()[0])).strip(), "send it, or omit what needs it"
        ) from error


def processor_of(context: ApiContext, name: str | None, prompt_id: str) -> Processor:
    """Return the processor that a `processing_model` names, or the prompt's default.

    Raises ModelNotConfigured.
    """
    return context.processors[context.database.processors.choose(name, prompt_id).name]


def to_prompt(prompt: PromptRow) -> Prompt:
    """Return a prompt row as processors take it."""
    return Prompt(prompt.prompt_text, prompt.json_schema, prompt.video_level)
