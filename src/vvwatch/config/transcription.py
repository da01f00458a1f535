"""The table `[transcription]`: what makes transcripts where media and files beside them have none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from vvwatch.options.fields import AbsolutePath
from vvwatch.options.tables import Table

LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class SpeechTable(Table):
    """A speech model in a folder of the user's, in the format of CTranslate2; None as `language` detects it."""

    required = ("model_dir",)

    model_dir: AbsolutePath = Path()
    language: LanguageCode | None = None
    threads: int = Field(default=1, ge=1, le=256)
    memory_bytes: int = Field(default=4 << 30, ge=1 << 28)
    cpu_per_second: float = Field(default=10.0, ge=0.1, le=1000)


class Transcription(Table):
    """Where transcripts come from, when neither the media nor a file beside it has one."""

    speech: SpeechTable | None = None
