"""The lines of `vvwatch dev`: for events, troubles, exports and the answers of processors."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from vvwatch.cli.dev_story import DevState, Fields, item_fields, objects_of, reason_of, with_hint
from vvwatch.cli.output import escape_controls, format_duration, format_size, pluralize

LABEL_WIDTH: Final = 10
_MOST_SHOWN: Final = 10
_MOST_BYTES: Final = 64 << 20
_MOST_ANSWERS: Final = 20
_LONGEST_ANSWER: Final = 300
_LABELS: Final = {"change": "seen", "delivery": "webhook", "daemon": "stopping", "job": "trouble"}
_CLOSED: Final = {
    "quiet": "nothing more arrived",
    "max_wait": "it had been open for its longest time",
    "full": "it was full",
    "manual": "it was closed by hand",
    "resumed": "it was due while nothing ran",
}
_ENDED: Final = {
    "completed": "done",
    "completed_with_failures": "done, with failures",
    "failed": "failed",
    "cancelled": "cancelled",
}


def format_event(event: str, fields: Fields, at: float) -> str | None:
    """Return the line for an event at the epoch second `at`; None if people need not read it."""
    if event == "change.accepted":
        words: str | None = _format_accepted(fields, at)
    else:
        say = _LINES.get(event)
        words = say(fields) if say else None
    noun = event.partition(".")[0]
    return format_labelled(_LABELS.get(noun, noun), words) if words else None


def format_labelled(label: str, words: str) -> str:
    """Return `label` and `words` in two columns."""
    return f"{label:<{LABEL_WIDTH}}{escape_controls(words)}"


def format_summary(story: DevState) -> Iterator[str]:
    """Return the final summary: the latest failures with their reasons, the exports, the counts."""
    yield from format_troubles(story, _MOST_SHOWN)
    yield from format_exports(story, _MOST_SHOWN)
    if story.window or any(batch.under_way for batch in story.batches):
        yield format_labelled("  left", "unfinished work resumes on the next start")
    yield _format_totals(story)


def format_troubles(story: DevState, most: int) -> Iterator[str]:
    """Return the latest failures with their reasons, one a line; before them how many are not shown."""
    if (hidden := max(len(story.troubles), story.failed + story.skipped) - most) > 0:
        yield format_labelled("  failed", f"… and {hidden} more: `vvwatch jobs` lists them while it runs")
    for each in story.troubles[-most:]:
        yield format_labelled(f"  {each.what}", f"{each.subject}: {each.reason}")


def format_exports(story: DevState, most: int) -> Iterator[str]:
    """Return the latest exports, one a line."""
    for made in story.artefacts[-most:]:
        yield format_labelled("  export", f"{local_path(made.uri)} ({format_size(made.size_bytes)})")


def _format_totals(story: DevState) -> str:
    if story.accepted or story.batches:
        counts = f"{story.failed} failed, {story.skipped} skipped"
        return f"{pluralize(story.imported, 'file')} imported, {counts}"
    if story.listed:
        return "nothing new: all that is here was done before (--fresh forgets that and does it again)"
    return "there is nothing here yet"


def local_path(uri: str) -> str:
    """Return the path of a file:// address; any other address unchanged."""
    parts = urlsplit(uri)
    return str(PurePosixPath(unquote(parts.path))) if parts.scheme == "file" else uri


def read_answers(exports: Iterable[Path]) -> Iterator[str]:
    """Return the first answers, one line a segment, and where the others are. Skips exports that are gone."""
    answers = (line for path in exports for line in _read_export(path))
    yield from itertools.islice(answers, _MOST_ANSWERS)
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
    shown = words if len(words) <= _LONGEST_ANSWER else f"{words[: _LONGEST_ANSWER - 1]}…"
    return f"  {escape_controls(subject).strip()}: {shown}"


def _format_accepted(fields: Fields, at: float) -> str:
    count, key, due_at = objects_of(fields), fields.get("object_key"), fields.get("due_at")
    names = "" if key is None else f": {key}{', …' if count > 1 else ''}"
    closes = (
        ""
        if due_at is None
        else f"; the window closes in {format_duration(float(due_at) - at)} unless more arrive"
    )
    return f"{pluralize(count, 'new file')}{names}{closes}"


def _format_skipped(fields: Fields) -> str:
    return f"{fields.get('object_key')} is left out: {reason_of(fields)}"


def _format_closed(fields: Fields) -> str:
    why = _CLOSED.get(str(fields.get("reason")), "")
    return f"closed with {pluralize(objects_of(fields), 'file')}: {why}"


def _format_file(fields: Fields) -> str:
    status = str(fields.get("status"))
    why = "" if status == "imported" else f": {reason_of(fields)}"
    return f"{fields.get('object_key')} {status}{why}"


def _format_import(fields: Fields) -> str:
    counts = (f"{fields.get(name, 0)} {name}" for name in ("imported", "failed", "skipped"))
    return f"{_format_ended(fields)}: {', '.join(counts)}"


def _format_item(fields: Fields) -> str:
    status = str(fields.get("status", "completed"))
    why = f": {reason_of(item_fields(fields))}" if status in ("failed", "partial") else ""
    return f"{fields.get('object_key')} {'processed' if status == 'completed' else status}{why}"


def _format_ended(fields: Fields) -> str:
    status = str(fields.get("status"))
    return _ENDED.get(status, status)


def _format_export(fields: Fields) -> str:
    return f"{local_path(str(fields.get('uri')))} ({format_size(fields.get('size_bytes'))})"


def _format_retry(fields: Fields) -> str:
    return f"tried again: {reason_of(fields)}"


def _format_bad_source(fields: Fields) -> str:
    return f"degraded: {with_hint(fields)}"


_LINES: Final[dict[str, Callable[[Fields], str]]] = {
    "scan.failed": _format_bad_source,
    "source.degraded": _format_bad_source,
    "source.failed": _format_bad_source,
    "source.recovered": lambda _: "recovered",
    "change.skipped": _format_skipped,
    "window.closed": _format_closed,
    "import.file_finished": _format_file,
    "import.file_retried": _format_retry,
    "import.finished": _format_import,
    "run.started": lambda fields: f"begins: {pluralize(int(fields.get('items', 0)), 'item')}",
    "run.item_finished": _format_item,
    "run.item_retried": _format_retry,
    "run.item_waits": lambda fields: f"waits: {with_hint(fields)}",
    "run.finished": _format_ended,
    "export.finished": _format_export,
    "export.retried": _format_retry,
    "export.failed": lambda fields: f"{fields.get('export')} failed: {reason_of(fields)}",
    "delivery.sent": lambda fields: f"{fields.get('event_type')} sent",
    "delivery.failed": lambda fields: f"{fields.get('event_type')} failed: {reason_of(fields)}",
    "job.failed": lambda fields: f"{fields.get('kind')} {fields.get('ref')}: {reason_of(fields)}",
    "daemon.draining": lambda _: "finishing running work; Ctrl-C again stops at once",
}
