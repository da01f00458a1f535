"""The technical processor: FFmpeg's measurements of one item, taken in a confined process of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter

import vvwatch
from vvwatch.core.media import Probe, ProcessingResult, RunSettings
from vvwatch.core.objects import MEDIA_TYPES
from vvwatch.errors import InvalidInput, MediaError, MediaLimit, MediaUnreadable, ProcessorCrashed
from vvwatch.ports import Processor, Prompt
from vvwatch.processors.isolation import Cut, Ending, Limits, converse
from vvwatch.processors.technical_prompt import TECHNICAL_PROMPT

__all__ = ["TECHNICAL_PROMPT", "Limits", "TechnicalProcessor"]

# Isolated mode ignores PYTHONPATH, so the child is told where this very package lives.
_START: Final = (
    "import sys; root = sys.argv[1]; root in sys.path or sys.path.insert(0, root); "
    "from vvwatch.processors.technical_child import main; main()"
)
_ROOT: Final = str(Path(vvwatch.__file__).parents[1])
_COMMAND: Final = (sys.executable, "-I", "-c", _START, _ROOT)
_ERRORS: Final[Mapping[str, type[MediaError]]] = {
    error.code: error for error in (MediaUnreadable, MediaLimit, ProcessorCrashed)
}
_Value = TypeVar("_Value")
_PROBE: Final = TypeAdapter(Probe)
_RESULT: Final = TypeAdapter(ProcessingResult)
_REFUSAL: Final = TypeAdapter(dict[str, str])


class TechnicalProcessor:
    """Implements `ports.Processor` without a model: shots, silences, brightness, motion, loudness, damage.

    `work_dir` holds the children's empty working directories; what is found in it when no item is being processed
    is left over from a crash and may be removed.
    """

    name = "technical"

    def __init__(self, *, limits: Limits, work_dir: Path) -> None:
        self._limits = limits
        self._work_dir = work_dir

    def check_prompt(self, prompt: Prompt) -> None:
        """Raises InvalidInput unless the prompt asks for exactly what is measured here."""
        whole = TECHNICAL_PROMPT["video_level"]["json_schema"]
        asked_whole = whole if prompt.video_level is None else prompt.video_level.get("json_schema")
        if prompt.json_schema != TECHNICAL_PROMPT["json_schema"] or asked_whole != whole:
            raise InvalidInput(
                "the technical processor cannot fill the schema of this prompt",
                "it answers the prompt 'technical' only; any other needs a model or a command",
            )

    async def probe(self, fd: int) -> Probe:
        """What the container says, and what its structure lacks; a picture is decoded, to be sure that it can be."""
        answer = await self._ask({"task": "probe"}, fd, lambda _: None)
        return _understood(_probe, answer.get("probe"))

    async def process(
        self, fd: int, prompt: Prompt, settings: RunSettings, progress: Callable[[float], None]
    ) -> ProcessingResult:
        """Decode the whole item and measure it segment by segment; damaged media gives what could be read of it."""
        self.check_prompt(prompt)
        _check_settings(settings)
        answer = await self._ask({"task": "process", "settings": asdict(settings)}, fd, progress)
        result = _understood(_result, answer.get("result"))
        progress(1.0)
        return result

    async def _ask(
        self, task: Mapping[str, Any], fd: int, progress: Callable[[float], None]
    ) -> Mapping[str, Any]:
        request = {**task, "fd": fd, "parent": os.getpid(), "limits": asdict(self._limits)}
        answers: list[Mapping[str, Any]] = []

        def take(line: bytes) -> None:
            said = _understood(_line, line)
            if "progress" in said:
                progress(_understood(_fraction, said["progress"]))
            else:
                answers.append(said)

        ending = await converse(
            _COMMAND, json.dumps(request).encode(), take, fd=fd, limits=self._limits, work_dir=self._work_dir
        )
        return self._answer(ending, answers)

    def _answer(self, ending: Ending, answers: list[Mapping[str, Any]]) -> Mapping[str, Any]:
        if ending.status != 0 or ending.cut is not None or not answers:
            error = self._failure(ending)
            error.add_note(ending.stderr_tail.decode(errors="replace"))
            raise error
        refusal = answers[-1].get("error")
        if refusal is not None:
            raise _understood(_refusal, refusal)
        return answers[-1]

    def _failure(self, ending: Ending) -> MediaError:
        limits = self._limits
        again = "It is tried again; if it fails each time, the file itself is the cause."
        match ending.cut:
            case Cut.OUTPUT:
                return MediaLimit(
                    f"the results exceed the limit of {limits.stdout_bytes >> 20} MiB", "Use longer segments."
                )
            case Cut.SILENT:
                return ProcessorCrashed(f"no sign of progress for {limits.silent_seconds:g} s", again)
            case Cut.WALL:
                return ProcessorCrashed(
                    f"not finished within {limits.wall_seconds:g} s",
                    "Raise item_timeout_seconds in [processing].",
                )
        if ending.status == -signal.SIGXCPU:
            return MediaLimit(
                "needs more CPU time than the limits allow",
                "Convert the media to a codec that is faster to decode, or cut it into parts.",
            )
        if ending.status < 0:
            return ProcessorCrashed(f"the decoder process died by {_signal_name(-ending.status)}", again)
        return ProcessorCrashed(f"the decoder process ended with status {ending.status} and no result", again)


_: type[Processor] = TechnicalProcessor


def _check_settings(settings: RunSettings) -> None:
    for kind in ("video", "audio"):
        fixed = getattr(settings, f"{kind}_segmentation_type") == "fixed"
        if fixed and not getattr(settings, f"{kind}_segment_duration"):
            raise InvalidInput(
                f"{kind}_segmentation_type 'fixed' has no length",
                f"Set {kind}_segment_duration to 1-300 seconds.",
            )


def _signal_name(number: int) -> str:
    return next((known.name for known in signal.Signals if known == number), f"signal {number}")


def _understood(read: Callable[[Any], _Value], answer: Any) -> _Value:
    """`read(answer)`; the child has touched hostile bytes, so what it says may have any shape."""
    try:
        return read(answer)
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise ProcessorCrashed("the decoder process answered with something unreadable") from error


def _line(line: bytes) -> Mapping[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    said = json.loads(line, parse_constant=refuse)
    if not isinstance(said, dict):
        raise TypeError(type(said))
    return said


def _fraction(value: Any) -> float:
    return min(1.0, max(0.0, float(value)))


def _refusal(error: Mapping[str, Any]) -> MediaError:
    said = _strictly(_REFUSAL, error)
    return _ERRORS[said["code"]](said["message"], said["hint"])


def _probe(fields: Mapping[str, Any]) -> Probe:
    probe = _strictly(_PROBE, fields)
    if probe.media_type not in MEDIA_TYPES.values():
        raise ValueError(probe.media_type)
    return probe


def _result(fields: Mapping[str, Any]) -> ProcessingResult:
    return _strictly(_RESULT, fields)


def _strictly(wanted: TypeAdapter[_Value], said: Mapping[str, Any]) -> _Value:
    """What can be stored and told again: JSON as read may hold halves of characters and infinite numbers."""
    return wanted.validate_json(json.dumps(said, allow_nan=False), strict=True)
