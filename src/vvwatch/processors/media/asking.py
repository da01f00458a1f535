"""Requests to the confined process, and the meaning of its answers and failures."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter

from vvwatch.core import shortages
from vvwatch.core.media import RunSettings, Segment
from vvwatch.errors import (
    InvalidInput,
    MachineShortage,
    MediaEncrypted,
    MediaError,
    MediaLimit,
    MediaUnreadable,
    MediaUnsupported,
    ProcessorCrashed,
    SpoolFull,
    StorageUnavailable,
    VvwatchError,
)
from vvwatch.processors.isolated import isolated_command
from vvwatch.processors.kernel import Hindrance
from vvwatch.processors.media.forking import Template
from vvwatch.processors.media.isolation import MOST_THREADS, Cut, Ending, Limits, converse
from vvwatch.processors.validation import check_values, count_values

COMMAND: Final = isolated_command("vvwatch.processors.media.child")
_ERRORS: Final[Mapping[str, type[VvwatchError]]] = {
    error.code: error
    for error in (
        MachineShortage,
        MediaUnreadable,
        MediaUnsupported,
        MediaEncrypted,
        MediaLimit,
        ProcessorCrashed,
        SpoolFull,
        StorageUnavailable,
    )
}
_LONGEST_LINE: Final = 1 << 20
_MOST_VALUES_IN_LINE: Final = 50_000
_MOST_VALUES: Final = 1_000_000
_STEP: Final = 0.001
_LISTS: Final[Mapping[str, TypeAdapter[Any]]] = {
    "segments": TypeAdapter(list[Segment]),
    "spans": TypeAdapter(list[tuple[float, float]]),
    "shots": TypeAdapter(list[float]),
    "cues": TypeAdapter(list[tuple[float, float, str]]),
    "heard": TypeAdapter(list[tuple[float, float, str, list[tuple[float, float, str]]]]),
}
_Value = TypeVar("_Value")
Progress = Callable[[float], None]
ANY_OBJECT: Final = TypeAdapter(dict[str, Any])
_REFUSAL: Final = TypeAdapter(dict[str, str])


@dataclass(slots=True)
class Answer:
    """The confined process's answer; long lists arrive in lines of their own and are read one by one.

    Lines are short, so parsing one delays nobody, and their total memory is bounded.
    """

    said: Mapping[str, Any] | None = None
    lists: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _LISTS})
    _values: int = 0
    _next_step: float = 0.0

    def of(self, name: str) -> Any:
        """Return the value of this name; None without one."""
        return (self.said or {}).get(name)

    def take(self, line: bytes, progress: Progress) -> None:
        """Take the next line; call `progress` with steps.

        Raises the error in the line, MediaLimit for too much data, and ProcessorCrashed.
        """
        self._values += count_values(line)
        if self._values > _MOST_VALUES:
            raise MediaLimit(f"the results hold more than {_MOST_VALUES:,} values", "Use longer segments.")
        said = read_line(line, partial(self._note_progress, progress))
        if said is None:
            return
        if "items" in said:
            read_answer(self._extend, said["items"])
        else:
            self.said = said

    def _note_progress(self, progress: Progress, fraction: float) -> None:
        if fraction >= self._next_step:
            self._next_step = fraction + _STEP
            progress(fraction)

    def _extend(self, items: Mapping[str, Any]) -> None:
        for name, found in items.items():
            self.lists[name] += validate_strictly(_LISTS[name], found)


async def ask_child(
    task: Mapping[str, Any],
    fd: int,
    progress: Progress,
    *,
    limits: Limits,
    work_dir: Path,
    output_fd: int | None = None,
    command: Sequence[str] = (),
    template: Template | None = None,
) -> Answer:
    """Return the answer of the confined process, or of another `command`, about the media behind `fd`.

    The confined process is forked from the `template` if there is one.
    It may write to `output_fd`. Raises the error that it reports, and as `check_ending` without an answer.
    """
    answer = Answer()
    request = build_request(task, fd, limits)

    def take(line: bytes) -> None:
        answer.take(line, progress)

    how: dict[str, Any] = {"limits": limits, "work_dir": work_dir, "output_fd": output_fd}
    how["template"] = None if command else template
    ending = await converse(command or COMMAND, request, take, fd=fd, **how)
    check_ending(ending, limits, is_answered=answer.said is not None)
    return answer


def build_request(task: Mapping[str, Any], fd: int, limits: Limits) -> bytes:
    """Return the line sent to the process: the task and its limits."""
    request = {**task, "fd": fd, "parent": os.getpid(), "limits": _list_limits(limits)}
    return json.dumps(request).encode() + b"\n"


@cache
def _list_limits(limits: Limits) -> Mapping[str, Any]:
    """Return the fields of limits; a daemon has few different ones."""
    return asdict(limits)


def read_line(line: bytes, progress: Progress) -> Mapping[str, Any] | None:
    """Return the content of a line; None for progress. Raises the error that the line reports."""
    said = read_answer(_parse_line, line)
    if "progress" in said:
        progress(read_answer(_parse_fraction, said["progress"]))
        return None
    refusal = said.get("error")
    if refusal is not None:
        raise read_answer(_reported_error, refusal)
    return said


def check_ending(ending: Ending, limits: Limits, *, is_answered: bool) -> None:
    """Raise unless the process ended well and had answered.

    MachineShortage if this machine is the cause, StorageUnavailable if reading the file failed; else MediaLimit or
    ProcessorCrashed.
    """
    if ending.status != 0 or ending.cut is not None or not is_answered:
        error = _ending_error(ending, limits)
        error.add_note(ending.stderr_tail.decode(errors="replace"))
        raise error


def check_settings(settings: RunSettings) -> None:
    """Raise InvalidInput for `fixed` segments without a length."""
    for kind in ("video", "audio"):
        fixed = getattr(settings, f"{kind}_segmentation_type") == "fixed"
        if fixed and not getattr(settings, f"{kind}_segment_duration"):
            raise InvalidInput(
                f"{kind}_segmentation_type 'fixed' has no length",
                f"Set {kind}_segment_duration to 1-300 seconds.",
            )


def read_answer(read: Callable[[Any], _Value], answer: Any) -> _Value:
    """Return `read(answer)`; the child has touched hostile bytes, so its answer may have any shape."""
    try:
        return read(answer)
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise ProcessorCrashed("the decoder process gave an unreadable answer") from error


def validate_strictly(wanted: TypeAdapter[_Value], said: Any) -> _Value:
    """Return a value that can be stored: JSON may contain unpaired surrogates and infinite numbers."""
    return wanted.validate_json(json.dumps(said, allow_nan=False), strict=True)


_AGAIN: Final = "It is tried again; if it fails every time, the file itself is the cause."


def _ending_error(ending: Ending, limits: Limits) -> VvwatchError:
    return _machine_error(ending, limits) or _file_error(ending, limits)


def _machine_error(ending: Ending, limits: Limits) -> VvwatchError | None:
    """Return the error if the file cannot be the cause of the failure, or need not be."""
    if ending.cut in (Cut.SILENT, Cut.WALL):
        return _hindrance_error(
            ending, limits.wall_seconds if ending.cut is Cut.WALL else limits.silent_seconds
        )
    if ending.status == -signal.SIGKILL and ending.lacked_memory and not ending.cut:
        return shortages.report_killed()
    return None if ending.has_begun else shortages.startup_failed(f"it {_describe_status(ending.status)}")


def _hindrance_error(ending: Ending, seconds: float) -> VvwatchError | None:
    if not ending.has_begun:
        return shortages.too_busy(f"a process had not begun after {seconds:g} s")
    if ending.hindrance is Hindrance.PROCESSOR:
        return shortages.too_busy(f"a process waited for half of {seconds:g} s to run")
    if ending.hindrance is Hindrance.STORAGE:
        return StorageUnavailable(
            f"reading the media failed: no answer for {seconds:g} s", "Check the disk or the network share."
        )
    return None


def _file_error(ending: Ending, limits: Limits) -> MediaError:
    is_late = ending.cut in (Cut.SILENT, Cut.WALL) or (not ending.cut and ending.status == -signal.SIGXCPU)
    if limits.is_probe and is_late:
        return MediaLimit(
            f"probing took longer than {limits.probe_seconds:g} s", "Raise probe_seconds in [processing]."
        )
    if ending.cut is not None:
        return _cut_error(ending.cut, limits)
    if ending.status == -signal.SIGXCPU:
        return MediaLimit(
            "needs more CPU time than the limits allow",
            "Convert the media to a codec that is faster to decode, or cut it into parts.",
        )
    return ProcessorCrashed(f"the decoder process {_describe_status(ending.status)}", _AGAIN)


def _cut_error(cut: Cut, limits: Limits) -> MediaError:
    errors: dict[Cut, MediaError] = {
        Cut.OUTPUT: MediaLimit(
            f"the results exceed the limit of {limits.stdout_bytes >> 20} MiB", "Use longer segments."
        ),
        Cut.FOLDER: MediaLimit(
            f"the pictures and sounds exceed {limits.extracted_bytes >> 20} MiB, or are more than asked for",
            "Ask for fewer or smaller frames, or use shorter segments.",
        ),
        Cut.THREADS: ProcessorCrashed(f"the decoder process started more than {MOST_THREADS} threads"),
        Cut.SILENT: ProcessorCrashed(f"no sign of progress for {limits.silent_seconds:g} s", _AGAIN),
        Cut.WALL: ProcessorCrashed(
            f"not finished within {limits.wall_seconds:g} s", "Raise item_timeout_seconds in [processing]."
        ),
    }
    return errors[cut]


def _describe_status(status: int) -> str:
    if status == -signal.SIGKILL:
        return "died by SIGKILL, which neither vvwatch nor a lack of memory caused"
    if status < 0:
        return f"died by {_signal_name(-status)}"
    return f"ended with status {status} and no result"


def _signal_name(number: int) -> str:
    return next((known.name for known in signal.Signals if known == number), f"signal {number}")


def _parse_line(line: bytes) -> Mapping[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    if len(line) > _LONGEST_LINE:
        raise ValueError(len(line))
    check_values(line, _MOST_VALUES_IN_LINE)
    said = json.loads(line, parse_constant=refuse)
    if not isinstance(said, dict):
        raise TypeError(type(said))
    return said


def _parse_fraction(value: Any) -> float:
    return min(1.0, max(0.0, float(value)))


def _reported_error(error: Mapping[str, Any]) -> VvwatchError:
    said = validate_strictly(_REFUSAL, error)
    return _ERRORS[said["code"]](said["message"], said["hint"])
