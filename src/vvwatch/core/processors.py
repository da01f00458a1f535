"""The configured processors, and which one a `processing_model` selects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final

from vvwatch.errors import ModelNotConfigured

TECHNICAL: Final = "technical"
"""The built-in processor, which needs no configuration."""

TECHNICAL_PROMPT_ID: Final = "prompt_technical"
"""The prompt of the built-in processor; it asks for measurements, which no model can make."""

SPEECH_ENDPOINT: Final = "transcription.endpoint"
"""The name of the endpoint that transcribes, among those of processors, which have no dot in their names."""

NOBODY: Final = ""
"""The processor name of a run whose model no processor serves: its items fail with that reason."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of an endpoint: requests and tokens per minute (None: unlimited), and calls in flight."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    in_flight: int = 8


@dataclass(frozen=True, slots=True)
class ProcessorInfo:
    """The static facts of a processor: its name, type and models.

    `models` are globs over model names. `transcribes`: it transcribes, so the daemon does not.
    `embeds_images`: it supports `enable_image_embedding`.
    """

    name: str
    type: str
    models: tuple[str, ...] = ()
    transcribes: bool = False
    embeds_images: bool = False

    def not_done(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """Return the settings of a run that this processor does not support: feature to reason."""
        if self.embeds_images or not settings.get("enable_image_embedding", True):
            return {}
        return {"image_embedding": f"the processor {self.name!r} makes no image embeddings"}


@dataclass(frozen=True, slots=True)
class Transcription:
    """The outcome of a transcription: whether there is a transcript, and if not, the reason."""

    succeeded: bool
    error: str | None = None


def explain_undone(
    not_done: Mapping[str, str] | None, transcription: Transcription | None = None
) -> dict[str, Any]:
    """Return what a result says of transcription and image embedding: false with the reason where it is not done.

    Null means that nobody asked, or that nothing is known of its own success. Runs of earlier versions say in
    `not_done` that nothing was transcribed.
    """
    reasons = {feature: (not_done or {}).get(feature) for feature in ("transcription", "image_embedding")}
    succeeded = {f"{feature}_succeeded": False if why else None for feature, why in reasons.items()}
    found = {**succeeded, **{f"{feature}_error": why for feature, why in reasons.items()}}
    if transcription is not None:
        found["transcription_succeeded"] = transcription.succeeded
        found["transcription_error"] = transcription.error
    return found


@dataclass(frozen=True, slots=True)
class ProcessorNames:
    """The configured processors by name, and the default."""

    infos: Mapping[str, ProcessorInfo] = field(
        default_factory=lambda: {TECHNICAL: ProcessorInfo(TECHNICAL, TECHNICAL)}
    )
    default: str = TECHNICAL

    def choose(self, model: str | None, prompt_id: str | None = None) -> ProcessorInfo:
        """Return the processor for a `processing_model`: by its own name, else by its models.

        Without a model it is the default, and for the built-in prompt the built-in processor. A model selects the
        first processor, in configuration order, with a matching glob. Raises ModelNotConfigured, with the choices, if
        none serves it.
        """
        found = self.find(model, prompt_id)
        if found is None:
            wanted = model or self.default
            close = get_close_matches(wanted, self.infos, n=1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            what = f"no processor answers to the model {wanted!r}"
            raise ModelNotConfigured(what, f"{meant}use one of: {self.choices()}")
        return found

    def find(self, model: str | None, prompt_id: str | None = None) -> ProcessorInfo | None:
        """Return the processor for a `processing_model` like `choose`; None if none serves it."""
        wanted = model or (TECHNICAL if prompt_id == TECHNICAL_PROMPT_ID else self.default)
        if wanted in self.infos:
            return self.infos[wanted]
        fitting = (
            info for info in self.infos.values() if any(fnmatchcase(wanted, glob) for glob in info.models)
        )
        return next(fitting, None)

    def treatment(self, settings: Mapping[str, Any], prompt_id: str | None = None) -> dict[str, Any]:
        """Return the processor of the prompt, the settings it honours, and those that are `not_done`.

        The processor is empty if none serves the model.
        """
        info = self.find(settings.get("processing_model"), prompt_id)
        if info is None:
            return {"processor": NOBODY, "settings": dict(settings), "not_done": None}
        missing = info.not_done(settings)
        kept = {**settings, **{f"enable_{feature}": False for feature in missing}}
        return {"processor": info.name, "settings": kept, "not_done": missing or None}

    def choices(self) -> str:
        """Return the possible `processing_model` values, for people."""
        globs = [glob for info in self.infos.values() for glob in info.models]
        return ", ".join([*self.infos, *globs])
