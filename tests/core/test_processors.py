"""Which processor a model names, and what of a run's settings it does."""

from __future__ import annotations

from typing import Any

import pytest

from vvwatch.core.processors import ProcessorInfo, ProcessorNames
from vvwatch.errors import ModelNotConfigured

NAMES = ProcessorNames(
    {
        "technical": ProcessorInfo("technical", "technical"),
        "gpt": ProcessorInfo("gpt", "openai", ("gpt-*", "technical")),
        "hosted": ProcessorInfo(
            "hosted", "videovector", ("gpt-5", "*-pro"), transcribes=True, embeds_images=True
        ),
    },
    default="gpt",
)
ASKED = {"enable_transcription": True, "enable_image_embedding": True}


@pytest.mark.parametrize(
    ("model", "chosen"),
    [
        (None, "gpt"),
        ("", "gpt"),
        ("technical", "technical"),
        ("gpt", "gpt"),
        ("gpt-5", "gpt"),
        ("gemini-3-pro", "hosted"),
        ("GPT-5", None),
        ("gemini", None),
    ],
)
def test_a_model_is_that_of_the_name_or_else_of_the_first_that_answers(
    model: str | None, chosen: str | None
) -> None:
    found = NAMES.find(model)

    assert (found and found.name) == chosen


def test_a_model_that_is_nearly_the_name_of_a_processor_is_refused_with_that_name() -> None:
    with pytest.raises(ModelNotConfigured) as refused:
        NAMES.choose("hostd")
    assert refused.value.hint.startswith("did you mean 'hosted'? use one of: technical,")


def test_a_model_that_nobody_answers_to_is_refused_with_what_there_is() -> None:
    with pytest.raises(ModelNotConfigured, match="no processor answers to the model 'gemini'") as refused:
        NAMES.choose("gemini")
    assert refused.value.hint == "use one of: technical, gpt, hosted, gpt-*, technical, gpt-5, *-pro"


@pytest.mark.parametrize(
    ("settings", "processor", "kept", "features"),
    [
        ({"processing_model": "hosted", **ASKED}, "hosted", [True, True], []),
        ({"processing_model": "gpt", **ASKED}, "gpt", [True, False], ["image_embedding"]),
        (
            {"processing_model": "gpt", "enable_transcription": False, "enable_image_embedding": True},
            "gpt",
            [False, False],
            ["image_embedding"],
        ),
        ({"processing_model": "gemini", **ASKED}, "", [True, True], []),
    ],
)
def test_what_a_processor_does_not_do_is_false_with_a_reason(
    settings: dict[str, Any], processor: str, kept: list[bool], features: list[str]
) -> None:
    told = NAMES.treatment(settings)

    assert told["processor"] == processor
    assert [told["settings"][f"enable_{name}"] for name in ("transcription", "image_embedding")] == kept
    assert list(told["not_done"] or ()) == features
    assert all(f"the processor {processor!r}" in reason for reason in (told["not_done"] or {}).values())
