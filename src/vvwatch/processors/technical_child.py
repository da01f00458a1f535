"""The process that touches untrusted media: one item, one answer, then it is gone.

It reads a request as one JSON document from stdin and writes JSON lines to stdout: `{"progress": 0.4}` as often as
useful, then one of `{"probe": …}`, `{"result": …}` and `{"error": {"code", "message", "hint"}}`. Limits stand before
FFmpeg is loaded.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from vvwatch.core.media import RunSettings
from vvwatch.errors import MediaError, MediaLimit, ProcessorCrashed, VvwatchError

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_NICENESS: Final = 10
_FIRST_TO_GO: Final = "1000"
_OPEN_FILES: Final = 64
_FILE_BYTES: Final = 1 << 20
"""Nothing is written but, the first time in a fresh checkout, the bytecode of our own modules."""

_REPORT_SECONDS: Final = 0.5


def main() -> None:
    """Answer the request on stdin; always ends the process normally unless a limit or a crash ends it."""
    request = json.load(sys.stdin.buffer)
    _die_with_parent(request["parent"])
    _confine(request["limits"])
    try:
        answer = _answer(request)
    except MemoryError:
        # Raised where memory ran out; the frames that held it are gone here.
        answer = _refusal(_memory_limit(request["limits"]["memory_bytes"]))
    except OSError as error:
        answer = _refusal(ProcessorCrashed(f"reading the media failed: {error.strerror}"))
    except VvwatchError as error:
        answer = _refusal(error)
    _write(answer)


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    from vvwatch.processors import opening, report, survey  # noqa: PLC0415  (loads FFmpeg, which is to be confined)

    limits = request["limits"]
    bounds = opening.Bounds(limits["max_pixels"], limits["max_seconds"])
    with opening.opened(request["fd"], bounds) as medium:
        probe = opening.probe_of(medium)
        found = survey.look(medium, bounds) if medium.media_type == "image" else None
        if request["task"] == "probe":
            return {"probe": asdict(probe)}
        _allow_cpu(limits, probe.duration_seconds)
        found = found or survey.survey(medium, bounds, _Progress())
        settings = RunSettings(**request["settings"])
        return {"result": asdict(report.result_of(probe, found, settings, medium.warnings))}


class _Progress:
    """Writes a line when the last one is a while ago; it also tells the parent that this process is alive."""

    def __init__(self) -> None:
        self._next = 0.0
        self._furthest = 0.0

    def __call__(self, fraction: float) -> None:
        now = time.monotonic()
        self._furthest = max(self._furthest, fraction)
        if now >= self._next:
            self._next = now + _REPORT_SECONDS
            _write({"progress": round(self._furthest, 4)})


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before the first call
        os._exit(os.EX_OSERR)


def _confine(limits: Mapping[str, Any]) -> None:
    with suppress(OSError):  # a politeness that a system call filter may forbid
        os.nice(_NICENESS)
    with suppress(OSError):  # where memory is short, this process goes and not the daemon
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    _limit(resource.RLIMIT_AS, limits["memory_bytes"])
    _limit(resource.RLIMIT_FSIZE, _FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, limits["cpu_seconds"], limits["cpu_seconds_max"])


def _allow_cpu(limits: Mapping[str, Any], duration_seconds: float | None) -> None:
    """Long media may take longer; one that does not say how long it is gets the most that is allowed."""
    most = wanted = limits["cpu_seconds_max"]
    if duration_seconds is not None:
        wanted = limits["cpu_seconds"] + duration_seconds * limits["cpu_per_second"]
    _limit(resource.RLIMIT_CPU, int(min(most, wanted)), most)


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Set a limit, or leave the one that is there already where it is stricter."""
    ceiling = resource.getrlimit(kind)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def _memory_limit(memory_bytes: int) -> MediaError:
    return MediaLimit(
        f"needs more memory than the limit of {memory_bytes >> 20} MiB",
        "Raise memory_bytes in [processing].",
    )


def _refusal(error: VvwatchError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


def _write(line: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
