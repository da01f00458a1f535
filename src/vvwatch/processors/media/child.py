"""The process that touches untrusted media: one item, one answer, then it exits.

It reads a request as one line of JSON from stdin and writes JSON lines to stdout: `{"progress": 0.4}` as often as
useful, then one of `{"probe": …}`, `{"result": …}`, `{"plan": …}`, `{"captions": …}` and `{"error": {"code", "message",
"hint"}}`. The long lists of an answer precede it in parts, one a line: `{"items": {"segments": […]}}`. An extraction
writes an `{"extract": …}` for each segment when its files are written; a byte on stdin reports that one was used.
Pictures go into an open file that the request names; the answer has their places under `pictures`. Limits are set
before FFmpeg is loaded, and the sandbox before the first byte of the media is read.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vvwatch.core.media import RunSettings
from vvwatch.core.shortages import shortage_in
from vvwatch.errors import MediaError, MediaLimit, StorageUnavailable, VvwatchError
from vvwatch.processors import sandbox

if TYPE_CHECKING:
    from vvwatch.processors.media.candidates import Candidates
    from vvwatch.processors.media.findings import Survey
    from vvwatch.processors.media.opening import Bounds, Medium

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_NICENESS: Final = 10
_FIRST_TO_GO: Final = "1000"
_OPEN_FILES: Final = 64
_FILE_BYTES: Final = 1 << 20
"""Without extraction and pictures nothing is written except, in a fresh checkout, our modules' bytecode."""

_REPORT_SECONDS: Final = 0.5
_ITEMS_IN_LINE: Final = 100
_CUES_IN_LINE: Final = 25
_LISTS: Final = ("segments", "spans", "shots", "cues")
_MEDIA: Final = "vvwatch.processors.media"
_LOOKING: Final = (f"{_MEDIA}.complaints", f"{_MEDIA}.opening", f"{_MEDIA}.probing", f"{_MEDIA}.stills")
_LOADED_LATE: Final = ("av.subtitles.stream", "av.subtitles.codeccontext")
"""Imported by PyAV at a subtitle track; such a track needs neither picture nor sound."""

_MODULES: Final = {
    "probe": _LOOKING,
    "plan": (*_LOOKING, f"{_MEDIA}.survey", f"{_MEDIA}.packing", f"{_MEDIA}.planning"),
    "process": (*_LOOKING, f"{_MEDIA}.survey", f"{_MEDIA}.packing", "vvwatch.processors.technical.report"),
    "extract": (f"{_MEDIA}.complaints", f"{_MEDIA}.extracting"),
    "clip": (f"{_MEDIA}.complaints", f"{_MEDIA}.opening", f"{_MEDIA}.clipping"),
    "captions": (f"{_MEDIA}.complaints", f"{_MEDIA}.opening", f"{_MEDIA}.captions"),
}
"""The modules of each task: nothing can be imported in the sandbox."""

_DESCRIPTORS: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"


def main() -> None:
    """Answer the request on stdin; exit normally unless a limit or a crash ends the process."""
    answer_request(json.loads(sys.stdin.buffer.readline()))


def import_modules() -> None:
    """Import what any task needs."""
    for names in (*_MODULES.values(), _LOADED_LATE):
        for name in names:
            import_module(name)


def answer_request(request: dict[str, Any]) -> None:
    """Confine this process, then do the task and write the answer to stdout."""
    die_with_parent(request["parent"])
    writes = request["task"] == "extract"
    output_bytes = (
        request["limits"]["file_bytes"] if writes else request.get("output", {}).get("most_bytes", 0)
    )
    _set_limits(request["limits"], max(output_bytes, 0 if writes else _FILE_BYTES))
    try:
        _enter_sandbox(request)
        answer = _answer(request)
    except MemoryError:
        # Raised when memory ran out; the frames that held it are gone here.
        answer = _error_fields(_memory_error(request["limits"]["memory_bytes"]))
    except VvwatchError as error:
        answer = _error_fields(error)
    if answer:
        write_line(answer)


def _enter_sandbox(request: dict[str, Any]) -> None:
    """Import what the task needs, reopen the media for each reader, and enter the sandbox."""
    extracts = request["task"] == "extract"
    measures = _MODULES["process"] if "settings" in request else ()
    for name in (*_MODULES[request["task"]], *measures, *_LOADED_LATE):
        import_module(name)
    # Own file descriptions: the position of the inherited one is shared with the parent.
    inherited = request["fd"]
    path = f"{_DESCRIPTORS}/{inherited}"
    try:
        request["fd"], request["sound_fd"] = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for _ in range(2))
        os.close(inherited)
    except OSError as error:
        raise shortage_in(error) or StorageUnavailable(
            f"opening the media failed: {error.strerror}", "Let the daemon's user read the file."
        ) from error
    sandbox.enter_sandbox(Path.cwd() if extracts else None)


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    # Attached before anything is opened.
    from vvwatch.processors.media import complaints, opening  # noqa: F401, PLC0415

    # Before this line the file cannot be the cause of a failure.
    write_line({"progress": 0.0})
    limits = request["limits"]
    bounds = opening.Bounds(limits["max_pixels"], limits["max_seconds"])
    if request["task"] == "extract":
        return _extract_segments(request, bounds)
    with opening.open_media(request["fd"], bounds) as medium:
        if request["task"] == "captions":
            return _read_captions(medium, request)
        if request["task"] == "clip":
            return _cut_clip(medium, request)
        return _look_at(medium, request, bounds)


def warm_up() -> None:
    """Measure a picture that is made here: what is set up at the first use is there for children of this process."""
    from vvwatch.processors.media import opening, rendering  # noqa: PLC0415

    media, pack = os.memfd_create("media"), os.memfd_create("pack")
    try:
        os.write(media, rendering.make_grey_picture())
        output = {"fd": pack, "most_bytes": 1 << 20}
        request = {"task": "probe", "settings": {}, "width": 64, "output": output}
        bounds = opening.Bounds(1 << 20, 1.0)
        with opening.open_media(media, bounds) as medium:
            _look_at(medium, request, bounds)
    finally:
        os.close(media)
        os.close(pack)


def _read_captions(medium: Medium, request: Mapping[str, Any]) -> dict[str, Any]:
    from vvwatch.processors.media import captions  # noqa: PLC0415

    _allow_cpu(request["limits"], medium.duration_seconds)
    found = captions.read_captions(medium, request["duration_seconds"], _Progress())
    return {"captions": _write_lists(found)}


def _look_at(medium: Medium, request: Mapping[str, Any], bounds: Bounds) -> dict[str, Any]:
    from vvwatch.processors.media import probing, stills  # noqa: PLC0415

    candidates = _make_candidates(request)
    found = stills.survey_picture(medium, bounds, candidates) if medium.media_type == "image" else None
    if request["task"] == "probe":
        answer = {"probe": asdict(probing.probe_medium(medium, bounds, found))}
        if found is None or "settings" not in request or answer["probe"]["damage"]:
            return answer
        return {**answer, **_report_measured(request, medium, found, candidates)}
    from vvwatch.processors.media import survey  # noqa: PLC0415

    _allow_cpu(request["limits"], medium.duration_seconds)
    found = found or survey.survey_medium(medium, bounds, _Progress(), candidates)
    if request["task"] == "plan":
        from vvwatch.processors.media import planning  # noqa: PLC0415

        plan = planning.make_plan(medium, found, RunSettings(**request["settings"]))
        packed = _pack_pictures(request, candidates, plan.spans, found)
        return {"plan": _write_lists(asdict(plan)), **packed}
    return _report_measured(request, medium, found, candidates)


def _report_measured(
    request: Mapping[str, Any], medium: Medium, found: Survey, candidates: Candidates | None
) -> dict[str, Any]:
    from vvwatch.processors.media import probing  # noqa: PLC0415
    from vvwatch.processors.technical import report  # noqa: PLC0415

    probe = probing.probe_from_survey(medium, found)
    result = report.build_result(probe, found, RunSettings(**request["settings"]), medium.warnings)
    spans = [(segment.start_time, segment.end_time) for segment in result.segments]
    packed = _pack_pictures(request, candidates, spans, found)
    return {"result": _write_lists(asdict(result)), **packed}


def _cut_clip(medium: Medium, request: Mapping[str, Any]) -> dict[str, Any]:
    from vvwatch.processors.media import clipping  # noqa: PLC0415

    _allow_cpu(request["limits"], medium.duration_seconds)
    span = (request["span"][0], request["span"][1])
    return {"clip": clipping.cut_clip(medium, request["output"]["fd"], span, request["muxer"], _Progress())}


def _make_candidates(request: Mapping[str, Any]) -> Candidates | None:
    if "output" not in request:
        return None
    from vvwatch.processors.media import candidates  # noqa: PLC0415

    return candidates.Candidates(request["width"], request["output"]["most_bytes"] // 2)


def _pack_pictures(
    request: Mapping[str, Any],
    candidates: Candidates | None,
    spans: Sequence[tuple[float, float]],
    found: Survey,
) -> dict[str, Any]:
    """Write the pictures; an answer without any if there is no room: they never fail an item."""
    if candidates is None:
        return {}
    from vvwatch.processors.media import packing  # noqa: PLC0415

    packer = packing.Packer(request["output"]["fd"], request["output"]["most_bytes"])
    try:
        shown = spans if found.pictures is not None else ()  # of a sound, only a cover
        packed = packer.pack(candidates.kept, shown, found.pictures, found.duration_seconds)
    except (MemoryError, OSError):
        packed = None
    return {} if packed is None else {"pictures": asdict(packed)}


def _write_lists(answer: dict[str, Any]) -> dict[str, Any]:
    """Write the long lists of `answer`, a part a line, and return the rest: the reader has other work."""
    for name in filter(answer.__contains__, _LISTS):
        items, step = answer[name], _CUES_IN_LINE if name == "cues" else _ITEMS_IN_LINE
        for start in range(0, len(items), step):
            write_line({"items": {name: items[start : start + step]}})
    return {name: () if name in _LISTS else value for name, value in answer.items()}


def _extract_segments(request: Mapping[str, Any], bounds: Bounds) -> dict[str, Any]:
    """Extract one segment after the other, and wait while the parent has too many unused ones."""
    from vvwatch.processors.media import extracting  # noqa: PLC0415

    limits, spans = request["limits"], request["spans"]
    _allow_cpu(limits, spans[-1][1])
    task = extracting.Task(
        fd=request["fd"],
        sound_fd=request["sound_fd"],
        spans=spans,
        shots=request["shots"],
        sound_track=request["sound_track"],
        file_bytes=limits["file_bytes"],
        **request["wanted"],
    )
    for count, extract in enumerate(extracting.extract_spans(task, bounds, _Progress()), 1):
        write_line({"extract": extract})
        if request["ahead"] <= count < len(spans) and not sys.stdin.buffer.read(1):
            break
    return {}


class _Progress:
    """Writes a line if the last one is old; lines also prove that this process is alive."""

    def __init__(self) -> None:
        self._next = 0.0
        self._furthest = 0.0

    def __call__(self, fraction: float) -> None:
        now = time.monotonic()
        self._furthest = max(self._furthest, fraction)
        if now >= self._next:
            self._next = now + _REPORT_SECONDS
            write_line({"progress": round(self._furthest, 4)})


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends."""
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before the first call
        os._exit(os.EX_OSERR)


def _set_limits(limits: Mapping[str, Any], file_bytes: int) -> None:
    with suppress(OSError):  # optional: a system call filter may forbid it
        os.nice(_NICENESS)
    with suppress(OSError):  # when memory is short, the kernel kills this process and not the daemon
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    sandbox.lower_limit(resource.RLIMIT_AS, limits["memory_bytes"])
    sandbox.lower_limit(resource.RLIMIT_FSIZE, file_bytes)
    sandbox.lower_limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    sandbox.lower_limit(resource.RLIMIT_CPU, limits["cpu_seconds"], limits["cpu_seconds_max"])


def _allow_cpu(limits: Mapping[str, Any], duration_seconds: float | None) -> None:
    """Raise the CPU limit for long media; media of unknown length gets the maximum."""
    most = wanted = limits["cpu_seconds_max"]
    if duration_seconds is not None:
        wanted = limits["cpu_seconds"] + duration_seconds * limits["cpu_per_second"]
    sandbox.lower_limit(resource.RLIMIT_CPU, int(min(most, wanted)), most)


def _memory_error(memory_bytes: int) -> MediaError:
    return MediaLimit(
        f"needs more memory than the limit of {memory_bytes >> 20} MiB",
        "Raise memory_bytes in [processing].",
    )


def _error_fields(error: VvwatchError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


def write_line(line: Mapping[str, Any]) -> None:
    """Write a line of JSON to stdout."""
    sys.stdout.write(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
