"""The table `[transcription]`: what makes transcripts where media and files beside them have none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from vvwatch.config.processors import ModelName, PerMinute, Seconds, Usd
from vvwatch.core.processors import Rates
from vvwatch.options.fields import AbsolutePath, Endpoint, Proxy, VariableName
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


class EndpointTable(Table):
    """An endpoint with OpenAI's `/audio/transcriptions`; None as `usd_per_minute`: nobody knows what it costs."""

    required = ("base_url", "model")

    base_url: Endpoint = ""
    model: ModelName = ""
    api_key_file: str | None = None
    api_key_env: VariableName | None = None
    language: LanguageCode | None = None
    requests_per_minute: PerMinute | None = None
    max_in_flight: int = Field(default=2, ge=1, le=1000)
    timeout_seconds: Seconds = 600.0
    usd_per_minute: Usd | None = None
    ca_file: AbsolutePath | None = None
    proxy: Proxy | None = None

    @property
    def rates(self) -> Rates:
        """What the endpoint allows."""
        return Rates(self.requests_per_minute, None, self.max_in_flight)


class Transcription(Table):
    """Where transcripts come from, when neither the media nor a file beside it has one."""

    endpoint: EndpointTable | None = None
    speech: SpeechTable | None = None
