"""The answers of processors, read from the exports of a `vvwatch dev` session."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from vvwatch.cli.output import escape_controls

_MOST_BYTES: Final = 64 << 20
_MOST: Final = 20
_LONGEST: Final = 300


def read_answers(exports: Iterable[Path]) -> Iterator[str]:
    """Return the first answers, one line a segment, and where the others are. Skips exports that are gone."""
    answers = (line for path in exports for line in _read_export(path))
    yield from itertools.islice(answers, _MOST)
    if next(answers, None) is not None:
        yield "  …       the exports have all of it"


def _read_export(path: Path) -> Iterator[str]:
    try:
        text = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b"{}"
        found = json.loads(text).get("media", [])
    except (OSError, ValueError):
        return
    for item in found:
        key = item["video"]["key"]
        for segment in item["segments"]:
            yield _format_answer(f"{key} {_format_span(segment)}", segment)
        if item["video_result"]["metadata_text"]:
            yield _format_answer(f"{key} as a whole", item["video_result"])


def _format_span(segment: Mapping[str, Any]) -> str:
    start, end = segment["start_time"], segment["end_time"]
    return f"{start:.0f} to {end:.0f} s" if end else ""


def _format_answer(subject: str, result: Mapping[str, Any]) -> str:
    error = result.get("field_extraction_error")
    said = f"failed: {error}" if error else str(result["metadata_text"])
    words = escape_controls("; ".join(said.split("\n")))
    shown = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
    return f"  {escape_controls(subject).strip()}: {shown}"
