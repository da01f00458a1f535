"""The process that runs the speech model: one piece of sound, one answer, then it exits.

It reads a request as one line of JSON from stdin, and samples from the descriptor that the request names: our own,
which no decoder of others has to read. It writes JSON lines: `{"progress": …}`, then `{"items": {"heard": […]}}` and
`{"heard": {"language"}}`, or `{"refused": …}` if the model cannot be used.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from vvwatch.processors import sandbox
from vvwatch.processors.media.child import die_with_parent, write_line

_OPEN_FILES: Final = 256
_GRACE_SECONDS: Final = 60  # the kernel ends with SIGXCPU at the limit, and with SIGKILL after that
_LIKELY_SILENT: Final = 0.6
_UNSURE: Final = -1.0
_FORBIDDEN: Final = "could not create a primitive"
_MEND: Final = (
    "the system forbids code that is made at run time (MemoryDenyWriteExecute): copy systemd/40-speech.conf to"
    " /etc/systemd/system/vvwatch.service.d/, or use an endpoint"
)


def main() -> None:
    """Answer the request on stdin."""
    request = json.loads(sys.stdin.buffer.readline())
    die_with_parent(request["parent"])
    limits = request["limits"]
    with suppress(OSError):  # optional: a system call filter may forbid it
        os.nice(10)
    sandbox.lower_limit(resource.RLIMIT_AS, limits["memory_bytes"])
    sandbox.lower_limit(resource.RLIMIT_FSIZE, 0)
    sandbox.lower_limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    most = limits["cpu_seconds_max"]
    sandbox.lower_limit(resource.RLIMIT_CPU, most, most + _GRACE_SECONDS)
    write_line({"progress": 0.0})
    try:
        heard, language = _transcribe(request)
    except (RuntimeError, ValueError, OSError, ImportError, MemoryError) as error:
        said = str(error) or type(error).__name__
        write_line({"refused": _MEND if _FORBIDDEN in said else f"the speech model failed: {said[:500]}"})
        return
    for start in range(0, len(heard), 25):
        write_line({"items": {"heard": heard[start : start + 25]}})
    write_line({"heard": {"language": language if heard else None}})


def _transcribe(request: Mapping[str, Any]) -> tuple[list[Any], str | None]:
    """Return the cues, each with its words, and the language."""
    import numpy as np  # noqa: PLC0415  # only with the extra `speech`
    from faster_whisper import WhisperModel  # noqa: PLC0415

    with os.fdopen(request["fd"], "rb") as file:
        samples = np.frombuffer(file.read(), dtype="<i2").astype(np.float32) / 32768.0
    model = WhisperModel(
        request["model_dir"],
        device="cpu",
        compute_type="int8",
        cpu_threads=request["threads"],
        local_files_only=True,
    )
    segments, about = model.transcribe(
        samples,
        language=request["language"],
        vad_filter=True,
        word_timestamps=True,
        condition_on_previous_text=False,
    )
    seconds = len(samples) / 16_000
    return list(_list_cues(segments, seconds)), about.language


def _list_cues(segments: Iterable[Any], seconds: float) -> Iterable[Any]:
    """Yield what was said; a segment begins and ends with its words, and one without any says nothing."""
    for segment in segments:
        words = [(word.start, min(word.end, seconds), word.word.strip()) for word in segment.words or ()]
        words = [word for word in words if word[2] and word[0] < seconds]
        # A whole window shares the first figure: one that is sure of its words may still be taken for silence.
        is_silent = segment.no_speech_prob > _LIKELY_SILENT and segment.avg_logprob < _UNSURE
        if words and not is_silent:
            yield (words[0][0], words[-1][1], segment.text.strip(), words)
        write_line({"progress": round(min(1.0, segment.end / max(seconds, 0.1)), 4)})


if __name__ == "__main__":
    main()
